import Bytes

/// Where restores are written: a database, or the file of one that is to be made.
package protocol RestoreDestination: Sendable {
    /// What the user named, for messages.
    var name: String { get }

    /// Why these tables can't be restored as things are, a line each. Writes nothing.
    func obstacles(to tables: [RestoredTable]) throws -> [String]

    /// Begins a restore, which shows nothing to anybody until it is published.
    func openRestore(
        _ tables: [RestoredTable], attempt: RestoreAttempt
    ) throws -> any TableRestore

    /// Removes what killed restores have left.
    func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws
}

/// A table as a point has it, and the name that it gets.
package struct RestoredTable: Sendable {
    package var path: String
    package var target: String
    package var schema: TableSchema
    /// The source's text of the table, its indexes and triggers.
    package var sql: String

    package init(path: String, target: String, schema: TableSchema, sql: String) {
        self.path = path
        self.target = target
        self.schema = schema
        self.sql = sql
    }

    package var isRenamed: Bool { !path.hasSameBytes(as: target) }
}

/// One run of a restore.
package struct RestoreAttempt: Sendable {
    /// Letters, digits and `_`: what is hidden until the end is named by it.
    package var id: String
    /// Asked often while something takes long; true ends it with a `.cancelled`.
    package var isCancelled: @Sendable () -> Bool

    /// Hears of bytes of rows that were written, while nothing is locked. It may wait, or throw to end
    /// the restore.
    package var hasWritten: @Sendable (Int) throws -> Void

    package init(
        id: String, isCancelled: @escaping @Sendable () -> Bool,
        hasWritten: @escaping @Sendable (Int) throws -> Void = { _ in }
    ) {
        self.id = id
        self.isCancelled = isCancelled
        self.hasWritten = hasWritten
    }
}

/// Tables being loaded aside. Used by one thread; ends with `publish` or `abandon`.
package protocol TableRestore: AnyObject {
    /// Makes room for the rows of a table, by its number.
    func begin(_ table: Int) throws

    /// Takes rows of the table last begun, in key order. They are read only until this returns.
    func append(_ batch: RowBatch) throws

    /// The rows of the table last begun are complete: builds what rests on them, and gives all of
    /// them as they can be read now, in any order.
    func finish() throws -> any RowCursor

    /// Shows all tables at once, durably, with their indexes and triggers, and the views that aren't
    /// there yet. Answers what the user should know, a line each. Throws `.exists` if a name was
    /// taken meanwhile.
    func publish(views: String) throws -> [String]

    /// Leaves things as they were before. Called once unless published; does nothing after it.
    func abandon()
}
