import Bytes
import Tables

/// What a cut knows of its tables by their pages: how many rows there are, which are the parent's, and
/// what the next cut will want to know.
///
/// Of a table is told what its *fingerprint* stands for: its name, its text, how its rows become ours,
/// and how its database is cut and encoded. With another fingerprint nothing of it is known.
final class PageCapture {
    private let connection: Connection
    private let pass: PagePass
    private let known: KeptKnowledge?
    /// SQLite's number: 1 = UTF-8.
    private let encoding: CInt
    private let objects: [String: Object]
    /// The tables that were read in this cut, and how.
    private var used: [String: (schema: TableSchema, isRowID: Bool)] = [:]

    private struct Object {
        var root: UInt32
        var sql: String
    }

    /// - Parameter connection: what the cut reads from, which sees what the pass saw.
    init(_ connection: Connection, _ pass: PagePass, known: KeptKnowledge?, encoding: CInt) throws {
        self.connection = connection
        self.pass = pass
        self.known = known
        self.encoding = encoding
        let rows = try connection.rows(
            "SELECT name, rootpage, sql FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0"
        ) { ($0.text(0), Object(root: UInt32(clamping: $0.integer(1)), sql: $0.text(2))) }
        objects = Dictionary(rows) { first, _ in first }
    }

    /// Whether there is anything to compare with.
    var knowsParent: Bool { known != nil }

    /// That a table is read with this schema, in the order of its own b-tree; nil: in another order.
    func use(_ schema: TableSchema?, of table: String, isRowID: Bool) {
        used[table] = schema.map { ($0, isRowID) }
    }

    /// Rows of a rowid table, by its pages; nil if they don't tell.
    func countRows(_ table: String) -> UInt64? {
        guard let object = objects[table],
            var walk = try? BlockWalk(pass, TableTree(root: object.root, kind: .rowID))
        else { return nil }
        return try? walk.countAll()
    }

    /// About how many rows will have to be read to find what changed since the parent; nil if that is
    /// all of one table at least.
    func rowsToRead(_ tables: [TableDefinition]) -> UInt64? {
        var sum: UInt64 = 0
        for table in tables {
            guard !table.isWithoutRowID, let known, let kept = known.table(table.name),
                let object = objects[table.name],
                let walk = try? BlockWalk(pass, TableTree(root: object.root, kind: .rowID)),
                let match = try? BlockMatch(known.blocks(of: kept), walk, rules: pass.rules)
            else { return nil }
            sum += match.changedRows
        }
        return sum
    }

    /// Where a table that is used may differ from what the parent has, with its rows there.
    func changes(
        _ table: String, schema: TableSchema, isRowID: Bool, parentRows: UInt64,
        rows: (_ ranges: KeyRanges, _ expected: UInt64?) throws -> any RowCursor
    ) throws -> Changes {
        guard let known, let kept = known.table(table) else {
            return .whole(reason: "\(table): nothing was kept of it", isDoubt: false)
        }
        let match: BlockMatch
        do {
            let tree = try tree(table, schema, isRowID)
            guard
                try kept.fingerprint == fingerprint(table, schema, tree)
                    || !pass.rules.tellsTablesApart
            else {
                return .whole(reason: "\(table): its definition was changed", isDoubt: false)
            }
            guard kept.rows == parentRows else {
                throw OddPages("what was kept of it tells of another number of rows")
            }
            match = try BlockMatch(
                known.blocks(of: kept), BlockWalk(pass, tree), rules: pass.rules)
        } catch let odd as OddPages {
            return .whole(reason: "\(table): \(odd.reason)", isDoubt: true)
        } catch let failure as Failure where failure.code == .corrupt {
            return .whole(reason: "\(table): \(failure.message)", isDoubt: true)
        }
        let expected = pass.rules.countsRows ? match.changedRows : nil
        return .ranges(
            match.ranges, rows: try rows(match.ranges, expected), unchangedRows: match.unchangedRows
        )
    }

    /// Writes what the next cut is to know of the tables that were used.
    func write(to sink: any ByteSink) throws {
        var writer = try KnowledgeWriter(to: sink, hash: pass.hash, rules: pass.rules)
        for (table, use) in used.sorted(by: { $0.key < $1.key }) {
            guard let tree = try? tree(table, use.schema, use.isRowID) else { continue }
            try writer.add(path: table, fingerprint: fingerprint(table, use.schema, tree)) {
                try BlockWalk(pass, tree)
            }
        }
        try writer.finish()
    }

    private func tree(
        _ table: String, _ schema: TableSchema, _ isRowID: Bool
    ) throws -> TableTree {
        guard let object = objects[table] else { throw OddPages("it has no pages") }
        return TableTree(
            root: object.root,
            kind: isRowID ? .rowID : .key(schema.key.map { schema.columns[$0].type }))
    }

    private func fingerprint(
        _ table: String, _ schema: TableSchema, _ tree: TableTree
    ) throws -> UInt128 {
        let text = ByteBuffer()
        func add(_ part: String) {
            text.append(fixed: UInt64(part.utf8.count))
            text.append(part)
        }
        add(table)
        add(objects[table]?.sql ?? "")
        for column in schema.columns {
            add(column.name)
            add(column.type.name)
            text.append(fixed: column.id)
            text.append(byte: (column.isLiteral ? 1 : 0) + (column.isHidden ? 2 : 0))
        }
        for list in [schema.key, schema.primaryKey] {
            text.append(fixed: UInt64(list.count))
            for index in list { text.append(fixed: UInt64(index)) }
        }
        if case .rowID = tree.kind { add("rowid") } else { add("key") }
        for number in [
            UInt64(pass.shape.pageSize), UInt64(pass.shape.usableBytes), UInt64(encoding),
            UInt64(pass.schemaFormat),
        ] {
            text.append(fixed: number)
        }
        return pass.hash(text)
    }
}
