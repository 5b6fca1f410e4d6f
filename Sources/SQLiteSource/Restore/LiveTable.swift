import Bytes
import Tables

/// A table that rows are put back into, and how a point's columns correspond to its own.
///
/// Columns go by their names. What says that a row is there already is the key that the table declares
/// now; where it declares none, or the row's key holds NULL, which SQLite lets be there any number of
/// times, the rowid does.
struct LiveTable {
    /// Of both the point's table and this one.
    struct Common {
        /// In the point's columns.
        let index: Int
        let name: String
        let affinity: Affinity
        let isKey: Bool
    }

    let definition: TableDefinition
    let source: RowTarget
    /// Columns that get the point's values.
    let common: [Common]
    /// Those that the point hasn't got.
    let added: [(name: String, affinity: Affinity)]
    /// Names of the point's columns that aren't here.
    let missing: [String]
    /// The point's column that holds rowids; nil if rows have none of their own.
    let rowID: Int?

    init(_ source: RowTarget, _ catalog: Catalog, of database: String) throws {
        self.source = source
        definition = try Self.definition(source.target, catalog, database)
        let stored = source.schema.columns
        var common: [Common] = []
        var added: [(String, Affinity)] = []
        for (number, column) in definition.columns.enumerated() {
            let index = stored.firstIndex {
                !$0.isHidden && folded($0.name) == folded(column.name)
            }
            if column.isGenerated { continue }
            if let index {
                common.append(
                    Common(
                        index: index, name: column.name, affinity: column.affinity,
                        isKey: definition.key.contains(number)))
            } else {
                added.append((column.name, column.affinity))
            }
        }
        (self.common, self.added) = (common, added)
        let known = Set(definition.columns.map { folded($0.name) })
        missing = stored.filter { !$0.isHidden && !known.contains(folded($0.name)) }.map(\.name)
        let hidden = stored.firstIndex(where: \.isHidden)
        rowID = definition.keyIsRowID || definition.rowIDName == nil ? nil : hidden
        let hasKey =
            definition.key.isEmpty
            ? rowID != nil && source.schema.primaryKey.isEmpty
            : common.count(where: \.isKey) == definition.key.count
        guard hasKey, !common.isEmpty else {
            throw Failure(
                .unsupported,
                "\(source.target) has another key than \(source.path) had at the point, so that "
                    + "nobody can say which row is which: restore the table under another name "
                    + "with AS, and copy the rows")
        }
    }

    private static func definition(
        _ name: String, _ catalog: Catalog, _ database: String
    ) throws -> TableDefinition {
        let definition: TableDefinition
        do {
            definition = try catalog.table(name)
        } catch let failure as Failure {
            throw Failure(
                failure.code,
                "\(failure.message) in \(database): rows go into a table that is there; without "
                    + "WHERE KEY IN or CHANGED SINCE, RESTORE brings a whole one back")
        }
        switch definition.kind {
        case .ordinary: return definition
        case .shadow(let owner):
            throw Failure(
                .unsupported,
                "\(name) holds content of the virtual table \(owner), which alone knows how its "
                    + "rows belong together: restore \(owner) as a whole")
        case .statistics:
            throw Failure(.unsupported, "\(name) is SQLite's own: run ANALYZE")
        }
    }

    /// Whether rows are told apart by rowid alone.
    var isKeyless: Bool { definition.key.isEmpty }
}
