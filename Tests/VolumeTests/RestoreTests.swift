import Bytes
import Engine
import Foundation
import Tables
import TestSupport
import Testing

/// What `RESTORE` brings back, as another program sees it.
@Suite struct RestoreTests {
    private var settings: Settings {
        var settings = Settings()
        settings.limits = .tiny
        return settings
    }

    private static let all = """
        CREATE BACKUP COLLECTION shop DATABASE
        WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )

        """

    /// Every kind of table, index and trigger that there is, with names and values that are hard to
    /// write.
    private static let odd = #"""
        CREATE TABLE plain(id INTEGER PRIMARY KEY, v REAL DEFAULT (1.5), w TEXT DEFAULT 'it''s' NOT NULL);
        INSERT INTO plain VALUES (1, -0.0, ''), (2, 9e999, 'é' || char(0x1F600)), (-3, 0.1, 'x'),
            (9223372036854775807, -9e999, ''''), (4, NULL, char(10));
        CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, k TEXT UNIQUE COLLATE NOCASE);
        INSERT INTO counted(k) VALUES ('a'), ('B'), (NULL);
        DELETE FROM counted WHERE id = 2;
        CREATE TABLE blank(id INTEGER PRIMARY KEY AUTOINCREMENT, k BLOB);
        CREATE TABLE "a ""b"".[c], `d`"("x y" TEXT NOT NULL, 'q' INT, [z] ANY, "ORDER" BLOB,
            PRIMARY KEY("x y" DESC, q)) WITHOUT ROWID, STRICT;
        INSERT INTO "a ""b"".[c], `d`" VALUES ('k', 1, 1, x''), ('k', 2, '1', x'00ff'), ('l', 1, 2.5, NULL);
        CREATE TABLE kinds(k NOT NULL, n NUMERIC, PRIMARY KEY(k, n)) /* a ; comment ' */;
        INSERT INTO kinds VALUES (1, 1), ('1', 1), (x'31', 1), (1.5, 'text'), ('it''s', x'00'),
            (CAST(x'610062' AS TEXT), 3), (CAST(x'ff' AS TEXT), 4), (-0.0, 5), (9e999, 6);
        CREATE TABLE tree(id INTEGER PRIMARY KEY, parent INT REFERENCES tree(id) ON DELETE CASCADE,
            twice AS (id * 2), path TEXT GENERATED ALWAYS AS ('/' || parent) STORED,
            CONSTRAINT "positive" CHECK (tree.id > 0), FOREIGN KEY(parent) REFERENCES "tree");
        INSERT INTO tree(id, parent) VALUES (1, NULL), (2, 1), (3, 1);
        CREATE TABLE leaf(id TEXT PRIMARY KEY NOT NULL, t INT REFERENCES tree(id), UNIQUE(t, id));
        INSERT INTO leaf VALUES ('x', 3), ('y', NULL);
        ALTER TABLE leaf ADD COLUMN later DEFAULT x'0102';
        CREATE TABLE seen(id INTEGER PRIMARY KEY, what TEXT);
        CREATE UNIQUE INDEX "by; name" ON plain(w COLLATE NOCASE DESC, v) WHERE plain.w <> '' -- last
        ;
        CREATE INDEX by_length ON plain(length(w), abs(v));
        CREATE INDEX tree_by_twice ON tree(twice);
        CREATE TRIGGER added AFTER INSERT ON tree WHEN NEW.id > 0 BEGIN
            INSERT INTO seen(what) VALUES (CASE WHEN NEW.id = 7 THEN 'END; ' ELSE 'other' END);
            UPDATE seen SET what = what || ';'; END;
        CREATE TRIGGER other AFTER UPDATE OF v ON main.plain BEGIN DELETE FROM seen WHERE id = NEW.id; END;
        CREATE VIEW "all; seen" AS SELECT 'x;' AS x, * FROM seen; -- of them
        CREATE TRIGGER unseen INSTEAD OF DELETE ON "all; seen" BEGIN DELETE FROM seen WHERE id = OLD.id; END;
        CREATE VIEW later AS SELECT * FROM "all; seen" WHERE no_such_column > 1;
        CREATE TRIGGER "self;ish" BEFORE DELETE ON tree BEGIN SELECT count(*) FROM tree; END;
        """#

    /// Everything in a database but the order of things: definitions, and every value with its class
    /// and bytes, as SQLite's shell sees them.
    private func contents(_ database: String) throws -> [String: String] {
        var result: [String: String] = [:]
        let objects = try sqlite(
            """
            SELECT hex(type || ' ' || name || ' of ' || tbl_name) || '|' || hex(coalesce(sql, '')) FROM sqlite_schema
            WHERE substr(name, 1, 7) <> '_ydbfs_' AND substr(tbl_name, 1, 7) <> '_ydbfs_';
            """, on: database)
        let isWide = try sqlite("PRAGMA encoding", on: database) == "UTF-16le\n"
        func text(_ hex: Substring) -> String {
            let digits = Array(hex)
            let bytes = stride(from: 0, to: digits.count, by: 2).map {
                UInt8(String(digits[$0..<$0 + 2]), radix: 16)!
            }
            return String(data: Data(bytes), encoding: isWide ? .utf16LittleEndian : .utf8)!
        }
        for line in objects.split(separator: "\n") {
            let parts = line.split(separator: "|", omittingEmptySubsequences: false)
            result[text(parts[0])] = text(parts[1])
        }
        let tables = result.keys.filter { $0.hasPrefix("table ") }.map {
            String($0.dropFirst(6).prefix(upTo: $0.dropFirst(6).range(of: " of ")!.lowerBound))
        }
        for table in tables {
            let quoted = "\"" + table.replacing("\"", with: "\"\"") + "\""
            let literal = "'" + table.replacing("'", with: "''") + "'"
            let columns = try sqlite(
                """
                SELECT group_concat('typeof(' || q || ') || hex(CASE typeof(' || q || ') WHEN ''real'' THEN '
                || 'ieee754_to_blob(' || q || ') ELSE CAST(' || q || ' AS BLOB) END)', ' || '','' || ')
                FROM (SELECT '"' || replace(name, '"', '""') || '"' AS q FROM pragma_table_xinfo(\(literal)));
                """, on: database)
            let order = table == "sqlite_sequence" ? "" : "ORDER BY 1"
            result["rows of " + table] = try sqlite(
                "SELECT \(columns) FROM \(quoted) \(order);", on: database)
        }
        return result
    }

    private func expectSound(_ database: String, at location: SourceLocation = #_sourceLocation)
        throws
    {
        let said = try sqlite("PRAGMA integrity_check; PRAGMA foreign_key_check;", on: database)
        #expect(said == "ok\n", sourceLocation: location)
        let hidden = try sqlite(
            "SELECT name FROM sqlite_schema WHERE name LIKE '\\_ydbfs\\_restore%' ESCAPE '\\';",
            on: database)
        #expect(hidden == "", sourceLocation: location)
    }

    private func dropAll(_ database: String, but type: String = "") throws {
        let drops = try sqlite(
            """
            SELECT 'DROP ' || type || ' "' || replace(name, '"', '""') || '";' FROM sqlite_schema
            WHERE type IN ('table', 'view') AND type <> '\(type)' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_ydbfs%' ESCAPE '\\';
            """, on: database)
        try sqlite(drops, on: database)
    }

    // MARK: What comes back

    @Test(arguments: ["wal", "delete"], [nil, "UTF-16le"] as [String?])
    func `whatever was in the database comes back as it was`(
        journal: String, encoding: String?
    ) throws {
        let scratch = try Scratch()
        let database = scratch / "database.db"
        try sqlite(
            (encoding.map { "PRAGMA encoding = '\($0)';" } ?? "")
                + "PRAGMA journal_mode = \(journal);" + Self.odd, on: database)
        let before = try contents(database)
        try withTree(.direct, Product(database, settings)) { tree in
            try tree.write("control", Self.all)
            _ = try tree.backup("full", of: "shop")
            try dropAll(database)
            let line = try tree.run("RESTORE", in: "shop")
            #expect(line.hasPrefix("done point=20"), "\(line)")
            #expect(line.contains("_full rows=24 "), "\(line)")
            #expect(try tree.text("operations/latest/statement").hasPrefix("RESTORE"))
            let after = try contents(database)
            for key in Set(before.keys).union(after.keys).sorted() {
                #expect(after[key] == before[key], "\(key)")
            }
            try expectSound(database)
            #expect(try !tree.text("operations/latest/progress").contains("note "))
            // Nothing differs for a backup either.
            let next = try tree.backup("incremental", of: "shop")
            #expect(try tree.text("shop/operation/wait").contains(" rows=0 "), "\(next)")
            // Views outlive their tables, and may have become others.
            try sqlite(
                """
                DROP VIEW later; CREATE VIEW later AS SELECT 1;
                """, on: database)
            try dropAll(database, but: "view")
            #expect(try tree.run("RESTORE", in: "shop").hasPrefix("done "))
            let notes = try tree.text("operations/latest/progress").split(separator: "\n")
                .filter { $0.hasPrefix("note ") }
            #expect(notes == ["note later is there already, and is left as it is"])
            var again = try contents(database)
            #expect(
                again.updateValue(before["view later of later"]!, forKey: "view later of later")
                    == "CREATE VIEW later AS SELECT 1")
            #expect(again == before)
        }
    }

    @Test(arguments: Way.allCases)
    func `any point by name or time, beside what is there`(way: Way) throws {
        let shop = try Shop(rows: 60)
        try withTree(way, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            var points: [(name: String, rows: String)] = []
            for salt in 0..<5 {
                let point = try tree.backup(salt == 0 ? "full" : "incremental", of: "shop")
                points.append(
                    (
                        String(point.dropFirst("shop/".count)),
                        try sqlite("SELECT * FROM orders ORDER BY id", on: shop.database)
                    ))
                try shop.change(oneIn: 7, salt: salt)
                try shop.add(9)
            }
            for (number, point) in points.enumerated() {
                let target = "orders_\(number)"
                let manifest = try tree.read("shop/\(point.name)/backup.json")
                let json = try JSONSerialization.jsonObject(with: Data(manifest))
                let cut = try #require((json as? [String: Any])?["cut"] as? String)
                let moment = number % 2 == 0 ? point.name : cut
                let line = try tree.run(
                    "RESTORE shop AT '\(moment)' (TABLE orders AS \(target))", in: "shop")
                #expect(line.hasPrefix("done point=\(point.name) "), "\(line)")
                let rows = try sqlite("SELECT * FROM \(target) ORDER BY id", on: shop.database)
                #expect(rows == point.rows)
                let progress = try tree.text("shop/operation/progress")
                #expect(progress.contains("index by_customer is named \(target)_by_customer here"))
            }
            try expectSound(shop.database)
        }
    }

    @Test func `under other names, definitions follow as far as they can`() throws {
        let scratch = try Scratch()
        let database = scratch / "database.db"
        try sqlite(Self.odd, on: database)
        try withTree(.direct, Product(database, settings)) { tree in
            try tree.write("control", Self.all)
            _ = try tree.backup("full", of: "shop")
            let line = try tree.run(
                "RESTORE (TABLE tree AS `new tree`, TABLE leaf AS leaf2, TABLE plain AS `p\"q`)",
                in: "shop")
            #expect(line.hasPrefix("done "), "\(line)")
            let notes = try tree.text("shop/operation/progress")
            #expect(notes.contains("new tree: trigger self;ish is left out, because it names tree"))
            #expect(notes.contains("new tree: trigger added is named new tree_added here"))
            let found = try contents(database)
            #expect(found["rows of new tree"] == found["rows of tree"])
            #expect(found["rows of p\"q"] == found["rows of plain"])
            let sql = try #require(found["table new tree of new tree"])
            #expect(sql.contains(#"INT REFERENCES "new tree"(id) ON DELETE"#), "\(sql)")
            #expect(sql.contains(#"CHECK ("new tree".id > 0)"#), "\(sql)")
            #expect(sql.contains(#"REFERENCES "new tree")"#), "\(sql)")
            let leaf = try #require(found["table leaf2 of leaf2"])
            #expect(leaf.contains(#"REFERENCES "new tree"(id)"#), "\(leaf)")
            #expect(found["index sqlite_autoindex_leaf2_2 of leaf2"] == "")
            let trigger = try #require(found[#"trigger p"q_other of p"q"#])
            #expect(trigger.contains(#"UPDATE OF v ON main."p""q" BEGIN"#), "\(trigger)")
            #expect(
                found[#"index p"q_by; name of p"q"#]?.contains(#"WHERE "p""q".w <> ''"#) == true)
            try expectSound(database)
            // They are whole: constraints, indexes and triggers work.
            try sqlite("INSERT INTO \"new tree\"(id, parent) VALUES (7, 2);", on: database)
            #expect(try sqlite("SELECT what FROM seen", on: database) == "END; ;\n")
            try expectSound(database)
            #expect(
                try shell("sqlite3 \"$1\" \"INSERT INTO leaf2 VALUES ('x', 1, 2)\"", database)
                    .errors.contains("UNIQUE"))
        }
    }

    // MARK: Refusals

    @Test(arguments: Way.allCases)
    func `what can't be restored is refused at once, and nothing is written`(way: Way) throws {
        let shop = try Shop(rows: 5)
        try withTree(way, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
            try shop.run("CREATE VIEW seen AS SELECT 1")
            let before = try contents(shop.database)
            let refusals: [(text: String, errno: Int32, says: String)] = [
                ("RESTORE", EEXIST, "table orders exists already; table sub/products exists"),
                ("RESTORE (TABLE orders AS ORDERS)", EEXIST, "table ORDERS exists already"),
                ("RESTORE (TABLE orders AS seen)", EEXIST, "view seen exists already"),
                ("RESTORE (TABLE orders AS by_customer)", EEXIST, "index by_customer exists"),
                ("RESTORE (TABLE ordres AS x)", ENOENT, "has no table ordres"),
                ("RESTORE AT '20200101000000Z_full'", ENOENT, "no backup point 2020"),
                ("RESTORE AT '1999-01-01'", ENOENT, "no backup point as old as 1999"),
                ("RESTORE (TABLE orders AS x, TABLE `sub/products` AS X)", EINVAL, "named X"),
                ("RESTORE (TABLE orders AS sqlite_x)", EINVAL, "no table can be named sqlite_x"),
                ("RESTORE (TABLE orders AS _ydbfs_log_7)", EINVAL, "can be named _ydbfs_log_7"),
                ("RESTORE (TABLE `/Root/other/orders` AS x)", ENOENT, "not below this database"),
            ]
            for (text, errno, says) in refusals {
                let found = VolumeTests.errno(of: { try tree.write("shop/control", text + "\n") })
                #expect(found == errno, "\(text)")
                let errors = try tree.text("errors")
                #expect(errors.contains(says), "\(text): \(errors)")
            }
            // An index of that name, of another table.
            try shop.run("DROP TABLE orders; CREATE INDEX by_customer ON \"sub/products\"(price)")
            #expect(
                errno(of: { try tree.write("shop/control", "RESTORE (TABLE orders)\n") })
                    == EEXIST)
            #expect(
                try tree.text("errors").contains("index by_customer of sub/products has a name"))
            try shop.run("DROP INDEX by_customer")
            // What is queued counts: the second one would find what the first has made.
            let twice = "RESTORE (TABLE orders); RESTORE (TABLE orders)\n"
            #expect(errno(of: { try tree.write("shop/control", twice) }) == EEXIST)
            #expect(try tree.text("errors").contains("a queued RESTORE will have made orders"))
            let now = try contents(shop.database)
            #expect(now["rows of sub/products"] == before["rows of sub/products"])
            #expect(now["rows of orders"] == nil)
            try expectSound(shop.database)
        }
    }

    @Test func `rows that would not be the same are not shown`() throws {
        let shop = try Shop(rows: 20)
        try withTree(.direct, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            try shop.run("UPDATE orders SET customer = CAST(x'c328' AS TEXT) WHERE id = 3")
            _ = try tree.backup("full", of: "shop")
        }
        // The bytes of broken text mean something else in another encoding.
        let other = shop.scratch / "other.db"
        try sqlite("PRAGMA encoding = 'UTF-16le'; CREATE TABLE x(y);", on: other)
        let product = try Product(other, location: shop.database + ".backups", settings)
        try withTree(.direct, product) { tree in
            let strict = try tree.run("RESTORE WITH (strict = true)", in: "shop")
            let reason =
                "column customer holds text that is no well-formed UTF-8, and the database is UTF-16le, "
                + "where there is no such text: restore into a new file"
            #expect(strict.hasPrefix("failed: orders: column customer holds text"))
            let whole = "orders: \(reason); nothing was restored"
            #expect(try tree.text("operations/latest/error").contains(whole))
            #expect(try contents(other).keys.sorted() == ["rows of x", "table x of x"])
            let alone = try tree.run("RESTORE (TABLE orders AS o)", in: "shop")
            #expect(alone.hasPrefix("failed: orders: column customer holds text"))
            #expect(try tree.text("operations/latest/error").contains(whole))
            // One table that can't be there doesn't keep the others from coming back.
            let line = try tree.run("RESTORE", in: "shop")
            #expect(line.hasPrefix("done point=20") && line.contains(" incomplete=1 "), "\(line)")
            #expect(
                try tree.text("operations/latest/progress").contains(
                    "left_out orders \(reason)\n"))
            let found = try contents(other)
            #expect(found["rows of orders"] == nil && found["rows of sub/products"] != nil)
            try expectSound(other)
        }
    }

    @Test func `a virtual table is restored by its name, with all that holds its content`() throws {
        let scratch = try Scratch()
        let database = scratch / "database.db"
        try sqlite(
            """
            CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES ('kept only here');
            CREATE TABLE "notes two"(a); CREATE VIEW v AS SELECT * FROM notes;
            """, on: database)
        let other = scratch / "other.db"
        try sqlite("CREATE TABLE mine(x); PRAGMA user_version = 5;", on: other)
        try withTree(.direct, Product(database, settings)) { tree in
            try tree.write("control", Self.all)
            _ = try tree.backup("full", of: "shop")
        }
        let product = try Product(other, location: database + ".backups", settings)
        try withTree(.direct, product) { tree in
            let refusals: [(text: String, says: String)] = [
                ("RESTORE (TABLE notes AS other)", "AS can't be said of it"),
                (
                    "RESTORE (TABLE notes_data)",
                    "holds content of the virtual table notes: restore that"
                ),
                ("RESTORE (TABLE notes_data AS x)", "holds content of the virtual table notes"),
            ]
            for (text, says) in refusals {
                let code = errno(of: { try tree.write("shop/control", text + "\n") })
                #expect(code == EINVAL)
                #expect(try tree.text("errors").contains(says), "\(text)")
            }
            let line = try tree.run("RESTORE (TABLE notes)", in: "shop")
            #expect(line.hasPrefix("done ") && !line.contains("incomplete"), "\(line)")
            let names =
                "SELECT count(*), group_concat(name) FILTER (WHERE name NOT LIKE 'notes_%') FROM sqlite_schema"
            #expect(try sqlite(names, on: other) == "7|mine,notes\n")
            let found =
                "SELECT * FROM notes('here'); INSERT INTO notes(notes) VALUES ('integrity-check');"
            #expect(try sqlite(found, on: other) == "kept only here\n")
            let taken = errno(of: { try tree.write("shop/control", "RESTORE\n") })
            #expect(taken == EEXIST)
            #expect(try tree.text("errors").contains("table notes exists already"))
            try sqlite("DROP TABLE notes", on: other)
            #expect(try tree.run("RESTORE", in: "shop").hasPrefix("done "))
            #expect(
                try tree.text("operations/latest/progress").contains("user_version is 5 and was 0"))
            #expect(try sqlite("SELECT * FROM v", on: other) == "kept only here\n")
            try expectSound(other)
        }
    }

    // MARK: History

    @Test(arguments: [true, false])
    func `incrementals after a restore show what is there`(
        bySwap: Bool
    ) throws {
        let shop = try Shop(rows: 80)
        try withTree(.direct, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            let full = try tree.backup("full", of: "shop")
            let old = try tree.read(full + "/orders.csv")
            for salt in 1...3 {
                try shop.change(oneIn: 5, salt: salt)
                try shop.add(7)
                _ = try tree.backup("incremental", of: "shop")
            }
            let newest = try tree.read("shop/latest/orders.csv")
            // Changes that no backup has seen, and then the past in their place.
            try shop.change(oneIn: 5, salt: 9)
            try shop.run(
                bySwap
                    ? "DROP INDEX by_customer; ALTER TABLE orders RENAME TO aside"
                    : "DROP TABLE orders")
            let name = full.dropFirst("shop/".count)
            #expect(
                try tree.run("RESTORE AT '\(name)' (TABLE orders)", in: "shop").hasPrefix("done "))
            var point = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(point + "/orders.csv") == old)
            point = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(point + "/orders.csv") == old)
            // The present once more, with changes on top.
            try shop.run("DROP TABLE orders")
            let before = try tree.list("shop").filter { $0.hasSuffix("_incremental") }[2]
            #expect(
                try tree.run("RESTORE AT '\(before)' (TABLE orders)", in: "shop")
                    .hasPrefix("done "))
            point = try tree.backup("incremental", of: "shop")
            #expect(try tree.read(point + "/orders.csv") == newest)
            try shop.change(oneIn: 5, salt: 4)
            point = try tree.backup("incremental", of: "shop")
            let rows = try sqlite("SELECT * FROM orders ORDER BY id", on: shop.database)
            try shop.run("DROP TABLE orders")
            #expect(try tree.run("RESTORE (TABLE orders)", in: "shop").hasPrefix("done "))
            #expect(try sqlite("SELECT * FROM orders ORDER BY id", on: shop.database) == rows)
            try expectSound(shop.database)
        }
    }

    // MARK: Others

    @Test func `a cancelled restore leaves nothing, even while it waits for a lock`() throws {
        let shop = try Shop(rows: 2000)
        try withTree(.direct, Product(shop.database, settings)) { tree in
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
            try shop.run("DROP TABLE orders")
            let before = try contents(shop.database)
            let holder = Process()
            holder.executableURL = URL(filePath: "/usr/bin/sqlite3")
            holder.arguments = [shop.database]
            let feed = Pipe()
            holder.standardInput = feed
            try withoutBlockedSignals { try holder.run() }
            feed.fileHandleForWriting.write(
                Data(".timeout 10000\nBEGIN IMMEDIATE; CREATE TABLE held(x);\n".utf8))
            #expect(
                eventually {
                    (try? shell("sqlite3 \"$1\" 'BEGIN IMMEDIATE'", shop.database).status) != 0
                })
            try tree.write("shop/control", "RESTORE (TABLE orders)\n")
            #expect(eventually { (try? tree.text("shop/operation/state")) == "running\n" })
            usleep(100_000)
            try tree.write("operations/latest/cancel", "1\n")
            var line = ""
            let taken = try seconds { line = try tree.text("shop/operation/wait") }
            #expect(line.hasPrefix("cancelled: on request"), "\(line)")
            #expect(taken < 5)
            try feed.fileHandleForWriting.close()
            holder.waitUntilExit()
            #expect(try contents(shop.database) == before)
            try expectSound(shop.database)
            #expect(try tree.run("RESTORE (TABLE orders)", in: "shop").hasPrefix("done "))
            #expect(try sqlite("SELECT count(*) FROM orders", on: shop.database) == "2000\n")
        }
    }
}
