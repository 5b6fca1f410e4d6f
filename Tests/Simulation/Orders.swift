import Bytes
import CSQLite
import TestSupport

/// A table of orders in a database file, changed and read by SQLite's own means.
final class Orders {
    private var handle: OpaquePointer?
    private var random = SeededGenerator(seed: 2026)
    private var ids: [Int]
    private var nextID: Int

    init(path: String, rows: Int) throws {
        ids = Array(1...rows)
        nextID = rows + 1
        guard sqlite3_open(path, &handle) == SQLITE_OK else {
            throw Failure(.system, "can't make the database \(path)")
        }
        try run(
            """
            PRAGMA journal_mode = wal; PRAGMA synchronous = off;
            CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER, note TEXT)
            """)
        try run("BEGIN")
        for id in ids { try insert(id) }
        try run("COMMIT")
    }

    deinit { sqlite3_close(handle) }

    private func run(_ sql: String) throws {
        guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else {
            throw Failure(.system, "\(sql): \(String(cString: sqlite3_errmsg(handle)))")
        }
    }

    private func insert(_ id: Int) throws {
        let note = String(random.next(), radix: 36)
        try run(
            """
            INSERT INTO orders VALUES (\(id), 'customer \(random.below(997))', \(random.below(100_000)),
              '\(note)')
            """)
    }

    /// Inserts and deletes `count` rows each and changes thrice as many: half of these among the
    /// newest twentieth, as orders do, the others anywhere.
    func change(_ count: Int) throws {
        try run("BEGIN")
        for index in 0..<3 * count {
            let oldest = index.isMultiple(of: 2) ? ids.count * 19 / 20 : 0
            let id = ids[oldest + random.below(ids.count - oldest)]
            try run("UPDATE orders SET amount = \(random.below(100_000)) WHERE id = \(id)")
        }
        for _ in 0..<count {
            let gone = ids.remove(at: random.below(ids.count))
            try run("DELETE FROM orders WHERE id = \(gone)")
            try insert(nextID)
            ids.append(nextID)
            nextID += 1
        }
        try run("COMMIT")
    }

    func drop(_ name: String) throws { try run("DROP TABLE \(name)") }

    /// The table, or one restored from it, as CSV: no value of it needs quotes.
    func csv(of name: String = "orders") throws -> ByteBuffer {
        let output = ByteBuffer(capacity: 1 << 16)
        output.append("id,customer,amount,note\n")
        var statement: OpaquePointer?
        let sql = """
            SELECT id || ',' || customer || ',' || amount || ',' || note || char(10)
            FROM \(name) ORDER BY id
            """
        guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else {
            throw Failure(.system, String(cString: sqlite3_errmsg(handle)))
        }
        defer { sqlite3_finalize(statement) }
        while sqlite3_step(statement) == SQLITE_ROW {
            output.append(String(cString: sqlite3_column_text(statement, 0)))
        }
        return output
    }
}
