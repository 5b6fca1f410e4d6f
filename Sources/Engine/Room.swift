import Bytes
import Repository
import Synchronization

/// Room at a repository's location for what an operation is going to write.
struct Room {
    let repository: Repository

    /// Throws `.noSpace`, with the way out, if a backup of the collection has no room.
    ///
    /// - Parameters:
    ///   - sourceBytes: of the database, if that is known.
    ///   - released: bytes that the backup will give back before it begins; asked for if need be.
    func requireBackup(
        of collection: CollectionState, isIncremental: Bool, sourceBytes: UInt64?,
        released: () -> UInt64 = { 0 }
    ) throws {
        let needed = collection.estimatedBytes(
            isIncremental: isIncremental, sourceBytes: sourceBytes)
        guard let room = try repository.reserve.room(), room < needed, room + released() < needed
        else { return }
        let kind = isIncremental ? "an incremental" : "a full"
        throw Failure(
            .noSpace,
            "\(repository.storage.location) has \(byteWords(room)) free, \(kind) backup of "
                + "\(collection.name) needs about \(byteWords(needed)): "
                + Self.wayOut(collection))
    }

    fileprivate static func wayOut(_ collection: CollectionState) -> String {
        let settings = try? CollectionSettings(stored: collection.lastDefinition?.settings ?? [:])
        let waits = settings?.keepDropped.seconds != 0
        return "PRUNE \(collection.name) or drop points (status shows what each would free)"
            + (waits ? "; what is dropped goes at once with KEEP_DROPPED = '0h'" : "")
    }

    /// For the files of an operation.
    func watch(_ collection: CollectionState, maker: String) -> RoomWatch {
        RoomWatch(repository, collection, maker: maker)
    }
}

/// Looks now and then, while an operation writes, whether it must stop: before it takes what is kept back
/// for a full disk, and the last block from other programs.
final class RoomWatch: Sendable {
    private let repository: Repository
    private let collection: CollectionState
    /// What writes, for the user: `the backup`.
    private let maker: String
    /// Bytes that may be written before the next look.
    private let allowed = Mutex<Int>(0)

    private static let mostBytes: UInt64 = 16 << 20

    fileprivate init(_ repository: Repository, _ collection: CollectionState, maker: String) {
        self.repository = repository
        self.collection = collection
        self.maker = maker
    }

    func willWrite(_ bytes: Int) throws {
        let isDue = allowed.withLock { allowed in
            allowed -= bytes
            return allowed < 0
        }
        guard isDue else { return }
        let room = try repository.reserve.room() ?? .max
        guard room > bytes else {
            throw Failure(
                .noSpace,
                "\(repository.storage.location) has only \(byteWords(room)) free, and \(maker) "
                    + "of \(collection.name) has more to write: it ended, and nothing of it is left: "
                    + Room.wayOut(collection))
        }
        // Half of what there is: others write as well.
        allowed.withLock { $0 = Int(min(Self.mostBytes, room / 2)) }
    }
}

extension CollectionState {
    private static let leastEstimate: UInt64 = 64 << 10
    /// Incrementals that the next one is expected to be like.
    private static let estimatedFrom = 10
    /// Of a database file, the part that a full without a predecessor is thought to come to.
    private static let sourceShare: UInt64 = 4

    /// About how many bytes a backup will write, as those before it did.
    func estimatedBytes(isIncremental: Bool, sourceBytes: UInt64?) -> UInt64 {
        var bytes: UInt64 = 0
        if isIncremental {
            let last = points.suffix(Self.estimatedFrom).filter { !isWhole($0) }
            let sum = last.reduce(0) { $0 &+ storedBytes(of: $1) }
            bytes = sum / UInt64(max(1, last.count))
        } else if let whole = points.last(where: isWhole) {
            bytes = storedBytes(of: whole)
        } else {
            bytes = (sourceBytes ?? 0) / Self.sourceShare
        }
        return max(bytes, Self.leastEstimate)
    }
}
