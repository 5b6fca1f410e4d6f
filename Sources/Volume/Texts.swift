import Bytes
import Engine
import Repository
import Tables

/// The texts of virtual files.
extension Volume {
    private static let textSeconds: Int64 = 1
    private static let keptTexts = 512

    /// The text of a virtual file: made now, or at most a second ago, so that `open` shows what
    /// `stat` has just measured.
    func text(_ node: Node) throws(Errno) -> [UInt8] {
        guard let inode = node.inode else { throw .overflow }
        let now = Instant.now
        if let kept = current({ $0.texts[inode] }), now < kept.expires { return kept.text }
        let generation = engine.generation
        let text = try make(node)
        current { state in
            // What changed while the text was made isn't in it.
            guard state.generation == generation else { return }
            if state.texts.count >= Self.keptTexts {
                state.texts = state.texts.filter { now < $0.value.expires }
                if state.texts.count >= Self.keptTexts { state.texts = [:] }
            }
            state.texts[inode] = (text, now + Period(seconds: Self.textSeconds))
        }
        return text
    }

    private func make(_ node: Node) throws(Errno) -> [UInt8] {
        switch node {
        case .rootFile(.readme): return [UInt8](readme.utf8)
        case .rootFile(.cacheTag):
            let tag =
                "Signature: 8a477f597d28d172789f06886806bc55\n"
                + "# A view of backups: backing it up again is of no use.\n"
            return [UInt8](tag.utf8)
        case .rootFile(.control): return [UInt8](controlText(nil).utf8)
        case .rootFile(.errors):
            return [UInt8](engine.errors.newest().map(\.lines).joined().utf8)
        case .operationFile(let id, let file):
            guard let operation = engine.operation(id) else { throw .noEntry }
            return [UInt8](text(operation, file).utf8)
        case .collectionFile(let number, let file):
            return try text(try shown(number), file)
        case .tableFile(.sql, let number, let sequence, let table):
            return [UInt8](try self.table(number, sequence, table).1.sql.utf8)
        case .manifest(let number, let sequence):
            return try manifest(number, sequence)
        default: throw .isDirectory
        }
    }

    // MARK: The root

    private var readme: String {
        """
        Backup collections of \(source), stored in \(engine.location).

        control                 write statements here; reading it shows the last refusal and usage
        errors                  what was refused or failed, newest last
        operations/ID/          state, progress and error of each backup; `cat wait` blocks until it ends
        COLLECTION/control      the same with the collection's name implied: full, incremental
        COLLECTION/latest/      the newest backup point: a folder of whole tables, TABLE.csv and TABLE.parquet
        COLLECTION/chain        all points, a line each

            echo 'CREATE BACKUP COLLECTION shop ( TABLE orders ) WITH ( STORAGE = "cluster", \
        INCREMENTAL_BACKUP_ENABLED = "true" )' > control
            echo full > shop/control
            cat shop/operation/wait
            echo incremental > shop/control
            cp -rL shop/latest /tmp/copy

        Everything but control and cancel is read-only. Times are UTC.

        """
    }

    private func controlText(_ collection: String?) -> String {
        var text = ""
        if let last = engine.errors.newest(collection: collection).last {
            text += "Last refusal or failure:\n\(last.lines)\n"
        }
        let operations = engine.operations.filter {
            collection == nil || $0.collection == collection
        }
        for operation in operations.suffix(8).reversed() {
            let status = operation.status
            text += "\(operation.accepted) operation \(operation.id) \(operation.collection) "
            text += "\(operation.kind): \(status.summary)\n"
            for note in status.notes { text += "    \(oneLine(note))\n" }
            for line in status.leftOutLines { text += "    left out \(line)\n" }
        }
        if !text.isEmpty { text += "\n" }
        let changes =
            "SET (KEY = VALUE) | RESET (KEY) | ADD TABLE path | DROP TABLE path\n    "
            + "| DROP BACKUP 'point' | UNDROP BACKUP 'point' | PIN BACKUP 'point' | UNPIN BACKUP 'point'\n"
        let scoped =
            "full\nincremental\nBACKUP [INCREMENTAL] [WITH (uid = 'TOKEN')]\n"
            + "RESTORE [AT 'point or time'] [( TABLE path [AS path], … )] [WITH (strict = true)]\n"
            + "VERIFY [AT 'point'] [WITH (level = …)]\nCOMPACT\nPRUNE [WITH (dry_run = true)]\n"
            + "ALTER BACKUP COLLECTION \(changes)"
        let general =
            "CREATE BACKUP COLLECTION name ( TABLE path, ... ) | DATABASE WITH "
            + "( STORAGE = 'cluster' [, INCREMENTAL_BACKUP_ENABLED = 'true'] "
            + "[, OMIT_TABLES = 'a, b'] )\n"
            + "ALTER BACKUP COLLECTION name \(changes)"
            + "DROP BACKUP COLLECTION name\n"
            + "BACKUP name [INCREMENTAL] [WITH (uid = 'TOKEN')]\n"
            + "RESTORE name [AT 'point or time'] [( TABLE path [AS path], ... )] [WITH (strict = true)]\n"
            + "VERIFY name [AT 'point'] [WITH (level = catalog | hashes | content | source)]\n"
            + "COMPACT name\n"
            + "PRUNE name [WITH (dry_run = true)]\n"
        return text + "Write one of these, ended by a newline or a semicolon:\n"
            + (collection == nil ? general : scoped)
    }

    // MARK: Operations

    private func text(_ operation: Operation, _ file: Node.OperationFile) -> String {
        let status = operation.status
        switch file {
        case .statement: return operation.statement + "\n"
        case .state: return status.stateWords + "\n"
        case .progress:
            var lines = ["accepted \(operation.accepted)", "rows \(status.rows)"]
            if let total = status.totalRows { lines.append("total_rows \(total)") }
            lines.append("bytes \(status.bytes)")
            if let figures = status.figures {
                lines.append("read \(figures.bytesRead)")
                lines.append("decoded \(figures.bytesDecoded)")
            }
            let now = Instant.now
            if let seconds = status.secondsLeft(at: now) {
                lines.append("seconds_left \(seconds)")
                lines.append("expected_end \(Instant(seconds: now.seconds + seconds))")
            }
            if let started = status.started { lines.append("started \(started)") }
            if let ended = status.ended { lines.append("ended \(ended)") }
            if let point = status.point { lines.append("point \(point)") }
            lines += status.notes.map { "note \(oneLine($0))" }
            lines += status.leftOut.map { "left_out \($0.record)" }
            return lines.joined(separator: "\n") + "\n"
        case .error: return status.error.map { $0 + "\n" } ?? ""
        case .wait: return ""
        case .cancel: return ""
        }
    }

    // MARK: Collections

    private func text(_ shown: Shown, _ file: Node.CollectionFile) throws(Errno) -> [UInt8] {
        switch file {
        case .control: return [UInt8](controlText(shown.name).utf8)
        case .status: return [UInt8](statusText(shown).utf8)
        case .sql: return [UInt8]((shown.state.definition?.sql ?? "").utf8)
        case .chain: return [UInt8](chainText(shown).utf8)
        case .chainJSON: return chainJSON(shown).document
        case .operation, .latest: throw .invalid
        }
    }

    private func statusText(_ shown: Shown) -> String {
        let state = shown.state
        var lines = ["collection \(shown.name)", "points \(state.points.count)"]
        if let newest = state.newest {
            lines.append("newest \(newest.name)")
            lines.append("cut \(Instant(microseconds: newest.cut))")
            if !newest.notBackedUp.isEmpty {
                lines.append("incomplete \(newest.notBackedUp.count)")
            }
            lines += newest.notBackedUp.map { "not backed up \($0.line)" }
        }
        lines.append("stored_bytes \(state.storedBytes)")
        lines += state.droppedPoints.map { "dropped \($0.name)" }
        lines += state.definition.flatMap(Schedule.init).map { scheduleLines($0, state) } ?? []
        if let look = engine.repository?.look(of: state) {
            lines.append("looked \(Instant(microseconds: look.time)) and found nothing changed")
        }
        if let operation = engine.newestOperation(of: shown.name) {
            lines.append(
                "operation \(operation.name) \(operation.kind) \(operation.status.summary)")
            lines += operation.status.notes.map { "note \(oneLine($0))" }
            lines += operation.status.leftOutLines.map { "left out \($0)" }
        }
        if let error = engine.errors.newest(collection: shown.name).last {
            lines.append("last_error \(error.time) \(error.message)")
        }
        if let moved = engine.repository?.displacement {
            lines.append("repository \(moved.message)")
        }
        if let damage = state.damage { lines.append("damage \(damage.message)") }
        lines += state.lostPoints.map { "lost \($0.name) \(oneLine($0.reason))" }
        if let damage = state.catalogDamage { lines.append("catalog \(damage.message)") }
        let checks = engine.repository?.checks(of: state) ?? [:]
        let live = state.points.compactMap { point in checks[point.sequence].map { (point, $0) } }
        if let (point, check) = live.last {
            lines.append(
                "verified \(live.count) of \(state.points.count) points, last "
                    + "\(point.name) \(check.text)")
        }
        if let round = engine.repository?.readingRound(of: state) {
            let all = round.completed.map { "\(Instant(microseconds: $0).floorToSecond)" } ?? "-"
            lines.append("all_files_read \(all)")
        }
        let damaged = Dictionary(grouping: live.filter { $1.damage != nil }) { $1.damage! }
        for (damage, points) in damaged.sorted(by: { $0.key < $1.key }) {
            lines.append("damaged \(points.count) points, last \(points.last!.0.name): \(damage)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func scheduleLines(_ schedule: Schedule, _ state: CollectionState) -> [String] {
        let now = Instant.now
        var lines: [String] = []
        if let period = schedule.full {
            lines.append("full_every \(period) next \(schedule.next(period, after: now))")
        }
        if let period = schedule.incremental {
            lines.append("incremental_every \(period) next \(schedule.next(period, after: now))")
        }
        if let last = Schedule.newest(state.points) {
            lines.append("last_scheduled \(last.point.name) due \(last.due)")
        }
        return lines
    }

    /// A line for each point, columns aligned.
    private func chainText(_ shown: Shown) -> String {
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

    private func chainJSON(_ shown: Shown) -> JSONText {
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
                            head(shown, point) + [
                                ("rows", .number(tables.map(\.rows).total)),
                                ("stored_bytes", .number(shown.state.storedBytes(of: point))),
                                ("frees", .number(freed[point.sequence] ?? 0)),
                                ("incomplete", .number(UInt64(point.notBackedUp.count))),
                                ("not_backed_up", refused(point)),
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

    private func verified(_ check: PointCheck?) -> JSONText {
        guard let check else { return .optional(nil) }
        return .object([
            ("time", .text(Instant(microseconds: check.time).floorToSecond.description)),
            ("level", .text(check.level.rawValue)), ("damage", .optional(check.damage)),
        ])
    }

    private func head(_ shown: Shown, _ point: BackupPoint) -> [(String, JSONText)] {
        [
            ("point", .text(point.name)), ("kind", .text(point.kind.rawValue)),
            ("parent", .optional(point.parentName)),
            ("cut", .text(Instant(microseconds: point.cut).description)),
            ("operation", .number(point.operation)), ("uid", .optional(point.uid)),
        ]
    }

    private func changes(_ table: TableRecord) -> JSONText {
        .object([
            ("path", .text(table.path)), ("inserted", .number(table.inserted)),
            ("updated", .number(table.updated)), ("deleted", .number(table.deleted)),
            ("whole", .bool(table.isReset)), ("renumbered", .bool(table.isRenumbered)),
        ])
    }

    /// `backup.json`: what the point is, and which file is which table. Never changes.
    private func manifest(_ number: UInt64, _ sequence: UInt64) throws(Errno) -> [UInt8] {
        let (shown, point) = try point(number, sequence)
        let paths = try listing(shown, sequence).paths
        let tables = shown.state.tables(at: sequence).map { table -> JSONText in
            var members: [(String, JSONText)] = [
                ("path", .text(table.path)), ("csv", .optional(paths[table.id]?[.csv])),
                ("parquet", .optional(paths[table.id]?[.parquet])),
                ("sql", .optional(paths[table.id]?[.sql])), ("rows", .number(table.rows)),
                ("csv_bytes", table.sizes["csv"].map { .number($0) } ?? .null),
                ("parquet_bytes", table.sizes["parquet"].map { .number($0) } ?? .null),
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
            [("collection", .text(shown.name))] + head(shown, point)
                + [("tables", .array(tables)), ("not_backed_up", refused(point))] + others
        ).document
    }

    private func refused(_ point: BackupPoint) -> JSONText {
        .array(
            point.notBackedUp.map { table in
                .object([("path", .text(table.path)), ("reason", .text(table.reason))])
            })
    }

    private func column(_ column: Column) -> JSONText {
        .object(
            [("name", .text(column.name)), ("type", .text(column.type.name))]
                + (column.isLiteral ? [("literal", .bool(true))] : []))
    }
}
