import Bytes
import Engine
import Foundation
import SQLiteSource
import Tables
import TestSupport
import Testing

/// A small shop's database and its collection, for tests that need *some* tables.
struct Shop {
    static let create = """
        CREATE BACKUP COLLECTION shop ( TABLE orders, TABLE `sub/products` )
        WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )

        """

    let scratch: Scratch
    var database: String { scratch / "database.db" }

    /// - Parameter rows: orders that there are from the start, with keys 1…
    init(rows: Int = 100, journal: String = "wal") throws {
        scratch = try Scratch()
        try sqlite(
            """
            PRAGMA journal_mode = \(journal);
            CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, amount REAL, note BLOB);
            CREATE TABLE "sub/products"(sku TEXT PRIMARY KEY NOT NULL, price INTEGER);
            CREATE INDEX by_customer ON orders(customer);
            INSERT INTO "sub/products" VALUES ('apple', 3), ('pear, green', 4), ('fig', NULL);
            """, on: database)
        try add(rows)
    }

    func run(_ sql: String) throws { try sqlite(sql, on: database) }

    /// Adds orders behind those that there are.
    func add(_ rows: Int) throws {
        try run(
            """
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(rows))
            INSERT INTO orders(customer, amount, note)
            SELECT 'customer ' || i % 97, i / 8.0, CAST(substr(hex(i * 7919), 1, i % 11) AS BLOB) FROM n
            WHERE \(rows) > 0;
            """)
    }

    /// Changes about one order in `part`, another set for each `salt`.
    func change(oneIn part: Int, salt: Int) throws {
        try run(
            """
            UPDATE orders SET amount = amount + \(salt), note = CAST('changed "\(salt)", again' AS BLOB)
            WHERE (id * 2654435761 + \(salt) * 40503) % \(part) = 0;
            DELETE FROM orders WHERE (id * 2654435761 + \(salt) * 40503) % \(part * 3) = 1;
            """)
    }

    /// Takes a full and so many incrementals, before each of which one order in `part` changes.
    func takeChain(_ tree: any Tree, incrementals: Int, oneIn part: Int) throws {
        _ = try tree.backup("full", of: "shop")
        for salt in 1...incrementals {
            try change(oneIn: part, salt: salt)
            _ = try tree.backup("incremental", of: "shop")
        }
    }

    /// The table's CSV as the sqlite3 shell and some `sed` see it: only for tables whose values
    /// need no quotes but where there is a comma.
    var products: [UInt8] {
        get throws {
            let rows = try sqlite(
                """
                SELECT CASE WHEN instr(sku, ',') THEN '"' || sku || '"' ELSE sku END || ','
                || coalesce(price, '') FROM "sub/products" ORDER BY rowid;
                """, on: database)
            return Array("sku,price\n\(rows)".utf8)
        }
    }
}

/// A database whose backups stop before they look at it, until they are let go.
final class Gate: Sendable {
    private let state = Monitor((isShut: true, waiting: 0))

    /// How many wait.
    var waiting: Int { state.withLock(\.waiting) }

    func open() { state.update { $0.isShut = false } }
    func shut() { state.update { $0.isShut = true } }

    fileprivate func pass() {
        state.update { $0.waiting += 1 }
        state.wait { $0.isShut ? nil : () }
        state.update { $0.waiting -= 1 }
    }

    /// An engine's database behind this gate.
    func database(_ path: String) -> Engine.Database {
        Engine.Database(path: "/Root/database") { _ in
            Gated(base: try SQLiteSource(path: path), gate: self)
        }
    }

    private struct Gated: ForwardedRestores {
        let base: any RestorableSource
        let gate: Gate

        var name: String { base.name }
        func listTables() throws -> [SourceTable] { try base.listTables() }
        func openCut(_ request: CutRequest) throws -> any SourceCut {
            gate.pass()
            return try base.openCut(request)
        }
        func openRestore(
            _ restored: RestoredDatabase, attempt: RestoreAttempt
        ) throws -> any TableRestore {
            gate.pass()
            return try base.openRestore(restored, attempt: attempt)
        }
    }
}
