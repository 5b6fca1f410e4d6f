import Bytes
import Engine
import Repository
import Tables

/// A table's file in a point: CSV, Parquet or its SQL.
final class TableFile: TreeFile {
    /// What a table has in a point.
    enum Kind: Sendable, CaseIterable {
        case csv, sql, parquet

        /// What names end in.
        var suffix: String {
            switch self {
            case .csv: ".csv"
            case .sql: ".sql"
            case .parquet: ".parquet"
            }
        }

        /// What of the table is rendered; nil for texts.
        var format: TableFormat? {
            switch self {
            case .csv: .csv
            case .parquet: .parquet
            case .sql: nil
            }
        }

        fileprivate var identity: FileIdentity.Kind {
            switch self {
            case .csv: .csv
            case .sql: .sql
            case .parquet: .parquet
            }
        }
    }

    let identity: FileIdentity
    private let tree: TreeContext
    private let kind: Kind
    private let place: PointPlace
    private let table: UInt32

    init(
        _ tree: TreeContext, _ kind: Kind, _ shown: ShownCollection, _ sequence: UInt64,
        _ table: UInt32
    ) {
        self.tree = tree
        self.kind = kind
        self.table = table
        place = PointPlace(shown, sequence)
        identity = shown.identity(kind.identity, of: sequence, UInt64(table))
    }

    private func record() throws(Errno) -> (ShownCollection, TableRecord) {
        let shown = try place.collection(tree)
        guard let record = shown.state.table(table, at: place.sequence) else { throw .noEntry }
        return (shown, record)
    }

    func appearance() throws(Errno) -> Appearance {
        let (shown, record) = try record()
        // Of the newest point that changed the table.
        let changed = shown.state.changed(table, at: place.sequence) ?? 0
        return .file(
            bytes: record.bytes(kind), modified: Instant(microseconds: changed), isImmutable: true)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        let (shown, record) = try record()
        guard let format = kind.format else { return (OpenText([UInt8](record.sql.utf8)), .keep) }
        let hold = tree.engine.hold(record, of: shown.state)
        let snapshot = tree.engine.snapshot(record, of: shown.state)
        let reader = FileReader(format.file(of: snapshot), prefetcher: tree.prefetcher)
        return (OpenTable(engine: tree.engine, reader: reader, hold: hold), .keep)
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
        if let format = kind.format { return sizes[format.rawValue] ?? 0 }
        return UInt64(sql.utf8.count)
    }
}

extension TableFormat {
    func file(of snapshot: Snapshot) -> any RenderedFile {
        switch self {
        case .csv: CSVFile(snapshot)
        case .parquet: ParquetFile(snapshot)
        }
    }
}
