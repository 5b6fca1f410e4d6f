import Bytes
import Glibc
import Synchronization

/// The write-ahead log of a database beside a cut: as long as somebody reads an instant of it, SQLite
/// can't begin the log anew, and it grows with all that is written. On a full disk the application
/// couldn't write any more, and that is worse than a backup less.
///
/// Only looks at names: opening the database or its log, and closing it again, would drop the locks that
/// SQLite holds for this process.
final class GrowingLog: Sendable {
    private let path: String
    private let bytesAtCut: UInt64
    private let nextLook: Mutex<ContinuousClock.Instant>

    private static let pause = Duration.seconds(1)

    /// - Parameter database: its path; the cut was opened just now.
    init(of database: String) {
        path = (PathText.resolved(database) ?? database) + "-wal"
        bytesAtCut = Self.size(path) ?? 0
        nextLook = Mutex(.now)
    }

    /// Throws `.noSpace` if the log has grown since the cut and its disk is about to be full. Looks once
    /// a second at most.
    func check() throws {
        let isDue = nextLook.withLock { next in
            guard ContinuousClock.now >= next else { return false }
            next = .now + Self.pause
            return true
        }
        guard isDue, let bytes = Self.size(path), bytes > bytesAtCut,
            let room = DiskRoom(at: path), room.isScarce
        else { return }
        throw Failure(
            .noSpace,
            "\(path) has grown by \(byteWords(bytes - bytesAtCut)) since the backup began, and its disk "
                + "has only \(byteWords(room.freeBytes)) free: the backup ended, so that SQLite can "
                + "use the log anew; make room, or back up when less is written")
    }

    private static func size(_ path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_size) : nil
    }
}

/// What is free on a disk.
struct DiskRoom {
    let freeBytes: UInt64
    private let wholeBytes: UInt64

    /// What must stay free: so many bytes, or one part in so many of a small volume.
    private static let mostBytes: UInt64 = 64 << 20
    private static let share: UInt64 = 32

    /// Nil if nobody says.
    init?(at path: String) {
        var volume = statvfs()
        guard statvfs(path, &volume) == 0, volume.f_blocks > 0 else { return nil }
        let blockBytes = UInt64(volume.f_frsize)
        let free = UInt64(volume.f_bavail).multipliedReportingOverflow(by: blockBytes)
        let whole = UInt64(volume.f_blocks).multipliedReportingOverflow(by: blockBytes)
        guard !free.overflow, !whole.overflow else { return nil }
        (freeBytes, wholeBytes) = (free.partialValue, whole.partialValue)
    }

    /// Whether it is about to be full.
    var isScarce: Bool { !has(0) }

    /// Whether so much may be written.
    func has(_ bytes: UInt64) -> Bool {
        freeBytes > bytes && freeBytes - bytes >= min(Self.mostBytes, wholeBytes / Self.share)
    }
}
