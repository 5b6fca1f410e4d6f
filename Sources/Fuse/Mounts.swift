import Bytes
import Dispatch
import Glibc
import Synchronization

/// One line of `/proc/self/mountinfo` (proc(5)).
package struct MountEntry: Sendable, Equatable {
    package var id: Int
    /// `MAJOR:MINOR` of the mounted filesystem: what `st_dev` says, and the name of its bdi.
    package var device: String
    /// The mounted directory's path inside its filesystem: not `/` for bind mounts.
    package var root: String
    package var mountPoint: String
    package var type: String
    package var source: String
    /// Whose it is, as the kernel says: of a FUSE mount the user who serves it. Nobody can make it say
    /// somebody else.
    package var user: UInt32?

    /// Whether what it shows and answers can be believed: it is served by root, or by who asks. Any
    /// other user may mount whatever he likes under our name, or have everybody wait for an answer.
    package var isTrusted: Bool { user == 0 || user == geteuid() }
}

/// What is mounted in this process's mount namespace.
package enum Mounts {
    package static let type = "fuse.ydbfs"

    /// How long a filesystem may take to answer before it counts as hung.
    package static let probeSeconds = 5

    /// All mounts, in the kernel's order: of several at one place, the last one is on top.
    package static func all() throws(Failure) -> [MountEntry] {
        parse(try readWhole("/proc/self/mountinfo"))
    }

    /// The mounts of ours, of this user or root, that say to show `source`, which is a LOCATION.
    package static func showing(source: String) throws(Failure) -> [MountEntry] {
        try trusted().filter { $0.source.hasSameBytes(as: source) }
    }

    /// The mounts of ours that can be believed. Doesn't ask any of them.
    package static func trusted() throws(Failure) -> [MountEntry] {
        try all().filter { $0.type == type && $0.isTrusted }
    }

    /// The mount of ours on top at `path`, if there is one. Doesn't ask the mounted filesystem.
    package static func at(_ path: String) throws(Failure) -> MountEntry? {
        let path = canonicalPath(path) ?? path
        let top = try all().last { $0.mountPoint.hasSameBytes(as: path) }
        return top?.type == type ? top : nil
    }

    package enum Health: Sendable, Equatable {
        case alive
        /// The process behind it is gone: every call answers `ENOTCONN`.
        case dead
        /// No answer in time.
        case hung
    }

    /// Asks whoever serves the mount at `path`.
    package static func health(at path: String) throws(Failure) -> Health {
        switch try probe(path, seconds: probeSeconds) {
        case nil: .hung
        case ENOTCONN, ECONNABORTED: .dead
        default: .alive
        }
    }

    /// Takes away the dead mounts of ours that lie on top at `path`, left by processes that were
    /// killed. Returns whether there were any.
    @discardableResult
    package static func heal(at path: String) throws(Failure) -> Bool {
        let stackedMax = 16
        for healed in 0..<stackedMax {
            guard let entry = try at(path), try health(at: entry.mountPoint) == .dead else {
                return healed > 0
            }
            try detach(entry.mountPoint)
        }
        return true
    }

    /// Unmounts for `ydbfs unmount`. A busy mount is detached: what is open is served until it is
    /// closed. With `now`, root also cuts the connection, which ends the process behind it.
    package static func unmount(_ entry: MountEntry, now: Bool) throws(Failure) {
        if now, umount2(entry.mountPoint, forceFlag | detachFlag | noFollowFlag) == 0 { return }
        if try unmountIfIdle(entry.mountPoint) { return }
        try detach(entry.mountPoint)
    }

    // Flags of umount2(2), which the importer doesn't see.
    private static let forceFlag: Int32 = 1
    private static let detachFlag: Int32 = 2
    private static let noFollowFlag: Int32 = 8

    /// Unmounts what nobody uses; false if somebody does.
    static func unmountIfIdle(_ path: String) throws(Failure) -> Bool {
        if umount2(path, noFollowFlag) == 0 { return true }
        guard errno == EPERM else {
            if errno == EBUSY { return false }
            throw Failure("can't unmount \(path)")
        }
        return try fusermount("-uq", path) == 0
    }

    /// Takes the mount out of the tree at once; what is open stays so.
    static func detach(_ path: String) throws(Failure) {
        if umount2(path, detachFlag | noFollowFlag) == 0 { return }
        guard errno == EPERM else { throw Failure("can't detach \(path)") }
        guard try fusermount("-uzq", path) == 0 else {
            throw Failure(.denied, "can't unmount \(path): not mounted by you")
        }
    }

    private static func fusermount(_ option: String, _ path: String) throws(Failure) -> Int32 {
        exitStatus(of: try startProgram("fusermount3", ["fusermount3", option, "--", path]))
    }

    /// The errno of `stat` and `statvfs`, 0 for none, or nil if there's no answer in time. `stat` alone
    /// may be answered from the kernel's memory, `statvfs` never is.
    static func probe(_ path: String, seconds: Int) throws(Failure) -> Int32? {
        try answer(seconds: seconds) {
            var (status, statistics) = (stat(), statvfs())
            let isAnswered = stat(path, &status) == 0 && statvfs(path, &statistics) == 0
            return isAnswered ? 0 : errno
        }
    }

    /// What `ask` gives, or nil if it takes too long. Calls to a hung filesystem can't be interrupted,
    /// so another thread makes them and is left behind.
    package static func answer<Value: Sendable>(
        seconds: Int = probeSeconds, _ ask: @escaping @Sendable () -> Value
    ) throws(Failure) -> Value? {
        let answer = LateAnswer<Value>()
        try startThread("probe") {
            let value = ask()
            answer.value.withLock { $0 = value }
            answer.isThere.signal()
        }
        guard answer.isThere.wait(timeout: .now() + .seconds(seconds)) == .success else {
            return nil
        }
        return answer.value.withLock { $0 }
    }

    static func parse(_ text: String) -> [MountEntry] {
        text.split(separator: "\n").compactMap { line -> MountEntry? in
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            // Between the options and " - " stand any number of optional fields.
            guard let dash = fields.dropFirst(6).firstIndex(of: "-"), dash + 2 < fields.count,
                let id = Int(fields[0])
            else { return nil }
            // What the filesystem itself says, behind its source.
            let words = fields.dropFirst(dash + 3).first?.split(separator: ",") ?? []
            let user = words.last { $0.hasPrefix("user_id=") }?.dropFirst("user_id=".utf8.count)
            return MountEntry(
                id: id, device: String(fields[2]), root: unescape(fields[3]),
                mountPoint: unescape(fields[4]), type: unescape(fields[dash + 1]),
                source: unescape(fields[dash + 2]), user: user.flatMap { UInt32($0) })
        }
    }

    /// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
    private static func unescape(_ field: Substring) -> String {
        let bytes = PathText.bytes(String(field))
        var plain: [UInt8] = []
        var position = 0
        while position < bytes.count {
            let digits = bytes[position...].prefix(4).dropFirst()
            let isEscape =
                bytes[position] == UInt8(ascii: "\\") && digits.count == 3
                && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
            if isEscape {
                plain.append(digits.reduce(0) { $0 << 3 | ($1 & 7) })
                position += 4
            } else {
                plain.append(bytes[position])
                position += 1
            }
        }
        return PathText.text(plain)
    }
}

private final class LateAnswer<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
    let isThere = DispatchSemaphore(value: 0)
}

/// The path without symlinks, or nil if it doesn't exist. Sees mounts from outside only, so that a
/// dead one doesn't matter.
func canonicalPath(_ path: String) -> String? {
    PathText.resolved(path)
}

/// A whole file of /proc, whose size isn't known before; at most 64 MiB.
private func readWhole(_ path: String) throws(Failure) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Failure("can't open \(path)") }
    defer { close(descriptor) }
    let bytesMax = 64 << 20
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < bytesMax {
        let count = read(descriptor, &part, part.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw Failure("can't read \(path)")
        }
        if count == 0 { return PathText.text(bytes) }
        bytes += part[..<count]
    }
    throw Failure(.tooLong, "\(path) has more than 64 MiB")
}
