import Bytes
import Engine
import Repository
import Tables

/// A table's file in a point: CSV, Parquet or its SQL.
final class TableFile: TreeFile {
    /// What a table has in a point.
    enum Kind: Sendable, Hashable {
        case format(RowFormat)
        case sql

        static let all = RowFormat.all.map(Kind.format) + [.sql]

        /// What of the table is rendered; nil for texts.
        var format: RowFormat? { if case .format(let format) = self { format } else { nil } }

        /// What names end in.
        var suffix: String { format?.suffix ?? ".sql" }
    }

    let identity: FileIdentity
    private let kind: Kind
    private let place: PointPlace
    private let table: UInt32

    init(_ place: PointPlace, _ kind: Kind, _ table: UInt32) {
        self.kind = kind
        self.table = table
        self.place = place
        identity =
            switch kind {
            case .format(let format): place.identity(.rendered, UInt64(table), text: format.id)
            case .sql: place.identity(.sql, UInt64(table))
            }
    }

    func appearance() throws(Errno) -> Appearance {
        // Of the newest point that changed the table.
        let changed = try place.shown().state.changed(table, at: place.sequence) ?? 0
        return .file(
            bytes: try place.table(table).bytes(kind), modified: Instant(microseconds: changed),
            isImmutable: true)
    }

    func extendedAttributes() throws(Errno) -> [(name: String, value: String)] {
        try place.extendedAttributes(rows: place.table(table).rows)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        let record = try place.table(table)
        guard let format = kind.format else { return (OpenText([UInt8](record.sql.utf8)), .keep) }
        return (try place.open(record) { format.file($0) }, .keep)
    }
}

extension PointPlace {
    /// Opens what is rendered of a table.
    func open(
        _ record: TableRecord, _ file: (Snapshot) throws -> any PartedFile
    ) throws(Errno) -> any OpenFile {
        let (snapshot, hold) = try snapshot(record)
        let engine = tree.engine
        let reader = FileReader(
            try engine.reading { try file(snapshot) }, prefetcher: tree.prefetcher)
        return OpenTable(engine: engine, reader: reader, hold: hold)
    }

    /// A table's rows, readable as long as there is the hold.
    func snapshot(_ record: TableRecord) throws(Errno) -> (snapshot: Snapshot, hold: PointHold) {
        let state = try shown().state
        let hold = tree.engine.hold(record, of: state)
        return (tree.engine.snapshot(record, of: state), hold)
    }
}

/// Readable also when its point is dropped.
private struct OpenTable: OpenFile {
    let engine: Engine
    let reader: FileReader
    let hold: PointHold

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        try engine.reading { try reader.read(at: offset, count: count, into: output) }
    }
}

extension Engine {
    /// Reads what is stored; what can't be read is told in `errors`.
    func reading<R>(_ body: () throws -> R) throws(Errno) -> R {
        do {
            return try body()
        } catch {
            let failure = error as? Failure ?? Failure(.system, "\(error)")
            errors.add("reading a backup", message: failure.message)
            throw (error as? Failure)?.errno ?? .io
        }
    }
}

extension TableRecord {
    /// Exact bytes of a file of the table.
    fileprivate func bytes(_ kind: TableFile.Kind) -> UInt64 {
        if let format = kind.format { return sizes[format.id] ?? 0 }
        return UInt64(sql.utf8.count)
    }
}
