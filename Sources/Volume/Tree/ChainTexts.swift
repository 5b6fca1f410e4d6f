import Bytes
import Engine
import Repository

/// `COLLECTION/chain` and `chain.json`: all points.
enum ChainTexts {
    /// A line for each point, columns aligned.
    static func text(_ engine: Engine, _ shown: ShownCollection) -> String {
        let checks = engine.repository?.checks(of: shown.state) ?? [:]
        let freed = shown.state.freedBytes
        var rows = [
            [
                "POINT", "KIND", "CUT", "TABLES", "INCOMPLETE", "ROWS", "CHANGED", "STORED",
                "FREES", "PARENT", "PINNED", "VERIFIED",
            ]
        ]
        for point in shown.state.points {
            let tables = shown.state.tables(at: point.sequence)
            let changes = tables.filter { point.changed.contains($0.id) }
            let changed = changes.map(\.changes).total
            let isRenumbered = changes.contains(where: \.isRenumbered)
            rows.append([
                point.name, point.kind.rawValue,
                "\(Instant(microseconds: point.cut).floorToSecond)",
                "\(tables.count)",
                point.notBackedUp.isEmpty ? "-" : "\(point.notBackedUp.count)",
                "\(tables.map(\.rows).total)",
                "\(changed)" + (isRenumbered ? " (renumbered)" : ""),
                "\(shown.state.storedBytes(of: point))", "\(freed[point.sequence] ?? 0)",
                point.parentName ?? "-",
                point.isPinned ? "pinned" : "-", checks[point.sequence]?.text ?? "-",
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max()! }
        return rows.map { row in
            let cells = zip(row, widths).map { cell, width in
                cell + String(repeating: " ", count: width - cell.count)
            }
            let line = cells.joined(separator: "  ")
            return line.prefix(line.count - line.reversed().prefix { $0 == " " }.count) + "\n"
        }.joined()
    }

    static func json(_ engine: Engine, _ shown: ShownCollection) -> JSONText {
        let checks = engine.repository?.checks(of: shown.state) ?? [:]
        let freed = shown.state.freedBytes
        return .object([
            ("collection", .text(shown.name)),
            (
                "points",
                .array(
                    shown.state.points.map { point in
                        let tables = shown.state.tables(at: point.sequence)
                        return .object(
                            PointTexts.head(point) + [
                                ("rows", .number(tables.map(\.rows).total)),
                                ("stored_bytes", .number(shown.state.storedBytes(of: point))),
                                ("frees", .number(freed[point.sequence] ?? 0)),
                                ("incomplete", .number(UInt64(point.notBackedUp.count))),
                                ("not_backed_up", PointTexts.refused(point)),
                                ("pinned", .bool(point.isPinned)),
                                ("verified", verified(checks[point.sequence])),
                                (
                                    "changed_tables",
                                    .array(
                                        tables.filter { point.changed.contains($0.id) }.map(changes)
                                    )
                                ),
                            ])
                    })
            ),
        ])
    }

    private static func verified(_ check: PointCheck?) -> JSONText {
        guard let check else { return .optional(nil) }
        return .object([
            ("time", .text(Instant(microseconds: check.time).floorToSecond.description)),
            ("level", .text(check.level.rawValue)), ("damage", .optional(check.damage)),
        ])
    }

    private static func changes(_ table: TableRecord) -> JSONText {
        .object([
            ("path", .text(table.path)), ("inserted", .number(table.inserted)),
            ("updated", .number(table.updated)), ("deleted", .number(table.deleted)),
            ("whole", .bool(table.isReset)), ("renumbered", .bool(table.isRenumbered)),
        ])
    }
}
