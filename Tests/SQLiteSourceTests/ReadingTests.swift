import Bytes
import SQLiteSource
import Tables
import Testing

@Suite struct ReadingTests {
    let bench: Workbench

    init() throws { bench = try Workbench() }

    private func contents(_ sql: String, _ table: String = "t") throws -> Contents {
        try bench.shell(sql)
        let source = try SQLiteSource(path: bench.path())
        return try source.atCut { try $0.read(table) }
    }

    private func types(_ contents: Contents) -> [String] {
        contents.schema.columns.map { $0.isLiteral ? "literal" : $0.type.name }
    }

    @Test func `Affinity decides types`() throws {
        let found = try contents(
            """
            CREATE TABLE t(a INTEGER PRIMARY KEY, b VARCHAR(10), c BLOB, d DOUBLE, e DECIMAL(10,2), f,
            g DATE, h BIGINT, i BOOLEAN, j);
            INSERT INTO t VALUES(2,'b',x'00ff',1,1.5,'x','2026-01-01',-9223372036854775808,1,NULL),
            (1,'',NULL,0.1,2.5,'y',NULL,9223372036854775807,NULL,NULL);
            """)
        #expect(
            types(found) == [
                "Int64", "Utf8", "String", "Double", "Double", "Utf8", "Utf8", "Int64", "Int64",
                "Utf8",
            ])
        #expect(found.schema.columns.map(\.id) == Array(1...10))
        #expect(
            found.rows == [
                [
                    .int(1), .text(""), .null, .real(0.1), .real(2.5), .text("y"), .null,
                    .int(.max),
                    .null, .null,
                ],
                [
                    .int(2), .text("b"), .bytes([0, 255]), .real(1), .real(1.5), .text("x"),
                    .text("2026-01-01"), .int(.min), .int(1), .null,
                ],
            ])
    }

    @Test func `Values that do not fit make a column literal`() throws {
        let found = try contents(
            """
            CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c INTEGER, d NUMERIC, e REAL, f TEXT, g BLOB);
            INSERT INTO t VALUES
            (1,'it''s',5,1,1.0,'a'||char(0)||'b',x'41'),
            (2,x'00c3',1.5,0.1,'x',CAST(x'c328' AS TEXT),'A'),
            (3,'é',NULL,1.0/3,9e999,'plain',NULL);
            """)
        #expect(types(found) == ["Int64"] + Array(repeating: "literal", count: 6))
        let text = found.rows.map { row in row.dropFirst().map { "\($0)" } }
        #expect(
            text == [
                [
                    "SQL 'it''s'", "SQL 5", "SQL 1", "SQL 1.0", "SQL CAST(X'610062' AS TEXT)",
                    "SQL X'41'",
                ],
                [
                    "SQL X'00C3'", "SQL 1.5", "SQL 0.1", "SQL 'x'", "SQL CAST(X'C328' AS TEXT)",
                    "SQL 'A'",
                ],
                [
                    "SQL 'é'", "NULL", "SQL 3.33333333333333314829e-01", "SQL 9.0e+999",
                    "SQL 'plain'", "NULL",
                ],
            ])
    }
}
