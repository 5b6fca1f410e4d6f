import Bytes
import Synchronization

/// What operations made, points and other entries of logs, as the journal tells it from its newest record
/// on. It is read as far as somebody asks: what the newest operation of a collection made is mostly known.
final class MadeEntries: Sendable {
    struct Made: Sendable {
        var operation: UInt64
        var collection: String
        /// The point that it made.
        var point: String?
        /// The last entry that it added to the log; nil where an earlier version has journaled it.
        var entry: EntryMark?

        /// For messages.
        var text: String {
            "operation \(operation) had "
                + (point.map { "made the point \($0)" } ?? "written to it")
        }
    }

    private let operations: OperationStore
    private let state = Mutex(State())

    private struct State: Sendable {
        /// Nil before the first look.
        var listing: OperationStore.Listing?
        /// Those with an end that weren't looked at yet, newest first.
        var rest: [UInt64] = []
        /// Newest first.
        var found: [Made] = []

        mutating func look(at operations: OperationStore) {
            if listing != nil { return }
            listing = (try? operations.look()) ?? OperationStore.Listing()
            rest = listing!.ended.sorted(by: >)
        }
    }

    private static let batch = 32
    /// Words of the operations that make points.
    private static let kinds: Set<String> = ["full", "incremental", "compact"]

    init(_ operations: OperationStore) { self.operations = operations }

    /// The one of this index, from the newest on; nil if there is none. What can't be read says nothing.
    private func made(_ index: Int) -> Made? {
        state.withLock { state in
            state.look(at: operations)
            while index >= state.found.count {
                if state.rest.isEmpty { return nil }
                state.found += operations.records(Array(state.rest.prefix(Self.batch)))
                    .compactMap(Self.made)
                state.rest.removeFirst(min(Self.batch, state.rest.count))
            }
            return state.found[index]
        }
    }

    private static func made(_ record: OperationRecord) -> Made? {
        guard let end = record.end, let collection = record.start.collection else { return nil }
        let isPoint = end.state == .done && kinds.contains(record.start.kind)
        let made = Made(
            operation: record.start.id, collection: collection, point: isPoint ? end.point : nil,
            entry: end.entry)
        return made.point == nil && made.entry == nil ? nil : made
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

    /// What was made of the collection and its log lacks at the end, oldest first. Where no entry is
    /// journaled, the newest point that the state knows of tells; nobody misses those of a dropped
    /// collection then.
    func unknown(to state: CollectionState) -> [Made] {
        let lastOperation = (state.points + state.droppedPoints).map(\.operation).max() ?? 0
        let names = Set(state.lostPoints.map(\.name) + [state.lastName].compactMap(\.self))
        func isUnknown(_ made: Made) -> Bool {
            if let entry = made.entry { return entry.number > state.lastEntry }
            guard let point = made.point, !state.isDropped else { return false }
            return made.operation >= lastOperation && !names.contains(point)
                && !state.isTaken(name: point)
        }
        return all().lazy.filter { $0.collection == state.name }.prefix(while: isUnknown)
            .reversed()
    }

    /// What the journal says of the log of the collection that `isRight` says.
    func log(of isRight: (String) -> Bool) -> JournaledLog {
        let own = all().filter { isRight($0.collection) }
        return JournaledLog(
            hashes: Dictionary(
                own.compactMap(\.entry).map { ($0.number, $0.hash) }, uniquingKeysWith: { $1 }),
            points: Set(own.compactMap(\.point)),
            oldest: state.withLock { state in
                state.look(at: operations)
                return state.listing?.ids.min()
            })
    }
}

/// What the journal says of one log: it tells our own entries from those of a copy that went on by itself.
struct JournaledLog {
    /// Of entries that operations made last, by number.
    var hashes: [UInt64: String]
    /// Names.
    var points: Set<String>
    /// What came before this operation is forgotten; nil: all is.
    var oldest: UInt64?

    /// Whether this was made here; nil if the journal doesn't say.
    func has(_ file: LogFile) -> Bool? {
        if let hash = hashes[file.number] { return hash == file.hash }
        guard case .point(let record) = file.entry else { return hashes.isEmpty ? true : nil }
        return points.contains(record.name) || oldest.map { record.operation < $0 } ?? true
    }
}

/// What stands against a log that ends too early, or is gone: files of points, and the journal.
extension Repository {
    /// Collections of which there is something: folders, or what operations made of them.
    func everyID(_ made: MadeEntries) throws -> Set<String> {
        let listed = try storage.list("collections") + storage.list(FilePlace.tables)
        let journaled = madeIDs.withLock { known in
            // Those that are made from here on are known by their logs.
            if known == nil { known = Set(made.collections.map(collectionID)) }
            return known!
        }
        return journaled.union(listed.filter { isHex($0, count: 32) })
    }

    /// Why there should be a log where there is none; nil if the collection is new.
    func lostLog(_ id: String, _ made: MadeEntries) throws -> Failure? {
        let what = "\(path(1, id)) is missing, and all that followed it"
        if let made = made.newest(of: { collectionID($0) == id }) {
            return Failure(
                .corrupt,
                "\(what), though \(made.text) of collection \(made.collection): \(Self.wayOut)")
        }
        if try hasFiles(of: id) {
            return Failure(
                .corrupt, "\(what), though there are data files of the collection: \(Self.wayOut)")
        }
        return nil
    }

    /// Why the log should go on behind the state that it comes to.
    func lostEnd(_ state: CollectionState, _ lost: [MadeEntries.Made]) throws -> Failure? {
        guard let newest = lost.last else { return nil }
        // The journal was read after the log: somebody may have backed up between.
        if try storage.isTaken(Self.entryName(state.lastEntry + 1, state.id)) { return nil }
        return Failure(
            .corrupt,
            "\(path(state.lastEntry + 1, state.id)) is missing, though \(newest.text): "
                + Self.wayOut)
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
