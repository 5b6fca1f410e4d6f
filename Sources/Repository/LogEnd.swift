import Bytes
import Synchronization

/// The points that operations made, as the journal tells it from its newest record on. It is read as
/// far as somebody asks: what the newest operation of a collection made is mostly known.
final class MadePoints: Sendable {
    struct Made: Sendable {
        var operation: UInt64
        var collection: String
        var point: String
    }

    private let operations: OperationStore
    private let state = Mutex(State())

    private struct State: Sendable {
        /// Those with an end that weren't looked at yet, newest first; nil before the first look.
        var rest: [UInt64]?
        /// Newest first.
        var found: [Made] = []
    }

    private static let batch = 32
    /// Words of the operations that make points.
    private static let kinds: Set<String> = ["full", "incremental", "compact"]

    init(_ operations: OperationStore) { self.operations = operations }

    /// The point of this index, from the newest on; nil if there is none. What can't be read says
    /// nothing.
    private func made(_ index: Int) -> Made? {
        state.withLock { state in
            while index >= state.found.count {
                let ids = state.rest ?? (try? operations.look())?.ended.sorted(by: >) ?? []
                if ids.isEmpty { return nil }
                state.rest = Array(ids.dropFirst(Self.batch))
                state.found += operations.records(Array(ids.prefix(Self.batch)))
                    .compactMap(Self.made)
            }
            return state.found[index]
        }
    }

    private static func made(_ record: OperationRecord) -> Made? {
        guard let end = record.end, end.state == .done, let point = end.point,
            let collection = record.start.collection, kinds.contains(record.start.kind)
        else { return nil }
        return Made(operation: record.start.id, collection: collection, point: point)
    }

    /// What was made, newest first.
    private func all() -> some Sequence<Made> {
        var index = 0
        return AnyIterator {
            defer { index += 1 }
            return self.made(index)
        }
    }

    /// Names of the collections.
    var collections: Set<String> { Set(all().map(\.collection)) }

    /// The newest of the collection that `isRight` says.
    func newest(of isRight: (String) -> Bool) -> Made? { all().first { isRight($0.collection) } }

    /// What was made of the collection since the newest point that the state knows of, oldest first.
    /// None, if the log has all that was acknowledged. Nobody misses those of a dropped collection.
    func unknown(to state: CollectionState) -> [Made] {
        if state.isDropped { return [] }
        let lastOperation = (state.points + state.droppedPoints).map(\.operation).max() ?? 0
        let names = Set(state.lostPoints.map(\.name) + [state.lastName].compactMap(\.self))
        return all().lazy.filter { $0.collection == state.name }.prefix {
            $0.operation > lastOperation && !names.contains($0.point)
                && !state.isTaken(name: $0.point)
        }.reversed()
    }
}

/// What stands against a log that ends too early, or is gone: files of points, and the journal.
extension Repository {
    /// Collections of which there is something: folders, or what operations made of them.
    func everyID(_ made: MadePoints) throws -> Set<String> {
        let listed = try storage.list("collections") + storage.list(FilePlace.tables)
        let ids = Set(listed.filter { isHex($0, count: 32) })
        return ids.isEmpty ? Set(made.collections.map(collectionID)) : ids
    }

    /// Why there should be a log where there is none; nil if the collection is new.
    func lostLog(_ id: String, _ made: MadePoints) throws -> Failure? {
        let what = "\(path(1, id)) is missing, and all that followed it"
        if let made = made.newest(of: { collectionID($0) == id }) {
            return Failure(
                .corrupt,
                "\(what), though operation \(made.operation) had made the point \(made.point) of "
                    + "\(made.collection): \(Self.wayOut)")
        }
        if try hasFiles(of: id) {
            return Failure(
                .corrupt, "\(what), though there are data files of the collection: \(Self.wayOut)")
        }
        return nil
    }

    /// Why the log should go on behind the state that it comes to.
    func lostEnd(_ state: CollectionState, _ lost: [MadePoints.Made]) throws -> Failure? {
        guard let newest = lost.last else { return nil }
        // The journal was read after the log: somebody may have backed up between.
        if try storage.size(of: Self.entryName(state.lastEntry + 1, state.id)) != nil { return nil }
        return Failure(
            .corrupt,
            "\(path(state.lastEntry + 1, state.id)) is missing, though operation "
                + "\(newest.operation) had made the point \(newest.point): \(Self.wayOut)")
    }

    private static let wayOut =
        "ydbfs repair --from COPY puts it back from a copy of the repository"

    /// Whether there are data files of a collection.
    private func hasFiles(of id: String) throws -> Bool {
        if try storage.list(FilePlace.indexes(of: id)).contains(where: { FilePlace.kind($0) != nil }
        ) {
            return true
        }
        let tables = FilePlace.tables(of: id)
        return try storage.list(tables).contains { table in
            try isHex(table, count: 32)
                && storage.list("\(tables)/\(table)").contains {
                    FilePlace.kind("\(table)/\($0)") != nil
                }
        }
    }
}
