import Bytes
import Glibc

/// Room that is kept back, so that a full disk has a way out: a file `reserve` that holds nothing, with
/// its blocks really allocated. Without it nobody could so much as record that a point is dropped.
///
/// What leads out, and is small, may take it: the journal of operations, all entries of a log but points,
/// and what verifications found. Backups never do: they stop before it (`room`). It is given up in parts,
/// so that a neighbour who fills the disk gets one at most, and the last half of it only for what makes
/// room (`Claim`). It is made again when an operation ends and there is room.
package final class Reserve: Sendable {
    /// What room is wanted for.
    package enum Claim: Sendable {
        /// What makes room: dropping, condemning, and the journal of that.
        case freeing
        /// Definitions, without which some can't be made: what operations did long ago is forgotten for
        /// them, but the last half isn't theirs.
        case changing
        /// What can as well be found out again, or not be begun.
        case recording
    }

    private let storage: any Storage
    /// Forgets something old of the journal; false if there is nothing.
    private let forget: @Sendable () throws -> Bool
    /// Bytes that the user wants kept back, 0 for none; nil: as the volume's size suggests.
    private let wanted: UInt64?

    static let name = "reserve"
    /// Fewer bytes wouldn't do for the handful of small files that an operation makes.
    package static let leastBytes: UInt64 = 64 << 10
    private static let mostBytes: UInt64 = 4 << 20
    /// Of a volume, one part in so many.
    private static let share: UInt64 = 32
    /// It is given up in so many parts, none of which is smaller than this.
    private static let parts: UInt64 = 8
    private static let leastPartBytes: UInt64 = 16 << 10
    private static let blockBytes: UInt64 = 4096

    /// What is left of one that was given up in part lacks the last byte of a block: so it is told from
    /// one that somebody wanted so small.
    private static func isPart(_ bytes: UInt64) -> Bool { bytes % blockBytes == blockBytes - 1 }

    init(
        _ storage: any Storage, wanted: UInt64?, forget: @escaping @Sendable () throws -> Bool
    ) {
        self.storage = storage
        self.wanted = wanted
        self.forget = forget
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
        let isPart = Self.isPart(present ?? 0)
        if present == target || (present ?? 0 >= Self.leastBytes && wanted == nil && !isPart) {
            return
        }
        let fits = target > 0 && space.availableBytes + (present ?? 0) >= 2 * target
        // What is left stays as long as there is no room for more.
        if present != nil, fits || !isPart { try? storage.remove(Self.name) }
        if fits { try? storage.holdRoom(target, as: Self.name) }
    }

    /// Bytes that may be written before what is kept back is touched; nil where there is no limit.
    package func room() throws -> UInt64? {
        guard let space = try storage.space(), space.bytes > 0 else { return nil }
        let target = target(space)
        let lacking = target - min(target, try storage.size(of: Self.name) ?? 0)
        return space.availableBytes - min(space.availableBytes, lacking)
    }

    /// Does `body`; as long as there is no room for it, gives up what may be given up for it.
    func spending<R>(_ claim: Claim, _ body: () throws -> R) throws -> R {
        while true {
            do {
                return try body()
            } catch let failure as Failure where failure.code == .noSpace {
                if try giveUp(for: claim) { continue }
                throw Failure(
                    .noSpace,
                    failure.message + "; what is kept back is used up or left for what makes room: "
                        + "drop points and PRUNE, or remove something else from the disk")
            }
        }
    }

    /// False if nothing may go any more.
    private func giveUp(for claim: Claim) throws -> Bool {
        guard let held = try? storage.size(of: Self.name) else {
            return claim == .recording ? false : try forget()
        }
        let half = (try storage.space()).map { target($0) / 2 } ?? 0
        if held > half { return try giveUp(of: held, downTo: half) }
        if claim != .recording, try forget() { return true }
        return claim == .freeing && held > 0 ? try giveUp(of: held, downTo: 0) : false
    }

    private func giveUp(of held: UInt64, downTo least: UInt64) throws -> Bool {
        let part = max(Self.leastPartBytes, held / Self.parts)
        let left = (held - min(part, held - least)) / Self.blockBytes * Self.blockBytes
        try storage.giveBackRoom(keeping: left - min(left, 1), of: Self.name)
        return true
    }

    func publish(_ bytes: [UInt8], as name: String, _ claim: Claim) throws -> Bool {
        try spending(claim) { try storage.publish(bytes, as: name) }
    }
}

extension Repository {
    /// Publishes an entry of a log. Points are made while there is room; all others may have to make
    /// some.
    func publish(_ bytes: [UInt8], as name: String, of entry: LogEntry) throws -> Bool {
        switch entry {
        case .point: try storage.publish(bytes, as: name)
        case .drop, .dropPoints, .condemn: try reserve.publish(bytes, as: name, .freeing)
        default: try reserve.publish(bytes, as: name, .changing)
        }
    }
}

extension Storage {
    package func holdRoom(_ bytes: UInt64, as name: String) throws {}

    package func giveBackRoom(keeping bytes: UInt64, of name: String) throws { try remove(name) }
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

extension DirectoryStorage {
    package func giveBackRoom(keeping bytes: UInt64, of name: String) throws {
        do throws(Errno) {
            if bytes > 0 { return try calls.shrink("\(location)/\(name)", to: bytes) }
        } catch {
            // It goes as a whole then.
        }
        try remove(name)
    }
}

extension SystemCalls {
    package func shrink(_ path: String, to bytes: UInt64) throws(Errno) {
        throw Errno(rawValue: EOPNOTSUPP)
    }

    package func allocate(_ path: String, bytes: UInt64) throws(Errno) {
        throw Errno(rawValue: EOPNOTSUPP)
    }
}

extension Kernel {
    package func shrink(_ path: String, to bytes: UInt64) throws(Errno) {
        guard let length = off_t(exactly: bytes) else { throw Errno(rawValue: EFBIG) }
        let descriptor = try open(path, .lock)
        defer { close(descriptor) }
        guard ftruncate(descriptor, length) == 0 else { throw .current }
    }

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
