import Bytes
import Tables

/// A SQLite database file as a source of backups, while other programs go on writing to it.
///
/// Between calls no connection is open.
package final class SQLiteSource: Source {
    package let name: String
    private let file: SourceFile

    /// Opens nothing for good, but looks whether there is a readable database.
    ///
    /// - Parameter busyTimeout: seconds to wait for locks of other programs.
    package init(path: String, busyTimeout: Double = 30) throws {
        name = path
        file = SourceFile(path: path, busyTimeout: busyTimeout)
        try Snapshot(file, copies: false).close()
    }

    package func listTables() throws -> [SourceTable] {
        let snapshot = try Snapshot(file, copies: false)
        defer { snapshot.close() }
        return try SQLiteCut(snapshot).listTables()
    }

    package func prepare(
        collection: String, tables: [String], capture: CapturePolicy
    ) throws -> [String] { [] }

    package func remove(collection: String) throws {}

    package func openCut(collection: String, nonce: String) throws -> any SourceCut {
        let snapshot = try Snapshot(file, copies: true)
        do {
            return try SQLiteCut(snapshot)
        } catch {
            snapshot.close()
            throw error
        }
    }

    package func committed(collection: String, state: CaptureState) throws {}
}
