import Bytes
import Tables
import TestSupport
import Testing

/// Tables as dumps of YDB have them: which key, which columns, and what YDB can't hold.
@Suite struct DumpTests {
    private static let rowID = Column(
        id: TableSchema.rowIDColumnID, name: "rowid", type: .int64, isHidden: true)

    /// A table with a hidden rowid whose declared key is `code`, of some type.
    private static func schema(_ type: ColumnType, isDeclared: Bool = true) throws -> TableSchema {
        try TableSchema(
            columns: [
                Column(id: 1, name: "n", type: .int64), Column(id: 2, name: "code", type: type),
                rowID,
            ], key: [2], primaryKey: isDeclared ? [1] : [])
    }

    private static func text(
        _ schema: TableSchema, _ rows: [(n: Int64, code: String?, rowID: Int64)]
    ) throws -> (text: String, scheme: String, size: UInt64?) {
        let batch = RowBatch(schema)
        for row in rows {
            batch.columns[0].append(row.n)
            if let code = row.code {
                if schema.columns[1].type.layout == .variable {
                    batch.columns[1].append(text: code)
                } else {
                    batch.columns[1].append(Double(code)!)
                }
            } else {
                batch.columns[1].appendNull()
            }
            batch.columns[2].append(row.rowID)
        }
        let files = MemoryFiles()
        let result = try FullWriter.write(
            BatchCursor(batch), schema: schema, table: "t", files: files, limits: .tiny)
        try files.expectSound(result, schema)
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 20))
        let snapshot = Snapshot(result.snapshot, schema: schema, pool: pool)
        let table = try snapshot.dumpTable()
        var bytes: [UInt8] = []
        for range in try snapshot.dumpFiles(table, limit: 10) {
            bytes += try DumpFile(snapshot, table, range: range).whole()
        }
        #expect(result.sizes["dump"] == UInt64(bytes.count))
        return (
            String(decoding: bytes, as: UTF8.self), table.scheme(DumpedTraits()),
            result.sizes["dump"]
        )
    }

    @Test func `the declared key is written while it has no NULL, else the rowid`() throws {
        let schema = try Self.schema(.utf8)
        let declared = try Self.text(schema, [(1, "a b", -5), (2, "c", 70)])
        #expect(declared.text == "1,\"a+b\"\n2,\"c\"\n")
        #expect(
            declared.scheme == """
                columns {
                  name: "n"
                  type { optional_type { item { type_id: INT64 } } }
                }
                columns {
                  name: "code"
                  type { optional_type { item { type_id: UTF8 } } }
                }
                primary_key: "code"

                """)
        let rows: [(Int64, String?, Int64)] = [(1, "a", -5), (2, nil, 70), (3, nil, 71)]
        let hidden = try Self.text(schema, rows)
        #expect(hidden.text == "-5,1,\"a\"\n70,2,null\n71,3,null\n")
        #expect(
            hidden.scheme.hasPrefix(
                "columns {\n  name: \"__ydbfs_rowid\"\n  type { type_id: INT64 }\n  not_null: true\n}\n"
            ))
        #expect(hidden.scheme.hasSuffix("\nprimary_key: \"__ydbfs_rowid\"\n"))
    }

    @Test func `a key of a type that YDB has no keys of, and no key at all, mean the rowid`() throws
    {
        for schema in [try Self.schema(.double), try Self.schema(.utf8, isDeclared: false)] {
            let found = try Self.text(schema, [(1, "1.5", 3), (2, "2.5", 4)])
            #expect(found.text.hasPrefix("3,1,"))
            #expect(found.scheme.hasSuffix("primary_key: \"__ydbfs_rowid\"\n"))
            #expect(DumpTable.problem(schema) == nil)
        }
    }

    @Test func `what YDB can't hold is said`() throws {
        func problem(_ columns: [Column], key: [Int] = [0]) throws -> String? {
            DumpTable.problem(
                try TableSchema(
                    columns: columns, key: key, primaryKey: columns[key[0]].isHidden ? [] : key))
        }
        func column(_ name: String, _ type: ColumnType = .int64, id: UInt32 = 1) -> Column {
            Column(id: id, name: name, type: type)
        }
        #expect(try problem([column("a-Z_9")]) == nil)
        #expect(try problem([column("first name")])?.contains("first name") == true)
        #expect(try problem([column("größe")])?.contains("größe") == true)
        #expect(try problem([column("__ydb_x")])?.contains("__ydb_x") == true)
        #expect(try problem([column("k", .double)])?.contains("Double") == true)
        #expect(try problem([column("k", .json)])?.contains("Json") == true)
        #expect(
            try problem([column(DumpTable.rowIDName), Self.rowID], key: [1])?
                .contains(DumpTable.rowIDName) == true)
        let many = (1...201).map { column("c\($0)", id: UInt32($0)) }
        #expect(try problem(many)?.contains("201") == true)
        #expect(try problem(Array(many.dropLast())) == nil)
        for path in ["orders", "shop/orders", "a.b", "x%y", "_$"] {
            #expect(DumpTable.problem(path: path) == nil, "\(path)")
        }
        for path in [
            "", "/a", "a//b", "a b", "ä", "a/..", ".", "scheme.pb", "x/permissions.pb", "tab\t",
            String(repeating: "x", count: 256), String(repeating: "d/", count: 32) + "t",
        ] {
            #expect(DumpTable.problem(path: path) != nil, "\(path)")
        }
    }

    @Test func `text is escaped as YDB does it`() {
        let column = ColumnVector(.variable)
        let every = (0...255).map { UInt8($0) }
        var values: [[UInt8]] = [[], Array("~Allowed.symbols_string;!*@$^/".utf8), every]
        // At every place of a block.
        for byte in every {
            for place in [0, 7, 15, 16, 20] {
                var value = Array("letters and digits 012".utf8)
                value[place] = byte
                values.append(value)
            }
        }
        for value in values { column.append(bytes: value) }
        let output = ByteBuffer()
        output.append(
            csv: CSVRows([column], forms: [.escaped], null: .word), 0..<values.count)
        var expected: [UInt8] = []
        for value in values { expected += ModelTable.escaped(value) + [10] }
        #expect(output.array == expected)
        #expect(
            column.byteCount(0..<values.count, as: .escaped)
                == UInt64(expected.count - values.count))
        #expect(
            output.array.starts(with: Array("\"\"\n\"~Allowed.symbols_string;!*@$%5E/\"\n".utf8)))
    }
}
