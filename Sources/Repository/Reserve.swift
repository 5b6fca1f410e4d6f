import Bytes
import Glibc

/// Room that is kept back, so that a full disk has a way out: a file `reserve` that holds nothing, with
/// its blocks really allocated. Without it nobody could so much as record that a point is dropped.
///
/// What leads out, and is small, may take it: the journal of operations, all entries of a log but points,
/// and what verifications found. Backups never do: they stop before it (`room`). Whoever gives it up gives up all of it; it is
/// made again when an operation ends and there is room.
package final class Reserve: Sendable {
    private let storage: any Storage
    /// Bytes that the user wants kept back, 0 for none; nil: as the volume's size suggests.
    private let wanted: UInt64?

    static let name = "reserve"
    /// Fewer bytes wouldn't do for the handful of small files that an operation makes.
    package static let leastBytes: UInt64 = 64 << 10
    private static let mostBytes: UInt64 = 4 << 20
    /// Of a volume, one part in so many.
    private static let share: UInt64 = 32

    init(_ storage: any Storage, wanted: UInt64?) {
        self.storage = storage
        self.wanted = wanted
    }

    private func target(_ space: Space) -> UInt64 {
        wanted ?? min(Self.mostBytes, max(Self.leastBytes, space.bytes / Self.share))
    }

    /// Sets the room aside, if it isn't yet and there is twice as much. Best effort: what is there
    /// works without, as long as the disk isn't full.
    package func keep() {
        guard let space = try? storage.space(), space.bytes > 0 else { return }
        let target = target(space)
        let present = try? storage.size(of: Self.name)
        // Others who use the repository may want another size: only whoever said one insists.
        if present == target || (present ?? 0 >= Self.leastBytes && wanted == nil) { return }
        if present != nil { try? storage.remove(Self.name) }
        guard target > 0, space.availableBytes + (present ?? 0) >= 2 * target else { return }
        try? storage.holdRoom(target, as: Self.name)
    }

    /// Bytes that may be written before what is kept back is touched; nil where there is no limit.
    package func room() throws -> UInt64? {
        guard let space = try storage.space(), space.bytes > 0 else { return nil }
        let target = target(space)
        let lacking = target - min(target, try storage.size(of: Self.name) ?? 0)
        return space.availableBytes - min(space.availableBytes, lacking)
    }

    /// Does `body`; if there was no room for it, gives the reserve up and does it once more.
    func spending<R>(_ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch let failure as Failure where failure.code == .noSpace {
            try storage.remove(Self.name)
            return try body()
        }
    }

    func publish(_ bytes: [UInt8], as name: String) throws -> Bool {
        try spending { try storage.publish(bytes, as: name) }
    }
}

extension Repository {
    /// Publishes an entry of a log. Points are made while there is room; all others may have to make
    /// some.
    func publish(_ bytes: [UInt8], as name: String, of entry: LogEntry) throws -> Bool {
        if case .point = entry { return try storage.publish(bytes, as: name) }
        return try reserve.publish(bytes, as: name)
    }
}

extension Storage {
    package func holdRoom(_ bytes: UInt64, as name: String) throws {}
}

extension DirectoryStorage {
    package func holdRoom(_ bytes: UInt64, as name: String) throws {
        let path = "\(location)/\(name)"
        do throws(Errno) {
            try uninterrupted { () throws(Errno) in try calls.allocate(path, bytes: bytes) }
        } catch {
            switch error.rawValue {
            // Somebody else was faster, or the file system can't.
            case EEXIST, EOPNOTSUPP, EINVAL, ENOSYS: return
            default: throw Failure("can't set room aside in \(path)", errno: error)
            }
        }
    }
}

extension SystemCalls {
    package func allocate(_ path: String, bytes: UInt64) throws(Errno) {
        throw Errno(rawValue: EOPNOTSUPP)
    }
}

extension Kernel {
    package func allocate(_ path: String, bytes: UInt64) throws(Errno) {
        guard let length = off_t(exactly: bytes) else { throw Errno(rawValue: EFBIG) }
        let descriptor = try open(path, .create)
        let result = posix_fallocate(descriptor, 0, length)
        close(descriptor)
        if result == 0 { return }
        try? unlink(path)
        throw Errno(rawValue: result)
    }
}

extension Space {
    /// Of the whole volume.
    package var bytes: UInt64 { Self.bytes(blocks, blockBytes) }

    /// What anybody may take. Root may have some more, which the system keeps for itself.
    package var availableBytes: UInt64 { Self.bytes(blocksAvailable, blockBytes) }

    private static func bytes(_ blocks: UInt64, _ blockBytes: UInt64) -> UInt64 {
        let (bytes, overflow) = blocks.multipliedReportingOverflow(by: blockBytes)
        // File systems without end say so with all bits set.
        return overflow ? .max / 4 : min(bytes, .max / 4)
    }
}
