import Foundation
import Testing

/// RESTORE of points of a YDB dump into a SQLite file, held against what an independent program says is in
/// the dump.
@Suite struct DumpRestoreTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        let program =
            URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().path + "/DumpSourceTests/dump.py"
        let result = try sandbox.run("/usr/bin/env", ["python3", program, "golden", "."])
        try #require(result.status == 0, "\(result.errors)")
    }

    /// Every row of a table of a database, as the CSV of the dump has it: numbers by value, everything else
    /// by its text; bytes that are no UTF-8 are hexadecimal there.
    private static let compare = """
        import csv, sqlite3, sys
        database, expected, table = sys.argv[1:]
        def same(value, field):
            if value is None: return field == ""
            if isinstance(value, int): return str(value) == {"true": "1", "false": "0"}.get(field, field)
            if isinstance(value, float): return value == float(field)
            if isinstance(value, str): return value == field
            if field.startswith("\\\\x"): return value.hex() == field[2:]
            return value == field.encode()
        rows = sqlite3.connect(database).execute(f'SELECT * FROM "{table}"').fetchall()
        with open(expected, newline="") as file:
            header, *wanted = list(csv.reader(file))
        assert len(rows) == len(wanted) > 0, (len(rows), len(wanted))
        for row, line in zip(rows, wanted):
            for name, value, field in zip(header, row, line):
                assert same(value, field), (name, value, field)
        print(len(rows), "rows")
        """

    private func compare(_ database: String, _ expected: String, _ table: String) throws {
        let compared = try sandbox.run(
            "/usr/bin/env", ["python3", "-c", Self.compare, database, expected, table])
        #expect(compared.status == 0, "\(table) of \(expected): \(compared.errors)")
    }

    @Test(arguments: ["A", "B", "C"])
    func `Every point of a dump can be restored into a new SQLite file`(
        _ generation: String
    ) throws {
        let dump = "generation\(generation)"
        let points = try FileManager.default.contentsOfDirectory(
            atPath: "\(sandbox.path)/\(dump).expected"
        ).sorted()
        #expect(points.count == 4)
        for (number, point) in points.enumerated() {
            let database = "restored\(number).db"
            let restored = try sandbox.ydbfs(
                "run", dump, "--into", database, "RESTORE \(dump) AT '\(point)'")
            #expect(restored.status == 0, "\(restored)")
            for table in ["all/types", "gaps"] {
                try compare(database, "\(dump).expected/\(point)/\(table).csv", table)
            }
        }
    }

    @Test func `What SQLite hasn't is said, and a key that is NULL comes back`() throws {
        let restored = try sandbox.ydbfs(
            "run", "generationC", "--into", "new.db",
            "RESTORE generationC (TABLE `all/types` AS wide)")
        let said = restored.output + restored.errors
        #expect(restored.status == 0, "\(restored)")
        #expect(said.contains("types that SQLite hasn't: id (Uint64 as INTEGER"), "\(said)")
        let made = try sandbox.run(
            "/usr/bin/sqlite3",
            ["new.db", "SELECT sql FROM sqlite_schema; SELECT count(*) > 0 FROM wide"])
        #expect(made.output.contains("PRIMARY KEY (\"id\")") && made.output.hasSuffix("\n1\n"))
        // What is there stays.
        let again = try sandbox.ydbfs(
            "run", "generationC", "--into", "new.db",
            "RESTORE generationC (TABLE `all/types` AS wide)")
        #expect(again.status == 1 && again.errors.contains("wide exists already"), "\(again)")
    }

    @Test func `Without a database to restore into, and for single rows, it is refused`() throws {
        let nowhere = try sandbox.ydbfs("run", "generationC", "RESTORE generationC")
        #expect(nowhere.status == 1 && nowhere.errors.contains("--into DATABASE"), "\(nowhere)")
        try sandbox.sql("CREATE TABLE gaps (a, k, b)", in: "live.db")
        let rows = try sandbox.ydbfs(
            "run", "generationC", "--into", "live.db",
            "RESTORE generationC (TABLE gaps WHERE KEY IN (1))")
        #expect(rows.status == 1 && rows.errors.contains("RESTORE the table whole"), "\(rows)")
    }

    @Test func `A point of a dump as one SQLite file`() throws {
        let exported = try sandbox.ydbfs(
            "export", "generationB", "generationB/latest", "point.db", "--format", "sqlite")
        #expect(exported.status == 0, "\(exported)")
        let point = try FileManager.default.contentsOfDirectory(
            atPath: "\(sandbox.path)/generationB.expected"
        ).sorted().last!
        for table in ["all/types", "gaps"] {
            try compare("point.db", "generationB.expected/\(point)/\(table).csv", table)
        }
    }

    // MARK: Odd dumps

    private func shell(_ script: String) throws {
        let result = try sandbox.run("/bin/bash", ["-c", script])
        try #require(result.status == 0, "\(script): \(result.errors)")
    }

    /// A full backup of these tables, of an Int64 key and a column of another type, in the directory `odd`.
    private func makeDump(
        _ tables: [String], _ type: String, rows: String, point: String = "20250821141519Z_full"
    ) throws {
        for table in tables {
            try shell(
                """
                mkdir -p 'odd/\(point)/\(table)'; cd 'odd/\(point)/\(table)'
                printf 'columns { name: "k" type { optional_type { item { type_id: INT64 } } } }\n' > scheme.pb
                printf 'columns { name: "v" type { optional_type { item { type_id: \(type) } } } }\n' >> scheme.pb
                printf 'primary_key: "k"\n' >> scheme.pb; : > permissions.pb
                printf '\(rows)' > data_00.csv
                """)
        }
    }

    @Test(arguments: [
        ("DOUBLE", "1,nan\\n", "column v holds NaN"),
        ("UTF8", #"1,"a%%00b"\n"#, "column v holds text with a NUL character"),
    ])
    func `A table with what SQLite can't hold is left out and named`(
        _ type: String, _ rows: String, _ reason: String
    ) throws {
        try makeDump(["odd"], type, rows: rows)
        try makeDump(["plain"], "DOUBLE", rows: "1,-0\\n2,1.5\\n")
        let restored = try sandbox.ydbfs("run", "odd", "--into", "new.db", "RESTORE odd")
        let said = restored.output + restored.errors
        #expect(restored.status == 3 && said.contains(reason), "\(said)")
        let rows = try sandbox.run(
            "/usr/bin/sqlite3",
            ["new.db", "SELECT k, v FROM plain; SELECT name FROM sqlite_schema"])
        #expect(rows.output.hasPrefix("1|0.0\n2|1.5\n"), "\(rows)")
        #expect(!rows.output.contains("odd"))
    }

    @Test(arguments: [["sqlite_stat1"], ["sqlite_sequence"], ["Orders", "orders"]])
    func `Names that SQLite can't give are refused by name`(_ tables: [String]) throws {
        try makeDump(tables, "UTF8", rows: "1,\\\"a\\\"\\n")
        try sandbox.sql("CREATE TABLE z (a)", in: "live.db")
        for database in ["new.db", "live.db"] {
            let refused = try sandbox.ydbfs("run", "odd", "--into", database, "RESTORE odd")
            #expect(refused.status == 1, "\(refused)")
            #expect(
                refused.errors.contains(tables[0]) && refused.errors.contains("with AS"),
                "\(refused)")
        }
        let named = try sandbox.ydbfs(
            "run", "odd", "--into", "new.db", "RESTORE odd (TABLE \(tables[0]) AS other)")
        #expect(named.status == 0, "\(named)")
    }

    @Test func `A point that turns up behind a newer one is told at every command`() throws {
        try makeDump(["orders"], "UTF8", rows: "", point: "20250102000000Z_full")
        #expect(try sandbox.ydbfs("status", "odd").status == 0)
        try makeDump(["orders"], "UTF8", rows: "", point: "20250101000000Z_full")
        for words in [["status", "odd"], ["run", "odd", "PULL odd"]] {
            let told = try sandbox.run(Sandbox.binary, words)
            let said = told.output + told.errors
            #expect(said.contains("20250101000000Z_full isn't imported: it is older"), "\(said)")
        }
    }

    @Test(arguments: ["mkfifo", "ln -s /dev/null", "mkdir"])
    func `What is no file in a data file's place is no empty table`(_ odd: String) throws {
        try makeDump(["orders", "broken"], "UTF8", rows: "")
        try shell("cd odd/*/broken; rm data_00.csv; \(odd) data_00.csv")
        let told = try sandbox.ydbfs("export", "odd", "odd/latest", "out")
        let said = told.output + told.errors
        #expect(told.status == 3 && said.contains("broken"), "\(told)")
        #expect(sandbox.exists("out/orders.csv") && !sandbox.exists("out/broken.csv"))
    }

    @Test(arguments: [
        "rm data_00.csv; : > data_00.csv.zst", ": > data_01.csv.sha256", ": > metadata.json.sha256",
        "echo 'uniform_partitions: 18446744073709551615' >> scheme.pb",
    ])
    func `A part that is missing is no shorter table`(_ damage: String) throws {
        try makeDump(["orders", "broken"], "UTF8", rows: "")
        try shell("cd odd/*/broken; \(damage)")
        let told = try sandbox.ydbfs("export", "odd", "odd/latest", "out")
        #expect(told.status == 3, "\(told)")
        #expect(sandbox.exists("out/orders.csv") && !sandbox.exists("out/broken.csv"))
    }

    @Test(arguments: [true, false])
    func `A checksum that somebody added of a compressed file is compared`(
        _ isRight: Bool
    ) throws {
        try shell(
            """
            cd exportItems/*_full/all/types
            sha256sum \(isRight ? "data_00.csv.zst" : "scheme.pb") > data_00.csv.zst.sha256
            """)
        let told = try sandbox.ydbfs("export", "exportItems", "exportItems/oldest", "out")
        #expect(told.status == (isRight ? 0 : 3), "\(told)")
        #expect(sandbox.exists("out/all/types.csv") == isRight)
    }

    @Test func `What a dump holds isn't dropped`() throws {
        try makeDump(["orders"], "UTF8", rows: "")
        let refused = try sandbox.ydbfs("run", "odd", "DROP BACKUP COLLECTION odd")
        #expect(refused.status == 1 && refused.errors.contains("is what"), "\(refused)")
        #expect(try sandbox.ydbfs("status", "odd").status == 0)
    }
}
