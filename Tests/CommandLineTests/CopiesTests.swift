import Foundation
import Testing

/// A directory of copies of a database as SOURCE, by the program itself.
@Suite struct CopiesTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private func shell(_ script: String) throws -> String {
        let result = try sandbox.run("/bin/sh", ["-c", script])
        #expect(result.status == 0, "\(script): \(result.errors)")
        return result.output
    }

    /// Copies of `shop.db` in `copies`, one for each of these days of November 2026, with as many rows
    /// as the day has.
    private func makeCopies(_ days: ClosedRange<Int>) throws {
        for day in days {
            try sandbox.sql(
                """
                CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT);
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(day))
                INSERT OR IGNORE INTO orders SELECT i, 'item ' || i FROM n;
                """, in: "shop.db")
            let name = day < 10 ? "0\(day)" : "\(day)"
            _ = try shell(
                "mkdir -p copies; sqlite3 shop.db '.backup copies/shop-2026-11-\(name).db'")
        }
    }

    /// Names, sizes, times and contents of all files.
    private func listing() throws -> String {
        try shell(
            "find copies -printf '%p %s %T@ %i\\n' | sort; find copies -type f -exec sha256sum {} + | sort"
        )
    }

    private func rows(_ point: String) throws -> Int? {
        Int(try shell("wc -l < m/shop/\(point)/orders.csv").trimmed).map { $0 - 1 }
    }

    @Test(arguments: [1, 2, 3])
    func `Every point of a random history is the database of that night`(_ seed: Int) throws {
        let program = URL(filePath: #filePath).deletingLastPathComponent().path + "/copies.py"
        let result = try sandbox.run(
            "/usr/bin/env", ["python3", program, Sandbox.binary, "\(seed)"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.hasPrefix("30 points, "), "\(result.output)")
    }

    @Test func `Unsound copies are named and left out, every time; the others are right`() throws {
        try makeCopies(1...9)
        _ = try shell(
            """
            cd copies
            sqlite3 shop-2026-11-02.db "
                WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
                INSERT INTO orders SELECT i, 'more ' || i FROM n"
            dd if=/dev/urandom of=shop-2026-11-02.db bs=4096 seek=5 count=1 conv=notrunc 2> /dev/null
            truncate -s 4096 shop-2026-11-03.db
            head -c 9000 /dev/urandom > shop-2026-11-04.db
            : > shop-2026-11-05.db
            gzip -c shop-2026-11-06.db | head -c 200 > cut.gz
            mv cut.gz shop-2026-11-06.db.gz; rm shop-2026-11-06.db
            zstd -q -c shop-2026-11-07.db > whole.zst
            (cat whole.zst; echo garbage) > shop-2026-11-07.db.zst; rm whole.zst shop-2026-11-07.db
            mkfifo pipe.db; ln -s /etc/passwd link.db; ln -s shop-2026-11-09.db latest.db
            echo text > README
            """)
        let before = try listing()
        let unsound = [
            "shop-2026-11-02.db", "shop-2026-11-03.db", "shop-2026-11-04.db", "shop-2026-11-05.db",
            "shop-2026-11-06.db.gz", "shop-2026-11-07.db.zst", "pipe.db", "link.db",
        ]
        for command in [["status", "copies"], ["copies", "m"], ["run", "copies", "PULL shop"]] {
            let told = try sandbox.run(Sandbox.binary, command)
            #expect(told.status == (command.first == "run" ? 3 : 0), "\(told.errors)")
            // What isn't called as the shop's copies are is another collection's.
            for name in unsound where command.last != "PULL shop" || name.hasPrefix("shop") {
                let lines = (told.output + told.errors).split(separator: "\n").filter {
                    $0.contains(name) && $0.contains("left out")
                }
                #expect(!lines.isEmpty, "\(command): \(name) in \(told.output + told.errors)")
            }
            #expect(!(told.output + told.errors).contains("README"))
            #expect(!(told.output + told.errors).contains("latest.db"))
        }
        #expect(
            try shell("cd m/shop && ls -d *Z_*")
                == "20261101000000Z_full\n20261108000000Z_incremental\n20261109000000Z_incremental\n"
        )
        #expect(try rows("20261101000000Z_full") == 1)
        #expect(try rows("20261108000000Z_incremental") == 8)
        #expect(try rows("latest") == 9)
        #expect(try listing() == before)
    }

    @Test
    func
        `A new copy is pulled, a changed one told, an older one not taken; rotation loses nothing`()
        throws
    {
        try makeCopies(3...6)
        _ = try shell("mv copies/shop-2026-11-06.db later; cp copies/shop-2026-11-03.db early")
        #expect(try sandbox.ydbfs("copies", "m").status == 0)
        let stored = try shell("find copies.backups -type f -printf '%p %s %T@\\n' | sort")
        let again = try sandbox.ydbfs("status", "copies")
        #expect(again.status == 0 && again.errors == "", "\(again.errors)")
        #expect(try shell("find copies.backups -type f -printf '%p %s %T@\\n' | sort") == stored)

        _ = try shell("mv later copies/shop-2026-11-06.db; rm copies/shop-2026-11-03.db")
        let pulled = try sandbox.ydbfs("run", "copies", "PULL shop")
        #expect(pulled.status == 0, "\(pulled.errors)")
        #expect(pulled.output.contains("done 20261106000000Z_incremental"), "\(pulled.output)")
        #expect(try rows("20261106000000Z_incremental") == 6)
        #expect(try rows("20261103000000Z_full") == 3)

        // Compressed, with its time kept, it is the same copy.
        _ = try shell("gzip copies/shop-2026-11-05.db; zstd -q --rm copies/shop-2026-11-04.db")
        #expect(try sandbox.ydbfs("status", "copies").errors == "")
        try sandbox.sql("DELETE FROM orders", in: "copies/shop-2026-11-06.db")
        _ = try shell("mv early copies/shop-2026-11-01.db")
        let changed = try sandbox.ydbfs("status", "copies")
        #expect(
            changed.errors.contains("shop-2026-11-06.db: its files are others"), "\(changed.errors)"
        )
        #expect(
            changed.errors.contains("shop-2026-11-01.db isn't imported: it is older than"),
            "\(changed.errors)")
        #expect(try rows("20261106000000Z_incremental") == 6)
    }

    @Test func `A copy whose log can't be read with it is left out`() throws {
        try makeCopies(1...3)
        _ = try shell(
            """
            cd copies; ln -s /nowhere shop-2026-11-01.db-wal
            gzip shop-2026-11-02.db; echo frames > shop-2026-11-02.db.gz-wal
            """)
        let told = try sandbox.ydbfs("status", "copies")
        for name in ["shop-2026-11-01.db", "shop-2026-11-02.db.gz"] {
            let words = "\(name) is left out: its \(name)-wal can't be read with it"
            #expect(told.errors.contains(words), "\(told)")
        }
        #expect(told.output.contains("20261103000000Z_full"), "\(told)")
        #expect(!told.output.contains("20261101000000Z"), "\(told)")
    }

    @Test func `All copies may go, and lie in any directory: what was imported is shown`() throws {
        try makeCopies(1...2)
        _ = try shell(
            """
            D=$(printf 'c\\351'); mv copies $D; \(Sandbox.binary) status $D > whole
            rm $D/*; \(Sandbox.binary) status $D > left 2> told; diff whole left
            \(Sandbox.binary) run $D 'SHOW COLLECTIONS' > shown
            """)
        #expect(try sandbox.text("left").contains("20261102000000Z_incremental"))
        #expect(try sandbox.text("told").contains("showing what was imported before"))
    }

    @Test func `An import that is killed goes on with the next copy`() throws {
        try makeCopies(1...12)
        for delay in [0.02, 0.05, 0.1, 0.15] {
            _ = try shell(
                "timeout -s KILL \(delay) \(Sandbox.binary) status copies > /dev/null 2>&1 || true")
        }
        let status = try sandbox.ydbfs("status", "copies", "--json")
        #expect(
            try sandbox.python("len(j['collections'][0]['points'])", json: status.output) == "12")
        #expect(try sandbox.ydbfs("verify", "copies").status == 0)
        #expect(try sandbox.ydbfs("copies", "m").status == 0)
        for day in 1...12 {
            #expect(
                try shell("cat m/shop/202611\(day < 10 ? "0" : "")\(day)*/orders.csv | wc -l")
                    .trimmed
                    == "\(day + 1)")
        }
    }

    @Test func `Rows and tables go back into a database; nothing goes into the copies`() throws {
        try makeCopies(1...3)
        let restored = try sandbox.ydbfs(
            "run", "copies", "--into", "new.db", "RESTORE shop AT '2026-11-02'")
        #expect(restored.status == 0, "\(restored.errors)")
        #expect(
            try shell("sqlite3 new.db .dump") == shell("sqlite3 copies/shop-2026-11-02.db .dump"))
        try sandbox.sql("DELETE FROM orders WHERE id = 1", in: "new.db")
        let row = try sandbox.ydbfs(
            "run", "copies", "--into", "new.db", "RESTORE shop (TABLE orders WHERE KEY IN (1))")
        #expect(row.status == 0, "\(row.errors)")
        #expect(try shell("sqlite3 new.db 'SELECT id FROM orders'") == "1\n2\n")
        for statement in ["BACKUP shop", "RESTORE shop", "CREATE BACKUP COLLECTION x DATABASE"] {
            let refused = try sandbox.ydbfs("run", "copies", statement)
            #expect(refused.status == 1 && !refused.errors.isEmpty)
        }
        _ = try shell("mkdir nothing; echo text > nothing/notes.txt")
        let nothing = try sandbox.ydbfs("status", "nothing")
        #expect(nothing.errors.contains("directory of copies"), "\(nothing.errors)")
    }

    @Test
    func `Copies with what only the application knows, and with virtual tables, are taken in`()
        throws
    {
        _ = try shell("mkdir copies")
        try sandbox.sql(
            """
            CREATE TABLE odd (id INTEGER PRIMARY KEY, t TEXT COLLATE NOCASE NOT NULL);
            INSERT INTO odd VALUES (1, 'a');
            CREATE VIRTUAL TABLE words USING fts5(t);
            INSERT INTO words VALUES ('some words');
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', 'NOT NULL CHECK (known(t))')
            WHERE name = 'odd';
            UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'theirs') WHERE name = 'odd';
            """, in: "copies/odd-2026-11-01.db")
        let told = try sandbox.ydbfs("copies", "m")
        #expect(told.status == 0 && !told.output.contains("is left out"), "\(told.output)")
        #expect(try shell("cat m/odd/latest/odd.csv") == "id,t\n1,a\n")
        let made = try sandbox.ydbfs(
            "export", "copies", "odd/latest", "new.db", "--format", "sqlite")
        #expect(made.status == 0, "\(made.errors)")
        #expect(try shell("sqlite3 new.db \"SELECT t FROM words('words')\"") == "some words\n")
    }

    @Test func `A mount with pull=new shows the next copy`() throws {
        try makeCopies(1...3)
        _ = try shell("mv copies/shop-2026-11-03.db later")
        #expect(try sandbox.ydbfs("copies", "m", "-o", "pull=new,poll=1s").status == 0)
        _ = try shell(
            """
            mv later copies/shop-2026-11-03.db
            timeout 60 sh -c 'until [ -e m/shop/20261103000000Z_incremental ]; do sleep 0.1; done'
            """)
        #expect(try rows("latest") == 3)
    }

    @Test func `A copy that only its owner may read is shown to nobody else`() throws {
        try makeCopies(1...2)
        _ = try shell("chmod 600 copies/shop-2026-11-02.db")
        #expect(try sandbox.ydbfs("status", "copies").status == 0)
        #expect(try shell("find copies.backups -perm /077") == "")
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
