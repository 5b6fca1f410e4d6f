import Bytes

/// Where restores are written: a database, or the file of one that is to be made.
package protocol RestoreDestination: Sendable {
    /// What the user named, for messages.
    var name: String { get }

    /// The rules for names of tables there.
    var names: any TableNameRules { get }

    /// How a table of another system is held there.
    func form(of table: RestoredTable) throws -> RestoredForm

    /// Why this can't be restored as things are, a line each. Writes nothing.
    func obstacles(to restored: RestoredDatabase) throws -> [String]

    /// Begins a restore, which shows nothing to anybody until it is published.
    func openRestore(
        _ restored: RestoredDatabase, attempt: RestoreAttempt
    ) throws -> any TableRestore

    /// Throws `.notFound` or `.unsupported` if rows can't go to one of these tables, whichever rows they
    /// are. Writes nothing.
    func checkTargets(of rows: [RowTarget]) throws

    /// Begins to put rows back, which shows nothing to anybody until it is finished.
    func openRows(
        _ rows: [RowTarget], rules: RowRules, attempt: RestoreAttempt
    ) throws -> any RowRestore

    /// Removes what killed restores have left.
    func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws
}

/// Which names a database's tables can have.
package protocol TableNameRules: Sendable {
    /// Whether a table that is restored under another name can have this one.
    func allow(_ name: String) -> Bool

    /// The same for names that are one to the database.
    func identity(of name: String) -> [UInt8]
}

/// What a restore brings back.
package struct RestoredDatabase: Sendable {
    package var tables: [RestoredTable]
    /// The source's text of what stands on no single table: virtual tables, views and their triggers.
    package var views: String
    /// Everything that the point has, `views` included.
    package var isWhole: Bool
    /// If it isn't everything: those of the virtual tables in `views` that are asked for.
    package var virtualTables: Set<String>
    /// What the database was known by; nil if it isn't restored.
    package var facts: DatabaseFacts?

    package init(
        tables: [RestoredTable], views: String = "", isWhole: Bool = false,
        virtualTables: Set<String> = [], facts: DatabaseFacts? = nil
    ) {
        self.tables = tables
        self.views = views
        self.isWhole = isWhole
        self.virtualTables = virtualTables
        self.facts = facts
    }

    package func includes(virtualTable name: String) -> Bool {
        isWhole || virtualTables.contains(name)
    }
}

/// A table as a point has it, and the name that it gets.
package struct RestoredTable: Sendable {
    package var path: String
    package var target: String
    package var schema: TableSchema
    /// The source's text of the table, its indexes and triggers.
    package var sql: String
    /// The highest number that was ever given to one of its rows, where the source counts them.
    package var sequence: Int64?
    /// The virtual table whose content it holds.
    package var shadowOf: String?
    /// Where it comes from another system: what becomes of its rows. `schema` and `sql` are those of the form.
    package var form: RestoredForm?

    package init(
        path: String, target: String, schema: TableSchema, sql: String, sequence: Int64? = nil,
        shadowOf: String? = nil
    ) {
        self.path = path
        self.target = target
        self.schema = schema
        self.sql = sql
        self.sequence = sequence
        self.shadowOf = shadowOf
    }

    package var isRenamed: Bool { !path.hasSameBytes(as: target) }
}

/// A table of another system in the types that a destination has.
package struct RestoredForm: Sendable {
    package var schema: TableSchema
    /// The destination's text of it.
    package var sql: String
    /// What the user should know, a line each.
    package var notes: [String]
    /// Rows as they are held there, of which so many came before. Throws `.unsupported` for a value that
    /// can't be.
    package var convert: @Sendable (RowBatch, _ before: UInt64) throws -> RowBatch

    package init(
        schema: TableSchema, sql: String, notes: [String],
        convert: @escaping @Sendable (RowBatch, _ before: UInt64) throws -> RowBatch
    ) {
        self.schema = schema
        self.sql = sql
        self.notes = notes
        self.convert = convert
    }
}

/// One run of a restore.
package struct RestoreAttempt: Sendable {
    /// Letters, digits and `_`: what is hidden until the end is named by it.
    package var id: String
    /// Whether a table that can't be published ends the restore, instead of being left out.
    package var isStrict: Bool
    /// Asked often while something takes long; true ends it with a `.cancelled`.
    package var isCancelled: @Sendable () -> Bool

    /// Hears of bytes of rows that were written, while nothing is locked. It may wait, or throw to end
    /// the restore.
    package var hasWritten: @Sendable (Int) throws -> Void

    package init(
        id: String, isStrict: Bool = false, isCancelled: @escaping @Sendable () -> Bool,
        hasWritten: @escaping @Sendable (Int) throws -> Void = { _ in }
    ) {
        self.id = id
        self.isStrict = isStrict
        self.isCancelled = isCancelled
        self.hasWritten = hasWritten
    }
}

/// Tables being loaded aside. Used by one thread; ends with `publish` or `abandon`.
///
/// First the rows of each table are loaded, then each is inspected. A table that throws at either is
/// left out, and the others go on; a failure that concerns more than one table comes back from every
/// method that is called after it.
package protocol TableRestore: AnyObject {
    /// False for a table that has no place here: the statistics of a database that is there already.
    func isRestored(_ table: Int) -> Bool

    /// Makes room for the rows of a table, by its number.
    func begin(_ table: Int) throws

    /// Takes rows of the table last begun, in key order. They are read only until this returns.
    func append(_ batch: RowBatch) throws

    /// Once all tables are loaded: builds what rests on the rows of a table, checks it, and gives all
    /// rows as they can be read now, in any order.
    func inspect(_ table: Int) throws -> any RowCursor

    /// A table isn't published, for this reason.
    func leaveOut(_ table: Int, because reason: String)

    /// Shows all tables that weren't left out at once, durably, with their indexes and triggers, and what
    /// stands on no single table unless it is there already. Throws `.exists` if a name was taken
    /// meanwhile.
    func publish() throws -> PublishedTables

    /// Leaves things as they were before. Called once unless published; does nothing after it.
    func abandon()
}

/// What became of a restore at its end.
package struct PublishedTables: Sendable {
    /// What the user should know, a line each.
    package var notes: [String] = []
    /// Tables that were left out only now.
    package var leftOut: [(path: String, reason: String)] = []

    package init() {}
}
