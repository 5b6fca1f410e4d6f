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
    private let file: SourceFile
    private let sortLimits: SortLimits
    private let known: KnownDefinitions

    /// Opens nothing for good, but looks whether there is a readable database: throws `.notFound`
    /// if there is no file, `.invalid` or `.corrupt` if it isn't one of SQLite's.
    ///
    /// - Parameters:
    ///   - busyTimeout: seconds to wait for locks of other programs.
    ///   - known: what other sources of the database have read.
    ///   - sortLimits: of what is sorted where SQLite doesn't store rows in key order.
    package init(
        path: String, busyTimeout: Double = patience, known: KnownDefinitions = KnownDefinitions(),
        sortLimits: SortLimits = .init()
    ) throws {
        self.sortLimits = sortLimits
        name = path
        self.known = known
        file = SourceFile(path: path, busyTimeout: busyTimeout)
        try file.check()
    }

    package func listTables() throws -> [SourceTable] {
        let cut = try openCut(CutRequest(), copies: false)
        defer { cut.close() }
        return try cut.listTables()
    }

    package func openCut(_ request: CutRequest) throws -> any SourceCut {
        try openCut(request, copies: true)
    }

    private func openCut(_ request: CutRequest, copies: Bool) throws -> SQLiteCut {
        let snapshot = try Snapshot(file, copies: copies)
        do {
            return SQLiteCut(
                snapshot, catalog: try known.catalog(in: snapshot), request: request,
                sortLimits: sortLimits)
        } catch {
            snapshot.close()
            throw error
        }
    }
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

    package func openRestore(
        _ restored: RestoredDatabase, attempt: RestoreAttempt
    ) throws -> any TableRestore {
        try destination.openRestore(restored, attempt: attempt)
    }

    package func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws {
        try destination.removeLeftovers(isGone: isGone)
    }
}
