import Bytes
import Foundation
import SQLiteSource
import Tables
import Testing

/// What the engine does with a backup and a restore, in small: every table of a database goes through
/// batches of rows into another one.
struct RoundTrip {
    var notes: [String] = []
    var leftOut: [String: String] = [:]

    /// - Parameters:
    ///   - target: made if it isn't there.
    ///   - renames: tables to restore, and their new names; nil: everything.
    ///   - damage: is called with each table before it is restored.
    init(
        _ source: String, into target: String, renames: [String: String]? = nil,
        isStrict: Bool = false, damage: (inout RestoredTable) -> Void = { _ in }
    ) throws {
        let cut = try SQLiteSource(path: source, busyTimeout: 5).openCut(CutRequest())
        defer { cut.close() }
        var loaded: [(Contents, [RowBatch])] = []
        var tables: [RestoredTable] = []
        for table in try cut.listTables() {
            if let refusal = table.refusal {
                leftOut[table.path] = refusal
                continue
            }
            if let renames, renames[table.path] == nil { continue }
            let (description, contents, batches) = try Self.read(table.path, cut)
            var restored = RestoredTable(
                path: table.path, target: renames?[table.path] ?? table.path,
                schema: description.schema, sql: description.sql, sequence: description.sequence,
                shadowOf: description.shadowOf)
            damage(&restored)
            tables.append(restored)
            loaded.append((contents, batches))
        }
        let restored = RestoredDatabase(
            tables: tables, views: cut.views, isWhole: renames == nil, facts: try cut.facts)
        let destination = SQLiteDestination(path: target, busyTimeout: 5, mayCreate: true)
        let obstacles = try destination.obstacles(to: restored)
        if !obstacles.isEmpty { throw Failure(.exists, obstacles.joined(separator: "; ")) }
        let restore = try destination.openRestore(
            restored,
            attempt: RestoreAttempt(id: "test", isStrict: isStrict, isCancelled: { false }))
        do {
            try fill(restore, restored, loaded)
        } catch {
            restore.abandon()
            throw error
        }
    }

    private mutating func fill(
        _ restore: any TableRestore, _ restored: RestoredDatabase,
        _ loaded: [(Contents, [RowBatch])]
    ) throws {
        let numbers = restored.tables.indices.filter(restore.isRestored)
        var failed: Set<Int> = []
        func perform(_ number: Int, _ body: () throws -> Void) {
            do {
                try body()
            } catch {
                failed.insert(number)
                leftOut[restored.tables[number].path] = (error as? Failure)?.message ?? "\(error)"
                restore.leaveOut(number, because: "\(error)")
            }
        }
        for number in numbers {
            perform(number) {
                try restore.begin(number)
                for batch in loaded[number].1 { try restore.append(batch) }
            }
        }
        for number in numbers where !failed.contains(number) {
            perform(number) {
                let found = try Contents(
                    restored.tables[number].schema, restore.inspect(number))
                guard found.rows.count == loaded[number].0.rows.count,
                    Set(found.rows) == Set(loaded[number].0.rows)
                else { throw Failure(.corrupt, "the rows are others") }
            }
        }
        let published = try restore.publish()
        notes = published.notes
        for (path, reason) in published.leftOut { leftOut[path] = reason }
    }

    private static func read(
        _ path: String, _ cut: any SourceCut
    ) throws -> (TableDescription, Contents, [RowBatch]) {
        func read(exactly: Bool) throws -> (TableDescription, Contents, [RowBatch]) {
            let description = try cut.describe(
                path, parent: nil, nextColumnID: 1, exactly: exactly)
            let cursor = try cut.scan(path, schema: description.schema, checkpoint: {})
            var batches: [RowBatch] = []
            while true {
                let batch = RowBatch(description.schema)
                if try !cursor.next(into: batch, maxRows: 100, maxBytes: 1 << 20) { break }
                batches.append(batch)
            }
            let rows = batches.flatMap { $0.rows(description.schema) }
            return (
                description, Contents(schema: description.schema, rows: rows, keys: []), batches
            )
        }
        do {
            return try read(exactly: false)
        } catch is Misfit {
            return try read(exactly: true)
        }
    }
}

/// Everything in a database as Python's SQLite sees it, a line each: definitions to the byte, rows with
/// their rowids, every value with its storage class and bits, and the numbers in the header.
let dumpProgram = #"""
    import sqlite3, sys
    db = sqlite3.connect(sys.argv[1])
    db.text_factory = bytes
    db.create_function('regexp', 2, lambda p, s: True, deterministic=True)
    db.create_function('fold', 1, lambda s: s if s is None else s.lower(), deterministic=True)
    db.create_collation('unicase', lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
    wide = len(sys.argv) > 2
    def quoted(name): return b'"' + name.replace(b'"', b'""') + b'"'
    def run(sql): return db.execute(sql.decode('utf-8', 'surrogateescape') if isinstance(sql, bytes) else sql).fetchall()
    schema = run("SELECT type, name, tbl_name, CAST(sql AS BLOB), rootpage FROM sqlite_schema WHERE substr(name, 1, 7) <> '_ydbfs_' ORDER BY type, name")
    tables = [r[1] for r in schema if r[0] == b'table' and r[4]]
    for r in schema: print('schema', *[repr(v) for v in r[:4]])
    for pragma in ('user_version', 'application_id', 'encoding', 'page_size', 'auto_vacuum'):
        if not wide: print(pragma, run('PRAGMA ' + pragma))
    for t in tables:
        info = run(b'PRAGMA table_xinfo(' + quoted(t) + b')')
        columns = [r[1] for r in info]
        taken = {c.lower() for c in columns}
        names = [n for n in (b'rowid', b'_rowid_', b'oid') if n not in taken]
        without = run(b'SELECT wr FROM pragma_table_list(' + quoted(t) + b") WHERE schema = 'main'")[0][0]
        parts = [n for n in names[:1] if not without and t != b'sqlite_sequence']
        for c in columns:
            q = quoted(c)
            parts += [b'typeof(' + q + b')', q, b'CAST(' + q + b' AS BLOB)']
        def shown(row):
            out = []
            if len(row) % 3: out.append(row[0]); row = row[1:]
            for k in range(0, len(row), 3):
                kind, value, bits = row[k:k + 3]
                out.append((kind, value.hex() if isinstance(value, float) else value, bits if kind == b'text' and not wide else None))
            return repr(out)
        for line in sorted(shown(r) for r in run(b'SELECT ' + b', '.join(parts) + b' FROM ' + quoted(t) + b' NOT INDEXED')):
            print('row', repr(t), line)
    """#

extension Workbench {
    /// - Parameter anyEncoding: leaves out what depends on the database's encoding, and its header.
    func dump(_ name: String, anyEncoding: Bool = false) throws -> [String] {
        let text = try run(
            pythonProgram, ["-", path(name)] + (anyEncoding ? ["x"] : []), input: dumpProgram)
        return text.split(separator: "\n").map(String.init)
    }

    /// SQLite's check of a database, with what the application has.
    func check(_ name: String) throws -> String {
        try python(
            """
            db = sqlite3.connect(P)
            db.create_function('regexp', 2, lambda p, s: True, deterministic=True)
            db.create_function('fold', 1, lambda s: s if s is None else s.lower(), deterministic=True)
            db.create_collation('unicase', lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
            print('; '.join(r[0] for r in db.execute('PRAGMA integrity_check')))
            """, on: name)
    }

    /// Restores a database into a new file and expects that one to be the same.
    @discardableResult
    func expectSame(
        _ name: String = "database.db", sound: Bool = true,
        at location: SourceLocation = #_sourceLocation
    ) throws -> RoundTrip {
        let new = "restored-" + name
        try? FileManager.default.removeItem(atPath: path(new))
        let trip = try RoundTrip(path(name), into: path(new))
        #expect(trip.leftOut == [:], sourceLocation: location)
        let (before, after) = (try dump(name), try dump(new))
        let isSame = before == after
        #expect(isSame, "\(Self.difference(before, after))", sourceLocation: location)
        if sound { #expect(try check(new) == "ok", sourceLocation: location) }
        #expect(files.allSatisfy { !$0.contains("ydbfs-restore") }, sourceLocation: location)
        return trip
    }

    static func difference(_ before: [String], _ after: [String]) -> String {
        let (old, new) = (Set(before), Set(after))
        let (gone, came) = (
            before.filter { !new.contains($0) }, after.filter { !old.contains($0) }
        )
        return "\(gone.count) gone: \(gone.prefix(3)), \(came.count) new: \(came.prefix(3))"
    }
}

/// A text as Python's source can have it, whatever it holds.
func pythonText(_ text: String) -> String {
    let digits = text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
    return "bytes.fromhex('\(digits.joined())').decode()"
}
