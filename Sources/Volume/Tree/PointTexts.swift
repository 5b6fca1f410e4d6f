import Engine
import Repository
import Tables

/// What JSON texts tell of a point.
enum PointTexts {
    static func head(_ point: BackupPoint) -> [(String, JSONText)] {
        [
            ("point", .text(point.name)), ("kind", .text(point.kind.rawValue)),
            ("parent", .optional(point.parentName)),
            ("cut", .text(Instant(microseconds: point.cut).description)),
            ("operation", .number(point.operation)), ("uid", .optional(point.uid)),
        ]
    }

    /// `backup.json`: what the point is, and which file is which table. Never changes.
    static func manifest(
        _ shown: ShownCollection, _ point: BackupPoint, _ paths: [UInt32: [TableFile.Kind: String]]
    ) -> [UInt8] {
        let tables = shown.state.tables(at: point.sequence).map { table -> JSONText in
            let names = paths[table.id] ?? [:]
            var members: [(String, JSONText)] = [("path", .text(table.path))]
            members += RowFormat.all.map { ($0.id, .optional(names[.format($0)])) }
            members += [("sql", .optional(names[.sql])), ("rows", .number(table.rows))]
            members += RowFormat.all.map { format in
                (format.id + "_bytes", table.sizes[format.id].map { .number($0) } ?? .null)
            }
            members += [
                ("content_hash", .text(table.contentHash)),
                (
                    "renumbered",
                    .bool(table.isRenumbered && point.changed.contains(table.id))
                ),
                ("columns", .array(table.schema.visibleColumns.map(column))),
                (
                    "key",
                    .array(table.schema.primaryKey.map { .text(table.schema.columns[$0].name) })
                ),
            ]
            if let owner = table.shadowOf { members.append(("shadow_of", .text(owner))) }
            if !table.notes.isEmpty {
                members.append(("notes", .array(table.notes.map { .text($0) })))
            }
            return .object(members)
        }
        var others: [(String, JSONText)] = []
        if let facts = point.facts { others.append(("database", .text(facts.description))) }
        if !point.views.isEmpty { others.append(("views_sql", .text(point.views))) }
        return JSONText.object(
            [("collection", .text(shown.name))] + head(point)
                + [("tables", .array(tables)), ("not_backed_up", refused(point))] + others
        ).document
    }

    static func refused(_ point: BackupPoint) -> JSONText {
        .array(
            point.notBackedUp.map { table in
                .object([("path", .text(table.path)), ("reason", .text(table.reason))])
            })
    }

    private static func column(_ column: Column) -> JSONText {
        .object(
            [("name", .text(column.name)), ("type", .text(column.type.name))]
                + (column.isLiteral ? [("literal", .bool(true))] : []))
    }
}
