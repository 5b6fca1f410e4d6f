import Glibc

/// How many files the process may have open (`RLIMIT_NOFILE`), to be shared by those who keep some open.
package enum OpenFiles {
    /// An eighth of them, at most so many as help, at least a few.
    package static func share(least: Int = 4, most: Int) -> Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return max(least, min(most, Int(clamping: limit.rlim_cur) / 8))
    }
}
