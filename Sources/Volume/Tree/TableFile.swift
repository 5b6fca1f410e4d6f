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
        let state = try place.shown().state
        let engine = place.tree.engine
        let hold = engine.hold(record, of: state)
        let reader = FileReader(
            format.file(engine.snapshot(record, of: state)),
            prefetcher: place.tree.prefetcher)
        return (OpenTable(engine: engine, reader: reader, hold: hold), .keep)
    }

    /// Readable also when its point is dropped.
    private struct OpenTable: OpenFile {
        let engine: Engine
        let reader: FileReader
        let hold: PointHold

        func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
            do {
                try reader.read(at: offset, count: count, into: output)
            } catch {
                let failure = error as? Failure ?? Failure(.system, "\(error)")
                engine.errors.add("reading a backup", message: failure.message)
                throw (error as? Failure)?.errno ?? .io
            }
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
