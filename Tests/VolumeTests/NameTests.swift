import Bytes
import Engine
import Foundation
import Tables
import Testing

@Suite struct NameTests {
    private static let names = [
        "a/b", "a/c/d", "a", "..", ".", "../up", "/lead", "trail/", "x//y", "100%", "%2E",
        "new\nline",
        "tab\t", "Größe", "日本語", "q'uote", "dou\"ble", "back`tick", "dollar$HOME", "-rf", "*", " ",
        "orders.csv", "orders", "backup.json", "e\u{301}", "é", "semi;colon", "🙂",
        String(repeating: "long", count: 90), String(repeating: "long", count: 90) + "er",
        String(repeating: "ü", count: 125), String(repeating: "ü", count: 126), "CON", "a\\b",
    ]

    private func quoted(_ name: String) -> String {
        "\"" + name.replacingOccurrences(of: "\"", with: "\"\"") + "\""
    }

    private func makeDatabase(_ scratch: Scratch, others: String = "") throws -> String {
        let database = scratch / "database.db"
        let tables = Self.names.enumerated().map { index, name in
            """
            CREATE TABLE \(quoted(name))(id INTEGER PRIMARY KEY, number INTEGER);
            INSERT INTO \(quoted(name)) VALUES (1, \(index));
            """
        }
        try sqlite((tables + [others]).joined(separator: "\n"), on: database)
        return database
    }

    @Test(arguments: Way.allCases)
    func `tables of any name have a file of their own, which backup.json names`(way: Way) throws {
        let scratch = try Scratch()
        let database = try makeDatabase(scratch)
        try withTree(way, Product(database)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
            let full = try tree.backup("full", of: "c")
            try sqlite(
                "UPDATE \"a/b\" SET number = -1; UPDATE \"..\" SET number = -2", on: database)
            let next = try tree.backup("incremental", of: "c")
            for (point, changes) in [(full, [:]), (next, ["a/b": -1, "..": -2])] {
                let manifest = try Manifest(tree, point)
                #expect(
                    Set(manifest.tables.map { Array($0.path.utf8) })
                        == Set(Self.names.map { Array($0.utf8) }))
                for table in manifest.tables {
                    let index = Self.names.firstIndex { $0.utf8.elementsEqual(table.path.utf8) }!
                    let value = changes[table.path] ?? index
                    #expect(try tree.text(point + "/" + table.csv) == "id,number\n1,\(value)\n")
                    #expect(try tree.text(point + "/" + table.sql).hasPrefix("CREATE TABLE "))
                    let parquet = try tree.read(point + "/" + table.parquet)
                    #expect(
                        parquet.count == table.parquetBytes
                            && parquet.suffix(4) == [80, 65, 82, 49])
                }
                // All files are those named, and no more.
                let named =
                    manifest.tables.flatMap { [$0.csv, $0.parquet, $0.sql] } + [
                        "SHA256SUMS", "backup.json",
                    ]
                #expect(
                    try Set(tree.files(below: point).map { String($0.dropFirst(point.count + 1)) })
                        == Set(named))
                #expect(Set(named).count == named.count)
                #expect(named.allSatisfy { !$0.contains("..") && !$0.contains("\n") })
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `collections may have any name but those of the root's own entries`(way: Way) throws {
        let shop = try Shop(rows: 3)
        try withTree(way, Product(shop.database)) { tree in
            let names = [
                "simple", "mit Leerzeichen", "Größe", "per%cent", "new\nline", "q'uote", "日本", "-x",
                String(repeating: "n", count: 255), "latest", "a\\b",
            ]
            let own = try Set(tree.list(""))
            for (index, name) in names.enumerated() {
                try tree.write(
                    "control",
                    "CREATE BACKUP COLLECTION `\(name.replacing("\\", with: "\\\\"))` "
                        + "( TABLE orders ) WITH ( STORAGE = 'cluster' );")
                let shown = try Set(tree.list("")).subtracting(own)
                #expect(shown.count == index + 1)
            }
            for name in try Set(tree.list("")).subtracting(own) {
                let point = try tree.backup("full", of: name)
                #expect(try tree.text(point + "/orders.csv").hasPrefix("id,customer,"))
            }
            for name in ["control", "errors", "README", "operations", "CACHEDIR.TAG", ".", ".."] {
                let statement =
                    "CREATE BACKUP COLLECTION `\(name)` ( TABLE orders ) WITH (STORAGE = 'cluster')"
                #expect(errno(of: { try tree.write("control", statement + "\n") }) == EINVAL)
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `a DATABASE collection says which tables it can't hold, and holds the others`(
        way: Way
    ) throws {
        let scratch = try Scratch()
        let database = scratch / "database.db"
        try sqlite(
            """
            CREATE TABLE good(id INTEGER PRIMARY KEY, t TEXT);
            INSERT INTO good VALUES (1, 'x');
            CREATE TABLE keyless(rowid, oid, _rowid_);
            CREATE TABLE nullable(rowid TEXT PRIMARY KEY, oid, _rowid_);
            INSERT INTO nullable VALUES (NULL, 1, 2);
            CREATE VIEW seen AS SELECT * FROM good;
            CREATE VIRTUAL TABLE words USING fts5(word);
            """, on: database)
        try withTree(way, Product(database)) { tree in
            let create = "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster')\n"
            try tree.write("control", create)
            let point = try tree.backup("full", of: "c")
            let manifest = try Manifest(tree, point)
            #expect(manifest.tables.map(\.path).contains("good"))
            #expect(!manifest.tables.map(\.path).contains { ["keyless", "seen"].contains($0) })
            let refused = manifest.notBackedUp
            #expect(refused.contains { $0.path == "keyless" && $0.reason.contains("PRIMARY KEY") })
            #expect(refused.contains { $0.path == "nullable" && $0.reason.contains("NULL") })
            #expect(try tree.text("c/status").contains("not backed up keyless: "))
            #expect(manifest.tables.contains { $0.path == "words_content" })
            let list = "CREATE BACKUP COLLECTION d (TABLE keyless) WITH (STORAGE = 'cluster')\n"
            #expect(errno(of: { try tree.write("control", list) }) == EOPNOTSUPP)
            #expect(try tree.text("errors").contains("keyless has no PRIMARY KEY"))
        }
    }
}
