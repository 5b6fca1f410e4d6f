import Bytes

/// A database whose tables can be read as of one instant: what every source can do.
///
/// What else a source can do is asked of it: its cuts may know what changed since an earlier one
/// (`SourceCut.changes`), and a `RestoreDestination` takes rows back.
package protocol RowSource: Sendable {
    /// What the user named, for messages.
    var name: String { get }

    /// Every table now, by name; the ones that can't be backed up say why.
    func listTables() throws -> [SourceTable]

    /// What something of this name is that has no rows of its own: `a view`; nil if there is nothing.
    func otherKind(of name: String) throws -> String?

    /// One instant of every table, unchanged by what others write from now on.
    func openCut(_ request: CutRequest) throws -> any SourceCut

    /// About how many bytes the database has; nil if nobody knows.
    var sizeBytes: UInt64? { get }
}

extension RowSource {
    package var sizeBytes: UInt64? { nil }
    package func otherKind(of name: String) throws -> String? { nil }
}

/// A database that is backed up and restored into.
package typealias RestorableSource = RowSource & RestoreDestination

/// What a cut is for.
package struct CutRequest: Sendable {
    /// Names of tables that are never looked at.
    package var omitted: Set<String>
    /// What the cut of the parent point has kept (`SourceCut.writeKnowledge`); nil if there is nothing,
    /// or nothing that can be trusted: then everything is compared.
    package var known: (any RandomAccess)?
    /// Whether `writeKnowledge` will be called.
    package var keepsKnowledge: Bool

    package init(
        omitted: Set<String> = [], known: (any RandomAccess)? = nil, keepsKnowledge: Bool = false
    ) {
        self.omitted = omitted
        self.known = known
        self.keepsKnowledge = keepsKnowledge
    }
}

package struct SourceTable: Sendable {
    package enum Kind: Sendable, Hashable {
        case ordinary
        /// Holds what a virtual table of this name shows.
        case shadow(of: String)
        /// What the database's planner knows of other tables.
        case statistics
    }

    /// Path below the database: `orders`, `sub/products`.
    package var path: String
    package var kind: Kind
    /// Why the table can't be backed up, and what to do; nil if it can.
    package var refusal: String?

    package init(path: String, kind: Kind = .ordinary, refusal: String? = nil) {
        self.path = path
        self.kind = kind
        self.refusal = refusal
    }
}

/// How changes since the parent are to be found.
package enum Changes {
    /// Outside of the ranges every row is the parent's, and there are exactly `unchangedRows` of them;
    /// `rows` are those that are in the ranges now, in key order. No ranges: nothing changed.
    case ranges(KeyRanges, rows: any RowCursor, unchangedRows: UInt64)
    /// Only a comparison of all rows can tell, for the reason given. In doubt: what was kept can't be
    /// trusted, which the user hears of.
    case whole(reason: String, isDoubt: Bool)
}

/// What a source said of a table's changes can't be true, as its rows or the stored ones show: all rows
/// are to be compared instead.
package struct DoubtfulChanges: Error, Sendable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// One consistent instant of a database. Used by one thread at a time, unless a method says else.
package protocol SourceCut: AnyObject {
    /// Microseconds since 1970, UTC.
    var instant: Int64 { get }

    /// Tables at this instant, by name, but for those that are to be omitted.
    func listTables() throws -> [SourceTable]

    /// The schema of a table, and the source's own text of it (`CREATE TABLE`, indexes, triggers).
    ///
    /// Columns that are the same as in `parent` keep their ids, types and stand-ins, new ones get ids
    /// from `nextColumnID`, and a stand-in if the source knows what older rows have there. Types are what definition and first rows say. After a `Misfit` they are
    /// asked for `exactly`: all rows are looked at, once, and every value fits what is answered.
    /// Throws `.notFound` if there is no such table.
    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
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

    /// What changed since the cut that kept what the request told of, whose table had this schema and
    /// so many rows.
    func changes(_ path: String, schema: TableSchema, parentRows: UInt64) throws -> Changes

    /// The changed rows since the parent's cut, in key order, where the source has no more of the table
    /// than these; nil if it has all of it.
    func delta(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> (any RowCursor)?

    /// What came to light as the table's rows were read, a line each.
    func findings(_ path: String) -> [String]

    /// A line for each index that disagrees with its table, or that can't be checked: cuts are read
    /// from the tables alone, which says nothing of their indexes.
    func checkIndexes(
        _ path: String, isCancelled: @escaping @Sendable () -> Bool
    ) throws -> [String]

    /// The source's text of what stands on no single table: virtual tables, views and the triggers of
    /// views, statements ended by `;`.
    var views: String { get }

    /// What else identifies the database; nil if the source has nothing of that kind.
    var facts: DatabaseFacts? { get throws }

    /// What the user should know of how the database was opened, a line each.
    var notes: [String] { get }

    /// Looks whether the database's own disk bears that the cut stays open, and throws `.noSpace` if it
    /// doesn't; nil if a cut costs no room there. May be called as often as one likes, by any thread.
    var roomCheck: (@Sendable () throws -> Void)? { get }

    /// Throws if what was read isn't one instant after all: somebody wrote meanwhile. To be called when all
    /// is read.
    func confirm() throws

    /// Writes what the next cut wants to know of this one.
    func writeKnowledge(to sink: any ByteSink) throws

    /// Ends the instant. Called once, also after errors.
    func close()
}

extension SourceCut {
    package var facts: DatabaseFacts? { get throws { nil } }

    package var notes: [String] { [] }

    package var roomCheck: (@Sendable () throws -> Void)? { nil }

    package func changes(_ path: String, schema: TableSchema, parentRows: UInt64) throws -> Changes
    {
        .whole(reason: "the source doesn't know what changed", isDoubt: false)
    }

    package func delta(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> (any RowCursor)? { nil }

    package func findings(_ path: String) -> [String] { [] }

    package func confirm() throws {}

    package func checkIndexes(
        _ path: String, isCancelled: @escaping @Sendable () -> Bool
    ) throws -> [String] { [] }

    package func writeKnowledge(to sink: any ByteSink) throws {}
}

package struct TableDescription: Sendable {
    package var schema: TableSchema
    /// The source's text of the table, statements ended by `;`.
    package var sql: String
    /// The highest number that was ever given to a row, where the source counts them.
    package var sequence: Int64?
    /// The virtual table whose content this one holds.
    package var shadowOf: String?
    /// What the user should know of how the table is backed up, a line each.
    package var notes: [String]
    package var traits: DumpedTraits

    package init(
        schema: TableSchema, sql: String, sequence: Int64? = nil, shadowOf: String? = nil,
        notes: [String] = [], traits: DumpedTraits = DumpedTraits()
    ) {
        self.schema = schema
        self.sql = sql
        self.sequence = sequence
        self.shadowOf = shadowOf
        self.notes = notes
        self.traits = traits
    }
}

/// A value that doesn't fit its column's type: the table is to be described anew, exactly.
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
