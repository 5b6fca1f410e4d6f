import Bytes
import Engine
import Fuse
import Repository
import Tables

/// The tables of a repository's points, for verbs that only read. The database isn't needed.
struct StoredTables {
    let repository: Repository
    let operation: Operation
    let engine: Engine

    private static let cacheBytes = 64 << 20

    /// - Parameter operation: what is done, for progress; SIGINT and SIGTERM end it.
    init(_ source: SourceArgument, operation statement: String) throws {
        try source.importPoints()
        Signals.block()
        operation = Operation.unrecorded(statement)
        try ShownProgress.watchSignals(cancelling: [operation])
        var options = Engine.Options()
        options.isReadOnly = true
        engine = try Engine(
            location: source.location, database: nil,
            cache: SharedCache(maxBytes: Self.cacheBytes), options: options)
        guard let repository = engine.repository else {
            throw Failure(.notFound, "there is no repository at \(source.location)")
        }
        self.repository = repository
    }

    func snapshot(_ table: TableRecord, of state: CollectionState) -> Snapshot {
        engine.snapshot(table, of: state)
    }

    /// A table through all points.
    func past(_ path: String, of state: CollectionState) throws -> TablePast {
        if let past = TablePast(path, of: state) { return past }
        let names = Set(state.points.flatMap { state.paths(at: $0.sequence).map(\.path) })
        throw Failure(
            .notFound,
            "no point of \(state.name) has a table \(path)" + Self.list(names.sorted()))
    }

    func collection(_ name: String) throws -> CollectionState {
        let name = try PointArgument(name, in: repository).collection
        guard let state = repository.collection(name) else {
            throw repository.missing(collection: name)
        }
        return state
    }

    /// A table at a point.
    static func table(
        _ path: String, of state: CollectionState, at point: BackupPoint
    ) throws -> TableRecord {
        if let record = state.table(path: path, at: point.sequence) { return record }
        let names = state.tables(at: point.sequence).map(\.path)
        throw Failure(.notFound, point.missing(path).message + Self.list(names))
    }

    /// What there is instead, for a message.
    static func list(_ names: [String]) -> String {
        let shown = names.prefix(10).joined(separator: ", ")
        return "; there are: \(names.isEmpty ? "none" : shown)" + (names.count > 10 ? ", …" : "")
    }
}

/// Standard output as a place for files.
final class OutputSink: ByteSink {
    private(set) var position: UInt64 = 0

    func append(_ buffer: ByteBuffer) throws {
        position += UInt64(buffer.count)
        try buffer.withBytes { try Output.write($0) }
    }
}
