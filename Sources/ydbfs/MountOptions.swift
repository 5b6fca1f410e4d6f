import Bytes
import Engine
import Glibc
import Repository
import Tables
import Volume

/// The words behind `-o`.
package struct MountOptions: Sendable, Equatable {
    package var isReadOnly = false
    package var allowsOthers = false
    /// Backups of another database are taken for the source's.
    package var adopts = false
    /// Locks and shared memory are relied on, whatever the file system is.
    package var trustsFileSystem = false
    package var uid: UInt32?
    package var gid: UInt32?
    package var umask: UInt16?
    package var controlMode: UInt16 = 0o600
    package var formats = Set(RowFormat.all)
    package var cacheBytes = 128 << 20
    package var cacheDirectory: String?
    /// Bytes per second that backups may write.
    package var rate: Int?
    /// Bytes kept back for a full disk, 0 for none; nil: by the volume's size.
    package var reserveBytes: UInt64?
    /// Rows, kind and parent of points as extended attributes.
    package var hasExtendedAttributes = false
    /// Backups that appear where others make them are imported while it is mounted.
    package var pullsNew = false
    /// How often to look for what other processes did; nil: by the file system.
    package var poll: Period?
    /// A file, or `MountLog.systemWord`.
    package var log: String?
    /// Programs for when an operation has ended.
    package var onSuccess: String?
    package var onFailure: String?
    package var repository: String?
    /// For mount(8) as they are.
    package var kernelWords: [String] = []

    /// - Parameters:
    ///   - lists: what stood behind each `-o`: words between commas; `\,` is a comma in a word.
    ///   - ignoresUnknown: as mount(8) asks of its helpers by `-s`.
    /// - Throws: `.invalid` for wrong usage, `.unsupported` for what isn't built.
    package init(_ lists: [String], ignoresUnknown: Bool = false) throws(Failure) {
        for word in lists.flatMap(Self.words) where !word.isEmpty {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let isKnown =
                parts.count == 2
                ? try set(String(parts[0]), String(parts[1])) : try set(String(parts[0]))
            if !isKnown, !ignoresUnknown {
                let nearest = nearestWord(to: String(parts[0]), among: Self.known)
                let help = nearest.map { ": did you mean \($0)?" } ?? ""
                throw Failure(.invalid, "unknown mount option \(word)\(help)")
            }
        }
    }

    private static func words(_ list: String) -> [String] {
        var words = [""]
        var isEscaped = false
        for character in list.unicodeScalars {
            switch character {
            case "\\" where !isEscaped:
                isEscaped = true
                continue
            case "," where !isEscaped: words.append("")
            case ",": words[words.count - 1].append(",")
            default: words[words.count - 1] += isEscaped ? "\\\(character)" : String(character)
            }
            isEscaped = false
        }
        if isEscaped { words[words.count - 1].append("\\") }
        return words
    }

    /// Words of mount(8) that say what is so anyway, or concern who mounts and when.
    private static let accepted: Set<String> = [
        "defaults", "rw", "suid", "nosuid", "dev", "nodev", "exec", "async", "atime", "diratime",
        "nodiratime",
        "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "auto",
        "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "iversion",
        "noiversion", "silent", "loud", "default_permissions", "mand", "nomand", "symfollow",
        "nosymfollow",
    ]
    private static let passed: Set<String> = [
        "noexec", "noatime", "sync", "dirsync",
    ]
    /// Words with values that are the kernel's.
    private static let passedKeys: Set<String> = [
        "context", "fscontext", "defcontext", "rootcontext",
    ]
    /// Those that mount(8) and its like tell each other.
    private static let othersKeys: Set<String> = ["user", "comment", "helper", "uhelper"]
    private static let unbuilt: Set<String> = [
        "encrypt", "passphrase_file",
    ]

    /// Those that need a value.
    private static let valued = [
        "uid", "gid", "umask", "control", "formats", "cache_size", "cache_dir", "log", "rate",
        "reserve", "repository", "poll", "pull", "on_success", "on_failure",
    ]
    /// Those that a user may have meant.
    private static let known =
        ["ro", "allow_other", "adopt", "trust_fs", "xattr"] + valued + passed + accepted

    private mutating func set(_ word: String) throws(Failure) -> Bool {
        switch word {
        case "ro": isReadOnly = true
        case "rw": isReadOnly = false
        case "allow_other": allowsOthers = true
        case "adopt": adopts = true
        case "trust_fs": trustsFileSystem = true
        case "xattr": hasExtendedAttributes = true
        case _ where Self.passed.contains(word): kernelWords.append(word)
        case _ where Self.unbuilt.contains(word): throw Self.refusal(unbuilt: word)
        case "remount":
            throw Failure(
                .unsupported,
                "mount option remount: what is mounted keeps its options: unmount it, and mount it anew"
            )
        case _ where Self.valued.contains(word):
            throw Failure(.invalid, "mount option \(word) needs a value: \(word)=…")
        default: return Self.accepted.contains(word) || Self.isForOthers(word)
        }
        return true
    }

    private mutating func set(_ key: String, _ value: String) throws(Failure) -> Bool {
        switch key {
        case "uid": uid = try Self.id(value, key) { getpwnam($0)?.pointee.pw_uid }
        case "gid": gid = try Self.id(value, key) { getgrnam($0)?.pointee.gr_gid }
        case "umask": umask = try Self.permissions(value, key)
        case "control": controlMode = try Self.permissions(value, key)
        case "formats": formats = try Self.formats(value)
        case "cache_size":
            guard let bytes = Self.bytes(value), bytes >= 1 << 20 else {
                throw Self.refusal(value, key, "expected a size of at least 1M, such as 128M")
            }
            cacheBytes = bytes
        case "rate":
            guard let bytes = Self.bytes(value), bytes >= Self.rateMin else {
                throw Self.refusal(value, key, "expected \(Self.rateWords)")
            }
            rate = bytes
        case "reserve":
            guard let bytes = Self.reserve(value) else {
                throw Self.refusal(value, key, "expected \(Self.reserveWords)")
            }
            reserveBytes = bytes
        case "poll":
            guard let period = Period(value), period.seconds > 0 else {
                throw Self.refusal(value, key, "expected a period such as 5s or 1m")
            }
            poll = period
        case "pull":
            guard value == "new" else { throw Self.refusal(value, key, "expected new") }
            pullsNew = true
        case "cache_dir": cacheDirectory = try Self.path(value, key)
        case "log": log = try Self.path(value, key)
        case "on_success": onSuccess = try Self.path(value, key)
        case "on_failure": onFailure = try Self.path(value, key)
        case "repository": repository = try Self.path(value, key)
        case _ where Self.unbuilt.contains(key): throw Self.refusal(unbuilt: key)
        case _ where Self.passedKeys.contains(key): kernelWords.append("\(key)=\(value)")
        default: return Self.othersKeys.contains(key) || Self.isForOthers(key)
        }
        return true
    }

    /// `x-systemd.…` and its like.
    private static func isForOthers(_ word: String) -> Bool {
        word.hasPrefix("x-") || word.hasPrefix("X-")
    }

    private static func refusal(unbuilt word: String) -> Failure {
        Failure(.unsupported, "mount option \(word) isn't built yet in this version: leave it out")
    }

    // MARK: Values

    private static func refusal(_ value: String, _ key: String, _ wanted: String) -> Failure {
        Failure(.invalid, "mount option \(key)=\(value): \(wanted)")
    }

    private static func id(
        _ value: String, _ key: String, named: (String) -> UInt32?
    ) throws(Failure) -> UInt32 {
        guard let id = UInt32(value) ?? named(value), id != .max else {
            throw refusal(value, key, "there is no such name, and it is no number")
        }
        return id
    }

    private static func permissions(_ value: String, _ key: String) throws(Failure) -> UInt16 {
        guard let mode = UInt16(value, radix: 8), mode <= 0o777, !value.hasPrefix("+") else {
            throw refusal(value, key, "expected permission bits in octal, such as 0640")
        }
        return mode
    }

    /// Slower than this, a backup would seem to stand still.
    package static let rateMin = 1 << 10
    package static let rateWords = "bytes per second of at least 1K, such as 10M"

    package static let reserveWords = "0, or a size of at least 64K, such as 4M"

    /// Nil if it is no reserve's size.
    package static func reserve(_ text: String) -> UInt64? {
        guard let size = bytes(text), size == 0 || size >= Reserve.leastBytes else { return nil }
        return UInt64(size)
    }

    /// Bytes, with K, M, G or T for powers of 1024; nil for anything else.
    package static func bytes(_ text: String) -> Int? {
        var digits = Substring(text.lowercased())
        if digits.hasSuffix("ib") { digits = digits.dropLast(2) }
        let units: [Character: Int] = ["k": 10, "m": 20, "g": 30, "t": 40]
        let shift = digits.last.flatMap { units[$0] } ?? 0
        if shift > 0 { digits = digits.dropLast() }
        guard let number = Int(digits), number >= 0, number <= Int.max >> shift,
            !digits.hasPrefix("+")
        else { return nil }
        return number << shift
    }

    private static func path(_ value: String, _ key: String) throws(Failure) -> String {
        if value.isEmpty { throw refusal(value, key, "expected a path") }
        return value
    }

    private static func formats(_ value: String) throws(Failure) -> Set<RowFormat> {
        var formats: Set<RowFormat> = []
        for name in value.split(separator: ":", omittingEmptySubsequences: false) {
            guard let format = RowFormat(id: String(name)) else {
                throw refusal(
                    value, "formats",
                    "expected "
                        + RowFormat.all.map(\.id).joined(separator: ", ")
                        + ", or several with : between")
            }
            formats.insert(format)
        }
        return formats
    }

    // MARK: Who

    /// Owner of the files unless given: the user who mounts; of what root mounts, the database's owner.
    package func owner(of process: FileOwner, database: FileOwner?) -> FileOwner {
        let owner = process.uid == 0 ? database ?? process : process
        return FileOwner(uid: uid ?? owner.uid, gid: gid ?? owner.gid)
    }
}
