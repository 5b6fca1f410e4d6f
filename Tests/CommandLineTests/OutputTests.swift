import Foundation
import Testing

/// What is said to whom: `--quiet`, errors for programs, output that nobody takes.
@Suite struct OutputTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        let made = try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop")
        try #require(made.status == 0, "\(made.errors)")
    }

    @Test(arguments: [
        ["run", "database.db", "BACKUP shop; VERIFY shop"], ["backup", "database.db"],
        ["restore", "database.db", "--into", "new.db"], ["verify", "database.db"],
        ["export", "database.db", "shop/latest", "out"],
        ["export", "database.db", "shop/latest", "out.db", "--format", "sqlite"],
        ["repair", "database.db"],
    ])
    func `Quiet verbs say nothing when all is right`(_ words: [String]) throws {
        for option in ["--quiet", "-q"] {
            let quiet = try sandbox.run(Sandbox.binary, words + [option])
            #expect(quiet.status == 0, "\(words) \(quiet.errors)")
            #expect(quiet.output == "" && quiet.errors == "", "\(words) \(quiet)")
            for made in ["new.db", "out.db"] {
                try? FileManager.default.removeItem(atPath: "\(sandbox.path)/\(made)")
            }
        }
        let loud = try sandbox.run(Sandbox.binary, words)
        #expect(loud.status == 0 && loud.output != "", "\(words)")
    }

    @Test func `Quiet verbs tell errors, answers and what was left out`() throws {
        let failed = try sandbox.ydbfs("run", "database.db", "-q", "BACKUP nix")
        #expect(failed.status == 1 && failed.output == "")
        #expect(failed.errors.contains("there is no collection nix"))
        let asked = try sandbox.ydbfs("run", "database.db", "-q", "SHOW COLLECTIONS")
        #expect(asked.output.hasPrefix("COLLECTION") && asked.errors == "")
        try sandbox.sql("DROP TABLE products")
        let incomplete = try sandbox.ydbfs("backup", "database.db", "-q")
        #expect(incomplete.status == 3 && incomplete.output == "")
        #expect(incomplete.errors.hasPrefix("ydbfs: left out: products"), "\(incomplete.errors)")
        #expect(try sandbox.ydbfs("verify", "database.db", "-q").output == "")
        let damage = "for f in database.db.backups/tables/*/*/*.parquet; do echo x >> $f; done"
        #expect(try sandbox.run("/bin/sh", ["-c", damage]).status == 0)
        let damaged = try sandbox.ydbfs("verify", "database.db", "-q")
        #expect(damaged.status == 1 && damaged.output.contains("shop is damaged"))
        let both = try sandbox.ydbfs("run", "database.db", "-q", "--json", "BACKUP shop")
        #expect(both.status == 2)
    }

    @Test func `Errors are JSON where the rest is`() throws {
        func object(_ status: Int32, _ words: String...) throws -> String {
            let result = try sandbox.run(Sandbox.binary, words)
            #expect(result.status == status, "\(words) \(result)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
            return try sandbox.python(
                "sorted(j), j.get('code'), j.get('error')", json: result.errors)
        }
        #expect(
            try object(1, "run", "database.db", "--json", "BACKUP nix")
                == "['code', 'error', 'snippet'] notFound "
                + "1:8: there is no collection nix; there are: shop")
        #expect(
            try object(1, "status", "nix.db", "--json").hasPrefix("['code', 'error'] notFound "))
        #expect(
            try object(1, "verify", "database.db", "nix/latest", "--json").contains("notFound"))
        #expect(try object(2, "status", "--json").hasPrefix("['code', 'error'] usage "))
        #expect(try object(2, "backup", "--json", "database.db", "--fast").contains("--fast"))
        // An operation that failed is one of the results.
        try sandbox.sql("DROP TABLE products; DROP TABLE orders")
        let failed = try sandbox.ydbfs("run", "database.db", "--json", "BACKUP shop; BACKUP shop")
        #expect(failed.status == 1 && failed.errors == "")
        let states = try failed.output.split(separator: "\n").map {
            try sandbox.python("j['state']", json: String($0))
        }
        #expect(states == ["failed", "cancelled"])
        // What is no error is a note.
        let noted = try sandbox.ydbfs("run", "database.db", "--json", "--no-wait", "VERIFY shop")
        #expect(
            try sandbox.python("list(j)", json: noted.errors) == "['note']", "\(noted.errors)")
    }

    @Test func `One table goes to the standard output as the mount shows it`() throws {
        try sandbox.sql(
            "CREATE TABLE `sub/t` (id INTEGER PRIMARY KEY); INSERT INTO `sub/t` VALUES (7)")
        #expect(
            try sandbox.ydbfs(
                "run", "database.db", "ALTER BACKUP COLLECTION shop ADD TABLE `sub/t`",
                "BACKUP shop"
            ).status == 0)
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        for (table, file) in [("orders", "orders"), ("sub/t", "sub/t")] {
            for format in ["csv", "parquet"] {
                let same = try sandbox.run(
                    "/bin/bash",
                    [
                        "-c",
                        "set -o pipefail; $Y export database.db shop/latest - --table $1 "
                            + "--format $2 | cmp - m/shop/latest/$3.$2", "-", table, format, file,
                    ], environment: ["Y": Sandbox.binary])
                #expect(same.status == 0, "\(table) \(format): \(same)")
            }
        }
        let csv = try sandbox.ydbfs("export", "m", "shop/oldest", "-", "--table", "orders")
        #expect(csv.output == "id,item\n1,tea\n2,coffee\n" && csv.errors == "")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        for (words, status, says) in [
            ([], 2, "it takes one --table"),
            (["--table", "nix"], 1, "there are: orders, products"),
            (["--table", "orders", "--table", "products"], 2, "it takes one --table"),
            (["--table", "orders", "--format", "dump"], 2, "it takes one --table"),
        ] as [([String], Int32, String)] {
            let refused = try sandbox.run(
                Sandbox.binary, ["export", "database.db", "shop/oldest", "-"] + words)
            #expect(refused.status == status && refused.output == "", "\(words)")
            #expect(refused.errors.contains(says), "\(words) \(refused.errors)")
        }
        #expect(!sandbox.exists("-"))
    }

    @Test(arguments: [
        "status database.db", "list database.db", "show database.db shop/latest",
        "verify database.db", "run database.db 'BACKUP shop'", "run database.db 'SHOW OPERATIONS'",
        "diff database.db shop/oldest latest", "history database.db shop orders 1",
        "find database.db orders.id=1", "export database.db shop/latest - --format sqlite",
        "export database.db shop/latest - --table orders",
        "--help",
    ])
    func `A full disk and a reader that is gone are errors`(_ words: String) throws {
        let script = """
            import os, subprocess, sys
            read, gone = os.pipe()
            os.close(read)
            for output in (open("/dev/full", "w"), gone):
                ended = subprocess.run(["/bin/sh", "-c", "exec $Y " + sys.argv[1]],
                    stdout=output, stderr=subprocess.PIPE)
                print(ended.returncode, ended.stderr.decode().strip())
            """
        let result = try sandbox.run(
            Sandbox.python, ["-c", script, words], environment: ["Y": Sandbox.binary])
        let ends = result.output.split(separator: "\n")
        try #require(ends.count == 2, "\(result)")
        #expect(ends[0].hasPrefix("1 ydbfs: ") && ends[0].hasSuffix("No space left on device"))
        #expect(ends[1].hasPrefix("1 ydbfs: ") && ends[1].hasSuffix("Broken pipe"), "\(ends)")
    }
}
