import Bytes
import Tables

/// A table at one of the two points that a script leads from and to.
package struct ScriptTable: Sendable {
    package let path: String
    package let schema: TableSchema
    /// The text of the table, its indexes and triggers.
    package let sql: String
    package let sequence: Int64?
    package let shadowOf: String?

    package init(
        path: String, schema: TableSchema, sql: String, sequence: Int64?, shadowOf: String?
    ) {
        self.path = path
        self.schema = schema
        self.sql = sql
        self.sequence = sequence
        self.shadowOf = shadowOf
    }
}

/// What a point has, as far as a script is to change it.
package struct ScriptPoint: Sendable {
    package let name: String
    package let tables: [ScriptTable]
    /// The text of what stands on no single table.
    package let views: String
    package let facts: DatabaseFacts?

    package init(name: String, tables: [ScriptTable], views: String, facts: DatabaseFacts?) {
        self.name = name
        self.tables = tables
        self.views = views
        self.facts = facts
    }
}

/// SQL that turns a database as one point has it into what another point has, in one transaction.
///
/// A table whose definition is another one is made anew. In the others rows are deleted first, then
/// updated and inserted, so that no key is in the way of another; no trigger sees it, because triggers
/// are dropped before and made again at the end. Virtual tables can't be changed so: what isn't done is
/// told.
package final class ChangeScript {
    /// How to get at the rows.
    package struct Rows {
        /// Whether a table of both points has the same rows in both.
        package let areSame: (ScriptTable, ScriptTable) -> Bool
        package let changes: (ScriptTable?, ScriptTable) throws -> SnapshotDiff

        package init(
            areSame: @escaping (ScriptTable, ScriptTable) -> Bool,
            changes: @escaping (ScriptTable?, ScriptTable) throws -> SnapshotDiff
        ) {
            self.areSame = areSame
            self.changes = changes
        }
    }

    private struct Entry {
        let table: ScriptTable
        let objects: [ObjectText]

        init(_ table: ScriptTable) throws {
            self.table = table
            objects = try ObjectText.all(in: table.sql)
        }

        /// The table's own statement.
        var definition: ObjectText? { objects.first { $0.kind == .table } }
    }

    /// A line for each thing that the script doesn't do.
    package private(set) var omissions: [String] = []
    private let rows: Rows
    private let write: (ByteBuffer) throws -> Void
    private let output = ByteBuffer(capacity: 1 << 16)

    package init(_ rows: Rows, write: @escaping (ByteBuffer) throws -> Void) {
        self.rows = rows
        self.write = write
    }

    package func run(from old: ScriptPoint, to new: ScriptPoint) throws {
        output.append("-- Turns what \(old.name) has into what \(new.name) has.\n")
        output.append("PRAGMA foreign_keys = OFF;\nPRAGMA ignore_check_constraints = ON;\n")
        output.append("BEGIN IMMEDIATE;\n")
        try tables(from: old, to: new)
        if let facts = new.facts, let before = old.facts, facts != before {
            output.append("PRAGMA user_version = \(facts.userVersion);\n")
            output.append("PRAGMA application_id = \(facts.applicationID);\n")
        }
        output.append("COMMIT;\n")
        try flush()
    }

    private func flush() throws {
        try write(output)
        output.removeAll()
    }

    private func tables(from old: ScriptPoint, to new: ScriptPoint) throws {
        let skipped = try virtualTables(from: old, to: new)
        func entries(_ point: ScriptPoint) throws -> [Entry] {
            try point.tables.filter { table in
                !folded(table.path).starts(with: "sqlite_".utf8)
                    && !(table.shadowOf.map { skipped.contains(folded($0)) } ?? false)
            }.map(Entry.init)
        }
        let (olds, news) = (try entries(old), try entries(new))
        var kept: [(old: Entry, new: Entry)] = []
        var made: [Entry] = []
        for entry in news {
            let before = olds.first { $0.table.path.hasSameBytes(as: entry.table.path) }
            if let before, Self.isSameTable(before, entry) {
                kept.append((before, entry))
            } else {
                made.append(entry)
            }
        }
        let changed = kept.filter { !rows.areSame($0.old.table, $0.new.table) }
        let (gone, views) = try dropped(old, new, olds, kept, changed)
        for statement in gone { output.append(statement + ";\n") }
        for pair in changed { try changeRows(pair) }
        for entry in made { try make(entry) }
        try makeRest(kept, made, changed, views)
    }

    /// Says which virtual tables are others, and answers their names.
    private func virtualTables(
        from old: ScriptPoint, to new: ScriptPoint
    ) throws -> Set<[UInt8]> {
        let sides = try [old, new].map { point in
            try ObjectText.all(in: point.views).filter { $0.kind == .virtualTable }
        }
        var names = Set<[UInt8]>()
        for (side, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
            for object in side
            where !other.contains(where: { $0.sql.hasSameBytes(as: object.sql) }) {
                if names.insert(folded(object.name)).inserted {
                    omissions.append(
                        "virtual table \(object.name) is another one: it isn't changed")
                }
            }
        }
        return names
    }

    /// Whether rows can be changed where they are.
    private static func isSameTable(_ old: Entry, _ new: Entry) -> Bool {
        guard let before = old.definition, let after = new.definition,
            before.sql.hasSameBytes(as: after.sql)
        else { return false }
        let columns = [old, new].map { $0.table.schema.columns.map(\.id) }
        return columns[0] == columns[1] && old.table.schema.key == new.table.schema.key
    }

    // MARK: Definitions

    /// Statements that drop what is in the way, and the views of the new point that are to be made.
    private func dropped(
        _ old: ScriptPoint, _ new: ScriptPoint, _ olds: [Entry],
        _ kept: [(old: Entry, new: Entry)], _ changed: [(old: Entry, new: Entry)]
    ) throws -> (drops: [String], views: [ObjectText]) {
        var drops: [String] = []
        func has(_ objects: [ObjectText], _ object: ObjectText) -> Bool {
            objects.contains { $0.kind == object.kind && $0.sql.hasSameBytes(as: object.sql) }
        }
        let before = try ObjectText.all(in: old.views).filter { $0.kind != .virtualTable }
        let after = try ObjectText.all(in: new.views).filter { $0.kind != .virtualTable }
        if old.views.hasSameBytes(as: new.views) {
            // Nothing to do.
        } else {
            // Triggers of views go with them.
            drops += before.filter { $0.kind == .view }.map { "DROP VIEW \(quoted($0.name))" }
        }
        for pair in kept {
            let isChanged = changed.contains {
                $0.new.table.path.hasSameBytes(as: pair.new.table.path)
            }
            for object in pair.old.objects {
                switch object.kind {
                case .trigger where isChanged || !has(pair.new.objects, object):
                    drops.append("DROP TRIGGER \(quoted(object.name))")
                case .index where !has(pair.new.objects, object):
                    drops.append("DROP INDEX \(quoted(object.name))")
                default: break
                }
            }
        }
        for entry in olds
        where !kept.contains(where: { $0.old.table.path.hasSameBytes(as: entry.table.path) }) {
            drops.append("DROP TABLE \(quoted(entry.table.path))")
        }
        return (drops, old.views.hasSameBytes(as: new.views) ? [] : after)
    }

    /// Indexes, counters, triggers and views, once all rows are there.
    private func makeRest(
        _ kept: [(old: Entry, new: Entry)], _ made: [Entry],
        _ changed: [(old: Entry, new: Entry)], _ views: [ObjectText]
    ) throws {
        for kind in [ObjectText.Kind.index, .trigger] {
            for entry in made {
                for object in entry.objects where object.kind == kind { append(object) }
            }
            for pair in kept {
                let isChanged = changed.contains {
                    $0.new.table.path.hasSameBytes(as: pair.new.table.path)
                }
                for object in pair.new.objects where object.kind == kind {
                    let wasThere = pair.old.objects.contains {
                        $0.kind == kind && $0.sql.hasSameBytes(as: object.sql)
                    }
                    if !wasThere || kind == .trigger && isChanged { append(object) }
                }
            }
        }
        for view in views { append(view) }
        for table in kept.map(\.new.table) + made.map(\.table) {
            guard let sequence = table.sequence else { continue }
            var name = table.path
            let literal = ByteBuffer()
            name.withUTF8 { ValueLiteral.append(text: UnsafeRawBufferPointer($0), to: literal) }
            let text = String(decoding: literal.array, as: UTF8.self)
            output.append("DELETE FROM sqlite_sequence WHERE name = \(text);\n")
            output.append("INSERT INTO sqlite_sequence VALUES (\(text), \(sequence));\n")
        }
        try flush()
    }

    private func append(_ object: ObjectText) {
        output.append(StatementList.ended(object.sql))
    }

    // MARK: Rows

    private func make(_ entry: Entry) throws {
        guard let definition = entry.definition else {
            omissions.append("table \(entry.table.path) has no text: it isn't made")
            return
        }
        append(definition)
        let diff = try rows.changes(nil, entry.table)
        let writer = try RowStatements(entry.table, definition, places: diff.newColumns)
        while let changed = try diff.next() {
            for row in 0..<changed.rows.count { writer.insert(changed.rows, row, output) }
            try flush()
        }
    }

    private func changeRows(_ pair: (old: Entry, new: Entry)) throws {
        guard let before = pair.old.definition, let definition = pair.new.definition else { return }
        let hasUnique =
            try TableText(definition).hasUnique
            || pair.old.objects.contains { $0.kind == .index && $0.tokens.isWord(1, "UNIQUE") }
        for isDeleting in [true, false] {
            let diff = try rows.changes(pair.old.table, pair.new.table)
            let old = try RowStatements(pair.old.table, before, places: diff.oldColumns)
            let new = try RowStatements(pair.new.table, definition, places: diff.newColumns)
            // A row that can't be updated where it is is deleted, and inserted later.
            func isUpdate(_ changed: ChangedRows, _ row: Int) -> Bool {
                !hasUnique && new.haveSameKey(as: old, changed.rows, row, row + 1)
            }
            while let changed = try diff.next() {
                for (row, type) in changed.types.enumerated() {
                    switch type {
                    case .delete where isDeleting: old.delete(changed.rows, row, output)
                    case .before where isDeleting && !isUpdate(changed, row):
                        old.delete(changed.rows, row, output)
                    case .insert where !isDeleting: new.insert(changed.rows, row, output)
                    case .after where !isDeleting:
                        if isUpdate(changed, row - 1) {
                            new.update(changed.rows, from: row - 1, of: old, to: row, output)
                        } else {
                            new.insert(changed.rows, row, output)
                        }
                    default: break
                    }
                }
                try flush()
            }
        }
    }
}

/// The statements that change single rows of one version of a table.
private struct RowStatements {
    private let table: String
    /// Columns by their indices in the version's schema.
    private let key: [Int]
    /// Columns that hold what is written into them, with their names in SQL.
    private let columns: [(index: Int, name: String)]
    private let names: [Int: String]
    private let literals: [ValueLiteral]
    /// Where each column is in the rows that come: a column of another type is another one.
    private let places: [Int]
    private let insertion: String

    init(_ table: ScriptTable, _ definition: ObjectText, places: [Int]) throws {
        self.places = places
        let text = try TableText(definition)
        let computed = text.columns.filter { $0.generated != nil }.map { folded($0.name) }
        let taken = text.columns.map { folded($0.name) }
        let rowID = ["rowid", "_rowid_", "oid"].first { !taken.contains(folded($0)) }
        let schema = table.schema
        self.table = quoted(table.path)
        key = schema.key
        literals = try schema.columns.map { try ValueLiteral($0) }
        var names: [Int: String] = [:]
        for (index, column) in schema.columns.enumerated() {
            names[index] = column.isHidden ? rowID : quoted(column.name)
        }
        self.names = names
        columns = schema.columns.indices.filter { index in
            !computed.contains(folded(schema.columns[index].name)) || schema.columns[index].isHidden
        }.map { ($0, names[$0] ?? "") }
        insertion =
            "INSERT INTO \(self.table) (\(columns.map(\.name).joined(separator: ", "))) VALUES ("
    }

    /// Whether a row of another version and one of this one have the same key.
    func haveSameKey(as old: RowStatements, _ rows: RowBatch, _ a: Int, _ b: Int) -> Bool {
        key == old.key
            && key.allSatisfy {
                places[$0] == old.places[$0]
                    && ColumnVector.identical(
                        rows.columns[places[$0]], a, rows.columns[places[$0]], b)
            }
    }

    private func append(_ index: Int, of rows: RowBatch, _ row: Int, to output: ByteBuffer) {
        literals[index].append(rows.columns[places[index]], row, to: output)
    }

    func insert(_ rows: RowBatch, _ row: Int, _ output: ByteBuffer) {
        output.append(insertion)
        for (number, column) in columns.enumerated() {
            if number > 0 { output.append(", ") }
            append(column.index, of: rows, row, to: output)
        }
        output.append(");\n")
    }

    func delete(_ rows: RowBatch, _ row: Int, _ output: ByteBuffer) {
        output.append("DELETE FROM \(table)")
        appendKey(rows, row, output)
    }

    /// Sets the columns that differ, if some do that can be set.
    func update(
        _ rows: RowBatch, from old: Int, of version: RowStatements, to new: Int,
        _ output: ByteBuffer
    ) {
        let differing = columns.filter {
            let column = rows.columns[places[$0.index]]
            return places[$0.index] != version.places[$0.index]
                || !ColumnVector.identical(column, old, column, new)
        }
        if differing.isEmpty { return }
        output.append("UPDATE \(table) SET ")
        for (number, column) in differing.enumerated() {
            output.append((number > 0 ? ", " : "") + column.name + " = ")
            append(column.index, of: rows, new, to: output)
        }
        appendKey(rows, new, output)
    }

    private func appendKey(_ rows: RowBatch, _ row: Int, _ output: ByteBuffer) {
        for (number, index) in key.enumerated() {
            output.append((number == 0 ? " WHERE " : " AND ") + names[index]! + " IS ")
            append(index, of: rows, row, to: output)
        }
        output.append(";\n")
    }
}
