import Bytes
import DumpSource
import Tables
import TestSupport
import Testing

/// `scheme.pb`: protobuf's text format, and what a table is by it.
@Suite struct SchemeTests {
    private func message(_ text: String) throws -> TextMessage {
        try TextMessage([UInt8](text.utf8), file: "scheme.pb")
    }

    private func failure(_ text: String) -> String {
        do {
            _ = try DumpScheme([UInt8](text.utf8), file: "scheme.pb")
            return "none"
        } catch {
            return error.message
        }
    }

    @Test func `every way to write a field is understood`() throws {
        let text = """
            # a comment
            one: 1 two { three: "a" 'b' "\\n\\101\\x41\\u00e9" } , four: <five: NAME;>
            six: [1, 2] six: -3; seven: { }  [ext.ension]: true eight: []
            """
        let found = try message(text)
        #expect(
            found.fields.map(\.name) == [
                "one", "two", "four", "six", "six", "six", "seven", "[ext.ension]",
            ])
        #expect(try found.word("one") == "1")
        #expect(try found.message("two")?.text("three") == "ab\nAAé")
        #expect(try found.message("four")?.word("five") == "NAME")
        #expect(try found.word("six") == "-3")
        #expect(try found.message("seven")?.fields.isEmpty == true)
        #expect(found.fields.map(\.line) == [2, 2, 2, 3, 3, 3, 3, 3])
    }

    @Test(arguments: [
        ("a: \"b", "scheme.pb:1: the text ends within quotes"),
        ("a: \"b\n\"", "scheme.pb:1: the line ends within quotes"),
        ("\na {\n b: 1", "scheme.pb:3: the text ends within braces that line 2 opens"),
        ("a 1", "scheme.pb:1: a colon is missing behind a"),
        ("a: \"\\q\"", "scheme.pb:1: there is no escape \\q"),
        ("}", "scheme.pb:1: expected the name of a field, found }"),
        ("a: }", "scheme.pb:1: expected the value of a, found }"),
        (String(repeating: "a { ", count: 100), "scheme.pb:1: braces lie too deep"),
    ])
    func `what is no text proto is told with its line`(text: String, words: String) {
        #expect(failure(text) == words)
    }

    @Test func `what is written of a message says the same`() throws {
        let text = #"""
            one: -1
            two {
              three: "a\"b\\\n\000ü"
              four {
              }
            }
            five: NAME
            six: "\377\303"

            """#
        let found = try message(text)
        let written = found.text()
        #expect(written == text.replacing("\\n", with: "\\012"))
        #expect(try message(written).text() == written)
        #expect(try found.message("two")?.text("three") == "a\"b\\\n\0ü")
    }

    @Test func `what is said beyond types and key goes on, by column`() throws {
        let base = try DumpScheme(
            [UInt8](
                #"""
                columns { name: "id" type { type_id: INT64 } not_null: true
                  from_sequence { name: "s" start_value: 1 } }
                columns { name: "t" type { optional_type { item { type_id: UTF8 } } } family: "cold" }
                primary_key: "id"
                indexes { name: "by_t" index_columns: "t" global_async_index { } }
                ttl_settings { run_interval_seconds: 900 }
                attributes { key: "__incremental_backup" value: "{}" }
                attributes { key: "owner" value: "me" }
                path: "/elsewhere" temporary: false
                """#.utf8), file: "scheme.pb")
        let added = try DumpScheme(
            [UInt8](
                #"""
                columns { name: "id" type { type_id: INT64 } not_null: true }
                columns { name: "new" type { type_id: INT64 } not_null: true
                  from_literal { type { type_id: INT64 } value { int64_value: 5 } } }
                primary_key: "id"
                """#.utf8), file: "scheme.pb")
        let schema = try TableSchema(
            columns: [
                Column(id: 1, name: "id", type: .int64), Column(id: 7, name: "t", type: .utf8),
                Column(id: 9, name: "new", type: .int64),
            ], key: [0])
        let traits = base.traits(of: schema, added: added)
        #expect(traits.notNull == [1, 9])
        #expect(traits.columns[7] == "family: \"cold\"\n")
        #expect(traits.columns[1]?.hasPrefix("from_sequence {\n  name: \"s\"\n") == true)
        #expect(traits.columns[9]?.contains("int64_value: 5\n") == true)
        #expect(traits.leftOut.count == 1 && traits.leftOut[0].hasPrefix("column id: its sequence"))
        #expect(traits.table.hasPrefix("indexes {\n  name: \"by_t\"\n"))
        #expect(traits.table.contains("  global_async_index {\n  }\n}\nttl_settings {\n"))
        #expect(traits.table.hasSuffix("attributes {\n  key: \"owner\"\n  value: \"me\"\n}\n"))
        #expect(base.traits(of: schema).leftOut.isEmpty)
    }

    @Test func `a table is read with types, key, defaults, indexes, and what isn't known`() throws {
        let text = """
            columns { name: "id" type { type_id: UINT64 } not_null: true }
            columns {
              name: "title"
              type { optional_type { item { type_id: 4608 } } }
              from_literal { type { type_id: UTF8 } value { text_value: "no\\"ne" } }
            }
            columns { name: "price" type { optional_type { item { decimal_type { precision: 22 scale: 9 } } } } }
            columns {
              name: "seq" type { type_id: INT64 } not_null: true compression { }
              from_sequence { name: "_serial_column_seq" start_value: 1 }
            }
            columns { name: "pg" type { pg_type { type_name: "pgtext" } } }
            columns {
              name: "day" type { optional_type { item { type_id: DATE } } }
              from_literal { type { type_id: DATE } value { uint32_value: 20000 } }
            }
            primary_key: "seq" primary_key: "id"
            indexes { name: "by_title" index_columns: "title" data_columns: "price" global_index { } }
            indexes { name: "odd" index_columns: "title" global_vector_kmeans_tree_index { } }
            newer_setting: 5
            """
        let scheme = try DumpScheme([UInt8](text.utf8), file: "scheme.pb")
        #expect(
            scheme.columns.map(\.type) == [
                .uint64, .utf8, .decimal(precision: 22, scale: 9), .int64, .pg("text"), .date,
            ])
        #expect(scheme.columns.map(\.isNotNull) == [true, false, false, true, true, false])
        #expect(scheme.key == [3, 0])
        #expect(scheme.columns[1].standIn == StandIn(bytes: [UInt8]("no\"ne".utf8)))
        #expect(scheme.columns[5].standIn == StandIn(bytes: [0x20, 0x4E, 0, 0]))
        #expect(
            scheme.notes == [
                "scheme.pb: field newer_setting of the table isn't known to this version",
                "scheme.pb: field compression of column seq isn't known to this version",
                "scheme.pb: index odd is of a kind that this version doesn't know",
            ])
        let schema = try TableSchema(
            columns: scheme.columns.enumerated().map { index, column in
                Column(id: UInt32(index + 1), name: column.name, type: column.type)
            }, key: scheme.key)
        #expect(
            DumpTableText.create("shop/books", scheme, schema) == """
                CREATE TABLE `shop/books` (
                    `id` Uint64 NOT NULL,
                    `title` Utf8 DEFAULT "no\\"ne"u,
                    `price` Decimal(22,9),
                    `seq` BigSerial NOT NULL,
                    `pg` pgtext NOT NULL,
                    `day` Date,
                    PRIMARY KEY (`seq`, `id`),
                    INDEX `by_title` GLOBAL ON (`title`) COVER (`price`),
                    INDEX `odd` GLOBAL ON (`title`)
                );

                """)
    }

    @Test func `what can't be a table is told with its line`() {
        #expect(failure("") == "scheme.pb:1: the table has no columns")
        #expect(failure(Orders.columns) == "scheme.pb:1: the table has no primary key")
        #expect(
            failure(Orders.columns + "\nprimary_key: \"x\"")
                == "scheme.pb:1: the key names a column x, which isn't there")
        #expect(
            failure("\ncolumns { name: \"a\" type { list_type { } } }")
                == "scheme.pb:2: column a is of a type that this version doesn't know: list_type")
        #expect(
            failure("columns { name: \"a\" type { type_id: 9999 } }")
                == "scheme.pb:1: column a is of a type that this version doesn't know: 9999")
        #expect(
            failure("columns { name: \"a\" type { decimal_type { precision: 40 scale: 2 } } }")
                == "scheme.pb:1: column a can't be Decimal(40,2)")
        #expect(
            failure(Orders.columns + Orders.columns + Orders.key)
                == "scheme.pb:1: the table has two columns of one name")
    }

    @Test func `no damage to a scheme does worse than an error`() throws {
        let whole = [UInt8](
            (Orders.deltaScheme
                + "indexes { name: \"i\" global_index { } } a: [<b: '\\x41'>] # end\n").utf8)
        var random = SeededGenerator(seed: 14)
        var read = 0
        let rounds = 5000
        for _ in 0..<rounds {
            var bytes = whole
            for _ in 0...random.below(4) {
                let place = random.below(bytes.count)
                switch random.below(3) {
                case 0: bytes[place] = UInt8(random.below(256))
                case 1: bytes.removeSubrange(place..<min(place + random.below(20), bytes.count))
                default: bytes.insert(random.pick([0x7B, 0x7D, 0x22, 0x5C, 0x3A]), at: place)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            do {
                _ = try DumpScheme(bytes, file: "scheme.pb")
                read += 1
            } catch {
                #expect(error.message.hasPrefix("scheme.pb:"), "\(error.message)")
            }
        }
        #expect((1..<rounds).contains(read))
    }
}
