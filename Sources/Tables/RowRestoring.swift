/// What happens to a row that is in the table already, and is another one by now.
package enum ConflictRule: String, Sendable, CaseIterable {
    /// It stays as it is.
    case skip
    /// It becomes what it was.
    case replace
    /// Nothing is put back at all.
    case fail
}

/// How rows are put back into tables that are there.
package struct RowRules: Sendable, Equatable {
    package var onConflict = ConflictRule.fail
    /// Everything is done, looked at, and undone.
    package var isDryRun = false
    /// Whether the table's triggers run for the rows.
    package var runsTriggers = false
    /// Whether anything that can't be put back ends all of it.
    package var isStrict = false

    package init() {}
}

/// A table at a point, rows of which are put back, and the table that they go to.
package struct RowTarget: Sendable {
    package var path: String
    package var target: String
    package var schema: TableSchema

    package init(path: String, target: String, schema: TableSchema) {
        self.path = path
        self.target = target
        self.schema = schema
    }
}

/// What became of the rows of one table.
package struct PutBackRows: Sendable, Equatable {
    package var inserted: UInt64 = 0
    package var replaced: UInt64 = 0
    /// Rows that were there as they were at the point.
    package var same: UInt64 = 0
    package var skipped: UInt64 = 0
    /// What the user should know, a line each.
    package var notes: [String] = []
    /// What isn't as it was at the point, a line each.
    package var omissions: [String] = []

    package init() {}
}

/// Rows on their way into tables that others may be using meanwhile: first they are laid aside, then all
/// tables get theirs in one transaction. Used by one thread; ends with `finish` or `abandon`.
package protocol RowRestore: AnyObject {
    /// From here on rows of this table come, by its number.
    func begin(_ table: Int) throws

    /// Takes rows in the columns of the point's table, none of them twice. They are read only until this
    /// returns.
    func append(_ batch: RowBatch) throws

    /// Puts all of them back, or none: throws `.exists` for rows that are others by now, if that is what
    /// the rules say.
    func finish() throws -> [PutBackRows]

    /// Leaves things as they were. Called once unless finished; does nothing after it.
    func abandon()
}
