import Bytes
import Synchronization
import Tables

/// A SQLite database file as a source of backups, while other programs go on writing to it.
///
/// Between calls no connection is open, and nothing is ever written to the file but by a restore.
package final class SQLiteSource: RowSource {
    /// Seconds that an operation waits for locks of other programs.
    package static let patience = 30.0

    package let name: String
    let file: SourceFile
    private let sortLimits: SortLimits
    private let known: KnownDefinitions
    private let rules: PageRules
    /// What a writer that died had left was rolled back, and no cut has told of it yet.
    private let recovered = Mutex(false)

    /// Opens nothing for good, but looks whether there is a readable database: throws `.notFound`
    /// if there is no file, `.invalid` or `.corrupt` if it isn't one of SQLite's.
    ///
    /// - Parameters:
    ///   - busyTimeout: seconds to wait for locks of other programs.
    ///   - isReadOnly: even SQLite's own repair of what a dead writer left is refused.
    ///   - trustsFileSystem: a WAL database is read on file systems too that share no memory.
    ///   - known: what other sources of the database have read.
    ///   - sortLimits: of what is sorted where SQLite doesn't store rows in key order.
    ///   - rules: other ones than these are for tests.
    package init(
        path: String, busyTimeout: Double = patience, isReadOnly: Bool = false,
        trustsFileSystem: Bool = false, known: KnownDefinitions = KnownDefinitions(),
        sortLimits: SortLimits = .init(),
        rules: PageRules = PageRules()
    ) throws {
        self.rules = rules
        self.sortLimits = sortLimits
        name = path
        self.known = known
        file = SourceFile(path: path, busyTimeout: busyTimeout, isReadOnly: isReadOnly)
        // Looks at the header only.
        func isWAL(_ reader: Connection) throws -> Bool {
            try reader.text("PRAGMA main.journal_mode") == "wal"
        }
        let isWAL = try file.reading(recovered: { recovered.withLock { $0 = true } }, isWAL)
        if isWAL, !trustsFileSystem { try LyingFileSystem.refuse(path) }
    }

    package func listTables() throws -> [SourceTable] {
        let snapshot = try Snapshot(file)
        defer { snapshot.close() }
        return try SQLiteCut(
            snapshot, catalog: known.catalog(in: snapshot), request: CutRequest(), pages: .init(),
            sortLimits: sortLimits
        ).listTables()
    }

    package func otherKind(of name: String) throws -> String? {
        try file.reading { reader in
            try reader.rows(
                "SELECT name, type FROM main.sqlite_schema WHERE type = 'view' OR \(Catalog.isVirtual)"
            ) { ($0.text(0), $0.text(1) == "view" ? "a view" : "a virtual table") }
        }.first { $0.0.hasSameBytes(as: name) }?.1
    }

    package var sizeBytes: UInt64? { file.size(of: "").map { UInt64($0) } }

    package func openCut(_ request: CutRequest) throws -> any SourceCut {
        let snapshot = try Snapshot(file)
        do {
            let catalog = try known.catalog(in: snapshot)
            let pages = try CutPages(snapshot, catalog, request, rules: rules)
            let isRecovered = recovered.withLock { before in
                defer { before = false }
                return before || snapshot.isRecovered
            }
            return SQLiteCut(
                snapshot, catalog: catalog, request: request, pages: pages, sortLimits: sortLimits,
                notes: isRecovered ? [Self.recoveryNote] : [])
        } catch {
            snapshot.close()
            throw error
        }
    }
}

extension SQLiteSource {
    fileprivate static let recoveryNote =
        "the last program that wrote to the database died within a transaction: SQLite has rolled it "
        + "back"
}

/// The definitions of a database as last read: for 10,000 tables, that takes twice as long as to read
/// their rows.
package final class KnownDefinitions: Sendable {
    private let last = Mutex<Catalog?>(nil)

    package init() {}

    /// The definitions in a snapshot: not read again as long as they are the same.
    func catalog(in snapshot: Snapshot) throws -> Catalog {
        let fingerprint = try Catalog.fingerprint(snapshot.connection)
        if let known = last.withLock({ $0 }), known.fingerprint == fingerprint { return known }
        let catalog = try Catalog(snapshot.connection)
        last.withLock { $0 = catalog }
        return catalog
    }
}

extension SQLiteSource: RestoreDestination {
    private var destination: SQLiteDestination {
        SQLiteDestination(path: name, busyTimeout: file.busyTimeout, mayCreate: false)
    }

    package var names: any TableNameRules { destination.names }

    package func obstacles(to restored: RestoredDatabase) throws -> [String] {
        try destination.obstacles(to: restored)
    }

    package func form(of table: RestoredTable) throws -> RestoredForm {
        try destination.form(of: table)
    }

    package func openRestore(
        _ restored: RestoredDatabase, attempt: RestoreAttempt
    ) throws -> any TableRestore {
        try destination.openRestore(restored, attempt: attempt)
    }

    package func checkTargets(of rows: [RowTarget]) throws {
        try destination.checkTargets(of: rows)
    }

    package func openRows(
        _ rows: [RowTarget], rules: RowRules, attempt: RestoreAttempt
    ) throws -> any RowRestore {
        try destination.openRows(rows, rules: rules, attempt: attempt)
    }

    package func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws {
        try destination.removeLeftovers(isGone: isGone)
    }
}
