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
}
