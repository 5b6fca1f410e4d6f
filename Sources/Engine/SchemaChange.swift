import Tables

/// How a table's columns differ from those that its newest point has.
///
/// Stored rows go on to be used only if all that is known of them still holds: a page's bytes as CSV
/// are counted for all its columns together, and content hashes are of whole rows. So a column that
/// was added, dropped or given another type has the table carried whole, by a *reset*; one that was
/// only renamed doesn't.
struct SchemaChange: CustomStringConvertible {
    /// Nothing but names changed.
    let keepsRows: Bool
    let description: String

    /// Nil if there is no difference.
    init?(from old: TableSchema, to new: TableSchema) {
        if old == new { return nil }
        let oldIDs = old.columns.map(\.id)
        let newIDs = new.columns.map(\.id)
        keepsRows = oldIDs == newIDs && old.key == new.key
        let words = Self.words(from: old, to: new).joined(separator: ", ")
        description =
            keepsRows
            ? "\(words): stored rows stay in use"
            : "\(words): backed up whole, since sizes and hashes are of all columns together"
    }

    private static func words(from old: TableSchema, to new: TableSchema) -> [String] {
        func column(_ name: String, in schema: TableSchema) -> Column? {
            schema.columns.first { $0.name.utf8.elementsEqual(name.utf8) }
        }
        var words: [String] = []
        for now in new.columns {
            if let before = old.columns.first(where: { $0.id == now.id }) {
                if !before.name.utf8.elementsEqual(now.name.utf8) {
                    words.append("column \(before.name) is now \(now.name)")
                }
            } else if let before = column(now.name, in: old) {
                let (from, to) = (Self.type(before), Self.type(now))
                words.append(
                    from == to
                        ? "column \(now.name) is another one"
                        : "column \(now.name) was \(from) and is \(to)")
            } else {
                words.append("column \(now.name) is new")
            }
        }
        for before in old.columns
        where column(before.name, in: new) == nil
            && !new.columns.contains(where: { $0.id == before.id })
        {
            words.append("column \(before.name) is gone")
        }
        let oldKey = old.key.map { old.columns[$0].id }
        if oldKey != new.key.map({ new.columns[$0].id }) { words.append("the key is another one") }
        return words.isEmpty ? ["its columns stand in another order"] : words
    }

    private static func type(_ column: Column) -> String {
        column.isLiteral ? "literals" : column.type.name
    }
}
