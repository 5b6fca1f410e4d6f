import Bytes

/// A database that collections are backed up from. One protocol for all of them.
///
/// The engine calls `prepare` (which may write capture marks), then `openCut` for one consistent
/// instant of all tables, reads from it, commits the point, and then says `committed`.
package protocol Source: RestoreDestination {
    /// Every ordinary table now, by name; the ones that can't be backed up say why.
    func listTables() throws -> [SourceTable]

    /// Installs change capture for the tables of a collection where it pays, before a cut.
    /// Returns lines for the user that say what was written to the database.
    ///
    /// - Parameters:
    ///   - tables: nil means all that can be backed up.
    ///   - rows: of tables at the newest point. One that had few is not counted anew; should it have
    ///     grown since, the next backup finds that.
    func prepare(
        collection: String, tables: [String]?, rows: [String: UInt64], capture: CapturePolicy
    ) throws -> [String]

    /// Removes all that `prepare` installed for this collection.
    func remove(collection: String) throws

    /// One instant of every table, unchanged by what others write from now on. `nonce` is new for
    /// each attempt; the source may record it to know its own cut again.
    func openCut(collection: String, nonce: String) throws -> any SourceCut

    /// The point of this cut is durable: what was captured before it may go.
    func committed(collection: String, state: CaptureState) throws
}

package enum CapturePolicy: String, Sendable, Codable {
    /// Change capture for large tables, scan-and-diff for the others.
    case auto
    /// Scan-and-diff always; nothing is ever written to the database.
    case scan
}

package struct SourceTable: Sendable {
    /// Path below the database: `orders`, `sub/products`.
    package var path: String
    /// Why the table can't be backed up, and what to do; nil if it can.
    package var refusal: String?

    package init(path: String, refusal: String? = nil) {
        self.path = path
        self.refusal = refusal
    }
}

/// What a source wants to find again at the next cut: opaque text, stored in the point's entry.
package struct CaptureState: Sendable, Hashable, Codable {
    /// About the database as a whole: identity, markers, nonce.
    package var database: String
    /// By table path.
    package var tables: [String: String]

    package init(database: String, tables: [String: String]) {
        self.database = database
        self.tables = tables
    }
}

/// How changes since the parent are to be found.
package enum Changes {
    /// Captured: rows whose key may have changed. What is in doubt is never answered this way.
    case keys(any ChangeCursor)
    /// Only a scan can tell, for the reason given. In doubt: what was captured can't be trusted, which
    /// the user hears of.
    case scan(reason: String, isDoubt: Bool)
}

/// One consistent instant of a database. Used by one thread at a time, unless a method says else.
package protocol SourceCut: AnyObject {
    /// Microseconds since 1970, UTC.
    var instant: Int64 { get }

    /// Tables at this instant, by name.
    func listTables() throws -> [SourceTable]

    /// The schema of a table, and the source's own text of it (`CREATE TABLE`, indexes, triggers).
    ///
    /// Columns that are the same as in `parent` keep their ids and stand-ins, new ones get ids from
    /// `nextColumnID`. `literals`: names of columns to be read as literals, because a value was found
    /// not to fit. Throws `.notFound` if there is no such table.
    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, literals: Set<String>
    ) throws -> TableDescription

    /// Exact count of rows.
    func countRows(_ path: String) throws -> UInt64

    /// All rows in key order. Every call gives a cursor of its own; several may be open at a time,
    /// each used by one thread.
    ///
    /// - Parameter checkpoint: called now and then, by the cursor's `next`, if it takes long until
    ///   there is a first row; throws to stop.
    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor

    /// All rows in the order in which they are read fastest, and whether that is key order.
    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool)

    /// Rows that may have changed since `state` was recorded, in key order.
    func changes(_ path: String, schema: TableSchema, since state: CaptureState) throws -> Changes

    /// The source's text of what stands on no single table: views and their triggers, statements
    /// ended by `;`.
    var views: String { get }

    /// What to store with the point of this cut.
    var state: CaptureState { get throws }

    /// Ends the instant. Called once, also after errors.
    func close()
}

package struct TableDescription: Sendable {
    package var schema: TableSchema
    /// The source's text of the table, statements ended by `;`.
    package var sql: String

    package init(schema: TableSchema, sql: String) {
        self.schema = schema
        self.sql = sql
    }
}

/// A value that doesn't fit its column's type: the table is to be described anew with the column as
/// a literal.
package struct Misfit: Error, Sendable {
    package let column: String

    package init(column: String) { self.column = column }
}

package protocol RowCursor: AnyObject {
    /// Appends rows to `batch` until it has `maxRows` rows or more than `maxBytes` bytes; false if
    /// there was none left. Throws `Misfit` or `Failure`.
    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool
}

package protocol ChangeCursor: AnyObject {
    /// Appends rows as `RowCursor` does, and for each of them to `present` whether it exists: of an
    /// absent one only the key columns count, the others are NULL.
    func next(
        into batch: RowBatch, present: inout [Bool], maxRows: Int, maxBytes: Int
    ) throws -> Bool
}
