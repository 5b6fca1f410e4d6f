import Foundation
import Testing

@Suite struct ExportTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE "sub/a\\b\nc" (id INTEGER PRIMARY KEY, name TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
            INSERT INTO orders SELECT i, 'item ' || i * 7919 % 10007 FROM n;
            INSERT INTO products VALUES (1, 'tea');
            """)
        let create =
            "CREATE BACKUP COLLECTION shop DATABASE "
            + "WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' ); "
        #expect(try sandbox.ydbfs("run", "database.db", create + "BACKUP shop").status == 0)
        try sandbox.sql(
            "DELETE FROM orders WHERE id % 7 = 3; UPDATE orders SET item = 'x' WHERE id = 5")
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL").status == 0)
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script])
    }

    private func export(_ arguments: String...) throws -> Sandbox.Result {
        try sandbox.run(
            Sandbox.binary, ["export", "database.db", "shop/latest", "out"] + arguments)
    }

    @Test func `What export makes is what cp makes of the mount, and sha256sum agrees`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        for source in ["database.db", "database.db.backups", "m"] {
            let result = try sandbox.ydbfs("export", source, "shop/latest", "out/deep")
            #expect(result.status == 0, "\(result.errors)")
            let more = try sandbox.ydbfs(
                "export", source, "shop/latest", "out/deep", "--format", "parquet")
            #expect(more.status == 0 && more.errors == "", "\(more.errors)")
            let same = try shell(
                """
                cp -rL m/shop/latest copy && cd copy && sha256sum -c --strict --quiet SHA256SUMS \\
                    && rm SHA256SUMS && cd ../out/deep && sha256sum -c --strict --quiet SHA256SUMS \\
                    && [ $(wc -l < SHA256SUMS) = 9 ] && rm SHA256SUMS && diff -r . ../../copy
                """)
            #expect(same.status == 0, "\(same.output)\(same.errors)")
            _ = try shell("rm -r copy out")
        }
    }

    @Test func `A second run does what is missing or wrong, and no more`() throws {
        #expect(try export().status == 0)
        let times = "stat -c '%n %i' out/*.csv out/*.sql out/sub/*"
        let before = try shell(times).output
        var result = try export()
        #expect(result.status == 0 && result.output.contains("6 of them were there already"))
        #expect(try shell(times).output == before)
        let damages = [
            "rm out/orders.csv", "truncate -s -1 out/orders.csv", "printf X >> out/orders.csv",
            "printf X | dd of=out/orders.csv bs=1 seek=9999 conv=notrunc status=none",
            "printf half > out/.ydbfs-1.part; rm out/products.csv",
            // As after a power cut while the list was being extended.
            "truncate -s -9 out/SHA256SUMS; rm out/sub/*.sql",
        ]
        for damage in damages {
            #expect(try shell(damage).status == 0)
            result = try export()
            #expect(result.status == 0, "\(damage): \(result.errors)")
            let sound = try shell(
                "cd out && sha256sum -c --strict --quiet SHA256SUMS && ls -R | wc -l")
            #expect(sound.status == 0, "\(damage): \(sound.output)")
        }
        #expect(try shell("[ $(wc -l < out/SHA256SUMS) = 6 ]").status == 0)
    }

    @Test func `Files that aren't of this export are never overwritten`() throws {
        for (prepare, words) in [
            ("mkdir out; echo mine > out/orders.csv", "orders.csv is there"),
            ("mkdir out; echo mine > out/backup.json", "holds another point"),
            ("mkdir out; echo mine > out/SHA256SUMS", "SHA256SUMS is there"),
            ("echo mine > out", "is no directory"),
            ("\(Sandbox.binary) export database.db shop/$FULL out", "holds another point"),
        ] {
            let full = try shell("\(Sandbox.binary) status database.db | grep -o '[0-9]*Z_full'")
            let set = "FULL=\(full.output.trimmingCharacters(in: .whitespacesAndNewlines));"
            #expect(try shell(set + prepare).status == 0)
            let state = "find out | sort; find out -type f | xargs sha256sum"
            let before = try shell(state).output
            let result = try export()
            #expect(result.status == 1 && result.errors.contains(words), "\(result.errors)")
            #expect(try shell(state).output == before)
            _ = try shell("rm -r out")
        }
        let inside = try sandbox.ydbfs(
            "export", "database.db", "shop/latest", "database.db.backups/out")
        #expect(inside.status == 1 && !sandbox.exists("database.db.backups/out"))
    }

    @Test func `Some tables, points by name, and names that aren't there`() throws {
        var result = try export("--table", "orders", "--table", "products")
        #expect(result.status == 0)
        #expect(
            try shell("ls out").output
                == "SHA256SUMS\nbackup.json\norders.csv\norders.sql\nproducts.csv\nproducts.sql\n")
        result = try export("--table", "ordres")
        #expect(result.status == 1 && result.errors.contains("no table ordres; there are: orders"))
        for target in ["shop/nothing", "nothing/latest", "shop", "nothing"] {
            result = try sandbox.ydbfs("export", "database.db", target, "other")
            #expect(result.status == 1 && result.errors.split(separator: "\n").count == 1)
            #expect(!sandbox.exists("other"))
        }
    }

    @Test func `A point is meant by its name, latest or a time, whatever is asked of it`() throws {
        for moment in ["latest", "now", "today"] {
            for arguments in [
                ["verify", "database.db", "shop/\(moment)"],
                ["status", "database.db", "--sql", "shop/\(moment)"],
                ["export", "database.db", "shop/\(moment)", "out-\(moment)"],
            ] {
                let result = try sandbox.run(Sandbox.binary, arguments)
                #expect(result.status == 0, "\(arguments): \(result.errors)")
            }
        }
        #expect(try shell("diff -r out-latest out-now && diff -r out-latest out-today").status == 0)
        for verb in [["verify"], ["status", "--sql"], ["export"]] {
            for (moment, says) in [("1999-01-01", "as old as 1999"), ("monday", "it is no time")] {
                let result = try sandbox.run(
                    Sandbox.binary,
                    [verb[0], "database.db"] + verb.dropFirst() + ["shop/\(moment)"]
                        + (verb == ["export"] ? ["other"] : []))
                #expect(result.status == 1 && result.errors.contains(says), "\(result.errors)")
            }
        }
    }

    @Test func `Damage fails the export and leaves no half file`() throws {
        let damage = try shell(
            """
            file=$(ls -S database.db.backups/tables/*/*/*.parquet | head -1)
            printf X | dd of=$file bs=1 seek=5000 conv=notrunc status=none
            """)
        #expect(damage.status == 0)
        let result = try export()
        #expect(result.status == 1 && result.errors.contains("can't read orders.csv: "))
        #expect(try shell("find out -name 'orders.csv*' -o -name '.ydbfs*'").output == "")
    }

    @Test func `An export that is killed is completed by the next`() throws {
        for milliseconds in [2, 5, 10, 20, 40] {
            let (process, end) = try sandbox.start(
                Sandbox.binary, ["export", "database.db", "shop/latest", "out"])
            usleep(UInt32(milliseconds * 1000))
            kill(process.processIdentifier, SIGKILL)
            _ = try end()
            let sound = try shell(
                "[ ! -e out/orders.csv ] || [ $(wc -l < out/orders.csv) = 25715 ]")
            #expect(sound.status == 0)
        }
        #expect(try export().status == 0)
        #expect(try shell("cd out && sha256sum -c --strict --quiet SHA256SUMS").status == 0)
    }

    @Test func `a point as one SQLite file is what the database was`() throws {
        try sandbox.sql(
            """
            PRAGMA user_version = 7;
            CREATE TABLE log (msg); INSERT INTO log VALUES (1), (x'00ff'), (NULL), ('it''s');
            DELETE FROM log WHERE msg = 1;
            CREATE INDEX by_item ON orders (item); CREATE VIEW few AS SELECT * FROM orders LIMIT 3;
            CREATE TRIGGER noted AFTER DELETE ON orders BEGIN INSERT INTO log VALUES (old.id); END;
            """)
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL").status == 0)
        let dump = """
            dump() { sqlite3 "$1" .dump 'SELECT rowid, quote(msg) FROM log' 'PRAGMA user_version' | sort; }

            """
        _ = try shell("chmod 640 database.db; cp database.db then.db")
        // What comes later isn't in the point.
        try sandbox.sql("DELETE FROM orders; DROP TABLE products; DROP VIEW few")
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        for source in ["database.db", "database.db.backups", "m"] {
            let result = try sandbox.ydbfs(
                "export", source, "shop/latest", "out.db", "--format", "sqlite")
            #expect(result.status == 0 && result.errors == "", "\(result.errors)")
            let same = try shell(
                dump
                    + "diff <(dump then.db) <(dump out.db) && sqlite3 out.db 'PRAGMA integrity_check'"
            )
            #expect(same.status == 0 && same.output == "ok\n", "\(source): \(same.output)")
            #expect(try shell("ls -A | grep restore").output == "")
            if source == "database.db" {
                #expect(try shell("stat -c %a out.db").output == "640\n")
            }
            _ = try shell("rm out.db")
        }
        let piped = try shell(
            dump + """
                set -e; mkdir t; export TMPDIR=$PWD/t
                \(Sandbox.binary) export database.db.backups shop/latest - --format sqlite > piped.db
                diff <(dump then.db) <(dump piped.db); test -z "$(ls -A t)"
                """)
        #expect(piped.status == 0 && piped.errors == "", "\(piped.output)\(piped.errors)")
        // The first point had neither the index nor the rows that were deleted since.
        let some = try sandbox.ydbfs(
            "export", "database.db", "shop/oldest", "some.db", "--format", "sqlite", "--table",
            "orders")
        #expect(some.status == 0, "\(some.errors)")
        #expect(
            try shell(
                "sqlite3 some.db 'SELECT count(*) FROM orders' 'SELECT name FROM sqlite_schema'"
            )
            .output == "30000\norders\n")
    }

    @Test func `a SQLite file that is there is never written over`() throws {
        for (target, says) in [
            ("taken.db", "is there already"), (".", "is there already"),
            ("dangling", "is there already"),
            ("database.db.backups/x.db", "lies in the repository"),
            ("no/where/x.db", "can't create"),
        ] {
            _ = try shell("echo mine > taken.db; ln -sf nowhere dangling")
            let result = try sandbox.ydbfs(
                "export", "database.db", "shop/latest", target, "--format", "sqlite")
            #expect(
                result.status == 1 && result.errors.contains(says), "\(target): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1)
        }
        #expect(try shell("cat taken.db; ls").output.hasPrefix("mine\n"))
        #expect(!sandbox.exists("nowhere") && !sandbox.exists("database.db.backups/x.db"))
    }
}

@Suite struct VerifyCommandTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        let run = try sandbox.ydbfs("run", "database.db", Sandbox.create + "BACKUP shop")
        #expect(run.status == 0)
    }

    @Test func `Verify exits with 0 for what is whole, 1 for damage and differences`() throws {
        for level in ["catalog", "hashes", "content", "source"] {
            let result = try sandbox.ydbfs("verify", "database.db", "shop", "--level", level)
            #expect(result.status == 0 && result.output.hasPrefix("shop is right: 1 points"))
        }
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        let expression = "j['collections'][0]['points'][0]['verified']['level']"
        #expect(try sandbox.python(expression, json: status.output) == "source")
        #expect(try sandbox.ydbfs("verify", "database.db.backups", "--level", "source").status == 1)
        try sandbox.sql("DELETE FROM orders WHERE id = 2")
        var result = try sandbox.ydbfs("verify", "database.db", "--level", "source")
        #expect(result.status == 1 && result.output.contains("first keys: 2"), "\(result.output)")
        // The backup isn't worse for it.
        #expect(try sandbox.ydbfs("status", "database.db").status == 0)
        _ = try sandbox.run(
            "/bin/bash", ["-c", "truncate -s -1 database.db.backups/collections/*/data/*.idx"])
        result = try sandbox.ydbfs("verify", "database.db", "--level", "catalog", "--json")
        #expect(result.status == 1)
        let harms = "sorted(h['table'] for d in j['collections'][0]['damages'] for h in d['harms'])"
        #expect(try sandbox.python(harms, json: result.output) == "['orders', 'products']")
        let after = try sandbox.ydbfs("status", "database.db")
        #expect(after.status == 1 && after.output.contains("DAMAGED"))
        let run = try sandbox.ydbfs("run", "database.db", "VERIFY shop")
        #expect(run.status == 1 && run.errors.contains("shop is damaged"))
    }

    @Test func `What can't be written is verified all the same`() throws {
        // Root may write everywhere but on a file system that is mounted read-only.
        let script = """
            mount --bind database.db.backups database.db.backups \\
                && mount -o remount,ro,bind database.db.backups \\
                && \(Sandbox.binary) verify database.db.backups
            """
        let result = try sandbox.run("/usr/bin/unshare", ["-m", "/bin/bash", "-c", script])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.hasPrefix("shop is right"))
        #expect(result.output.contains("the result could not be recorded"))
    }

    @Test func `A collection whose log can't be read fails verify`() throws {
        _ = try sandbox.run(
            "/bin/bash",
            ["-c", "truncate -s 100 database.db.backups/collections/*/log/0000000001.json"])
        for arguments in [["verify", "database.db"], ["verify", "database.db", "shop"]] {
            let result = try sandbox.run(Sandbox.binary, arguments)
            #expect(result.status == 1)
            #expect((result.output + result.errors).contains("0000000001.json"))
        }
    }
}
