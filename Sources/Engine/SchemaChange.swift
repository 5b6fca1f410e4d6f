import Tables

/// How a table's columns differ from those that its newest point has, and what becomes of its stored
/// rows.
struct SchemaChange: CustomStringConvertible {
    enum Effect {
        /// Nothing but names changed: the table's index holds.
        case names
        /// Columns came, went or moved: stored rows are read once, to count what they come to now.
        case columns
        /// Rows are other ones now: the table is carried whole, by a *reset*. Says why.
        case rows(reason: String)
    }

    let effect: Effect
    /// The new columns, with stand-ins where stored rows haven't got them.
    let schema: TableSchema
    let description: String

    /// Nil if there is no difference.
    ///
    /// - Parameter standIns: asked for what stands in rows stored before there were these columns, by
    ///   id. A column that gets none has values of its own in each row.
    init?(
        from old: TableSchema, to new: TableSchema,
        standIns: (_ columns: [Column]) throws -> [UInt32: StandIn]
    ) rethrows {
        if old == new { return nil }
        var schema = new
        let oldIDs = Set(old.columns.map(\.id))
        let added = new.columns.filter { !oldIDs.contains($0.id) }
        if old.keyIDs != new.keyIDs {
            effect = .rows(reason: "rows are told apart by another key")
        } else if old.columns.map(\.id) == new.columns.map(\.id) {
            effect = .names
        } else {
            let found = added.isEmpty ? [:] : try standIns(added)
            for index in schema.columns.indices {
                if let standIn = found[schema.columns[index].id] {
                    schema.columns[index].standIn = standIn
                }
            }
            let names = added.filter { found[$0.id] == nil }.map(\.name)
            effect =
                names.isEmpty
                ? .columns
                : .rows(reason: "values of \(names.joined(separator: ", ")) differ from row to row")
        }
        self.schema = schema
        let words = Self.words(from: old, to: new).joined(separator: ", ")
        description =
            switch effect {
            case .names, .columns: "\(words): stored rows stay in use"
            case .rows(let reason): "\(words): backed up whole, since \(reason)"
            }
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
        if old.keyIDs != new.keyIDs { words.append("the key is another one") }
        return words.isEmpty ? ["its columns stand in another order"] : words
    }

    private static func type(_ column: Column) -> String {
        column.isLiteral ? "literals" : column.type.name
    }
}
