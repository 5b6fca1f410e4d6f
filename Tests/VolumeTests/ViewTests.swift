import Bytes
import Engine
import Foundation
import Repository
import TestSupport
import Testing
import Volume

/// What a mount shows besides points: what changed, points by time, sums, pictures and figures. The
/// oracle is always what the points themselves show, or another program.
@Suite struct ViewTests {
    private func points(_ tree: any Tree) throws -> [String] {
        try tree.list("shop").filter { $0.hasPrefix("20") }
    }

    /// A CSV whose rows have no line feeds, by its first column.
    private func rows(_ text: String) -> [String: String] {
        var rows: [String: String] = [:]
        for line in text.split(separator: "\n").dropFirst() {
            rows[String(line.prefix { $0 != "," })] = String(line)
        }
        return rows
    }

    /// What a diff of two CSVs with an INTEGER key in front is to say.
    private func difference(_ old: String, _ new: String) -> String {
        let (before, after) = (rows(old), rows(new))
        let keys = Set(before.keys).union(after.keys).sorted { Int($0)! < Int($1)! }
        var lines = ["_change_type," + new.prefix { $0 != "\n" }]
        for key in keys where before[key] != after[key] {
            if let old = before[key], let new = after[key] {
                lines += ["update_preimage,\(old)", "update_postimage,\(new)"]
            } else if let old = before[key] {
                lines.append("delete,\(old)")
            } else {
                lines.append("insert,\(after[key]!)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    @Test(arguments: Way.allCases)
    func `the difference of any two points is that of their CSVs`(way: Way) throws {
        let shop = try Shop(rows: 3000)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            try shop.takeChain(tree, incrementals: 3, oneIn: 100)
            try shop.add(20)
            _ = try tree.backup("full", of: "shop")
            try shop.takeChain(tree, incrementals: 1, oneIn: 40)
            let points = try points(tree)
            #expect(points.count == 7)
            let texts = try points.map { try tree.text("shop/\($0)/orders.csv") }
            for (i, old) in points.enumerated() {
                for (j, new) in points.enumerated() {
                    let place = "shop/diff/\(old)..\(new)"
                    let names = try tree.list(place)
                    #expect(names.contains("summary") && names.contains("schema.sql"))
                    let expected = difference(texts[i], texts[j])
                    let isThere = names.contains("orders.csv")
                    // A table whose stored rows are the same isn't named.
                    #expect(isThere || texts[i] == texts[j], "\(place)")
                    guard isThere else { continue }
                    let found = try tree.text("\(place)/orders.csv")
                    #expect(found == expected, "\(place)")
                    #expect(
                        try tree.status("\(place)/orders.csv").bytes
                            == UInt64(found.utf8.count))
                }
            }
            for (index, point) in points.enumerated() {
                let place = "shop/changes/\(point)"
                let before = index == 0 ? "id,customer,amount,note\n" : texts[index - 1]
                guard try tree.list(place).contains("orders.csv") else {
                    #expect(before == texts[index])
                    continue
                }
                #expect(
                    try tree.text("\(place)/orders.csv") == difference(before, texts[index]))
            }
            let summary = try tree.text("shop/diff/\(points[0])..\(points[3])/summary")
            let after = rows(texts[3])
            let gone = rows(texts[0]).keys.count { after[$0] == nil }
            #expect(summary.contains("orders: 0 inserted, "))
            #expect(summary.contains(", \(gone) deleted\n"))
        }
    }

    @Test(arguments: Way.allCases)
    func `tables that came and went, and columns that were added, are told`(way: Way) throws {
        let shop = try Shop(rows: 10)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
            _ = try tree.backup("full", of: "shop")
            try shop.run(
                """
                CREATE TABLE extra(a INTEGER PRIMARY KEY); INSERT INTO extra VALUES (7);
                DROP TABLE "sub/products"; ALTER TABLE orders ADD COLUMN size INTEGER DEFAULT 3;
                UPDATE orders SET size = 4 WHERE id = 2;
                """)
            _ = try tree.backup("incremental", of: "shop")
            let points = try points(tree)
            let place = "shop/diff/\(points[0])..\(points[1])"
            #expect(
                try tree.text(place + "/summary") == """
                    extra: new table, 1 inserted, 0 updated, 0 deleted
                    orders: another schema, 0 inserted, 1 updated, 0 deleted
                    sub/products: gone, 0 inserted, 0 updated, 3 deleted

                    """)
            #expect(try tree.text(place + "/extra.csv") == "_change_type,a\ninsert,7\n")
            #expect(
                try tree.text(place + "/sub/products.csv").hasPrefix(
                    "_change_type,sku,price\ndelete,apple,3\n"))
            let schema = try tree.text(place + "/schema.sql")
            #expect(schema.contains("CREATE TABLE extra(a INTEGER PRIMARY KEY)"))
            #expect(schema.contains("-- gone:\n-- CREATE TABLE \"sub/products\""))
            #expect(errno { _ = try tree.list("shop/diff/\(points[0])..nowhere") } == ENOENT)
            #expect(errno { _ = try tree.list("shop/diff/\(points[0])") } == ENOENT)
            #expect(try tree.text("shop/diff/README").contains(points[1]))
        }
    }

    @Test(arguments: Way.allCases)
    func `points are found by time and by place`(way: Way) throws {
        let shop = try Shop()
        try withTree(way, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            #expect(errno { _ = try tree.readLink("shop/latest-full") } == ENOENT)
            #expect(errno { _ = try tree.readLink("shop/as-of/now") } == ENOENT)
            try shop.takeChain(tree, incrementals: 2, oneIn: 50)
            let points = try points(tree)
            #expect(try tree.readLink("shop/latest") == points[2])
            #expect(try tree.readLink("shop/latest-full") == points[0])
            #expect(try tree.readLink("shop/previous") == points[1])
            #expect(try tree.readLink("shop/oldest") == points[0])
            #expect(try tree.readLink("shop/as-of/now") == "../" + points[2])
            #expect(try tree.readLink("shop/as-of/2999-01-01") == "../" + points[2])
            let manifest = try JSONSerialization.jsonObject(
                with: Data(try tree.read("shop/\(points[1])/backup.json")))
            let time = try #require((manifest as? [String: Any])?["cut"] as? String)
            #expect(try tree.readLink("shop/as-of/\(time)") == "../" + points[1])
            #expect(
                try tree.text("shop/as-of/\(time)/orders.csv")
                    == tree.text("shop/\(points[1])/orders.csv"))
            #expect(errno { _ = try tree.readLink("shop/as-of/1999-01-01") } == ENOENT)
            #expect(errno { _ = try tree.readLink("shop/as-of/nonsense") } == ENOENT)
            #expect(try tree.list("shop/as-of") == ["README"])
        }
    }

    @Test(arguments: Way.allCases)
    func `a row is found by its key at each point, and its history tells what became of it`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 300)
        try shop.run(
            """
            CREATE TABLE pairs(a TEXT, b INTEGER, note TEXT, PRIMARY KEY(a, b));
            INSERT INTO pairs VALUES ('x/y', 1, 'one'), ('50%,', 2, 'two'), ('', 3, 'three'),
                (NULL, 4, 'four'), (NULL, 4, 'again');
            """)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
            _ = try tree.backup("full", of: "shop")
            try shop.run(
                "UPDATE pairs SET note = 'new' WHERE b = 2; DELETE FROM orders WHERE id = 7")
            _ = try tree.backup("incremental", of: "shop")
            try shop.run(
                """
                DELETE FROM pairs WHERE b = 2; INSERT INTO orders(id, customer) VALUES (7, 'back');
                ALTER TABLE pairs ADD COLUMN size INTEGER; UPDATE pairs SET size = 5 WHERE b = 1
                """)
            _ = try tree.backup("full", of: "shop")
            let points = try points(tree)
            let names = try tree.list("shop/by-key/\(points[0])/pairs")
            #expect(names == ["README"])
            let at = { (point: Int, name: String) throws(Errno) -> String in
                try tree.text("shop/by-key/\(points[point])/\(name).json")
            }
            #expect(try at(0, "orders/8").contains("\"id\": 8"))
            #expect(try at(0, "pairs/x%2Fy,1").contains("\"note\": \"one\""))
            #expect(try at(0, "pairs/50%25%2C,2").contains("\"note\": \"two\""))
            #expect(try at(1, "pairs/50%25%2C,2").contains("\"note\": \"new\""))
            #expect(errno { _ = try at(2, "pairs/50%25%2C,2") } == ENOENT)
            #expect(try at(0, "pairs/\"\",3").contains("\"note\": \"three\""))
            let several = try at(0, "pairs/,4")
            #expect(several.contains("\"four\"") && several.contains("\"again\""))
            #expect(errno { _ = try at(1, "orders/7") } == ENOENT)
            #expect(errno { _ = try at(1, "orders/seven") } == ENOENT)
            #expect(
                try tree.text("shop/history/pairs/50%25%2C,2.csv") == """
                    _point,_change_type,a,b,note,size
                    \(points[0]),insert,"50%,",2,two,
                    \(points[1]),update_postimage,"50%,",2,new,
                    \(points[2]),delete,"50%,",2,new,

                    """)
            let order = try tree.text("shop/history/orders/7.csv").split(separator: "\n")
            #expect(order.count == 4)
            #expect(order[1].hasPrefix("\(points[0]),insert,7,"))
            #expect(order[2].hasPrefix("\(points[1]),delete,7,"))
            #expect(order[3].hasPrefix("\(points[2]),insert,7,back,"))
            // What a name stands for changes with the newest point.
            try shop.run("UPDATE orders SET customer = 'again' WHERE id = 7")
            _ = try tree.backup("incremental", of: "shop")
            #expect(
                try tree.text("shop/history/orders/7.csv").split(separator: "\n").count == 5)
            #expect(errno { _ = try tree.text("shop/history/orders/9999.csv") } == ENOENT)
            #expect(try tree.text("shop/history/pairs/README").contains("a, b"))
        }
    }

    @Test(arguments: Way.allCases)
    func `a table that went and came again has one history`(way: Way) throws {
        let shop = try Shop(rows: 3)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
            _ = try tree.backup("full", of: "shop")
            try shop.run("DROP TABLE \"sub/products\"")
            _ = try tree.backup("incremental", of: "shop")
            try shop.run(
                """
                CREATE TABLE "sub/products"(sku TEXT PRIMARY KEY, price INTEGER, stock INTEGER);
                INSERT INTO "sub/products" VALUES ('fig', 8, 1), ('apple', 3, 2);
                """)
            _ = try tree.backup("incremental", of: "shop")
            let points = try points(tree)
            #expect(try tree.list("shop/history").sorted() == ["orders", "sub"])
            #expect(try tree.list("shop/history/sub") == ["products"])
            #expect(
                try tree.text("shop/history/sub/products/fig.csv") == """
                    _point,_change_type,sku,price,stock
                    \(points[0]),insert,fig,,
                    \(points[1]),delete,fig,,
                    \(points[2]),insert,fig,8,1

                    """)
        }
    }

    @Test(arguments: Way.allCases)
    func `a row is known by the value of its key, whether it is stored plainly or as a literal`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 3)
        try shop.run(
            """
            CREATE TABLE words(k TEXT PRIMARY KEY, v INTEGER);
            INSERT INTO words VALUES ('a', 1), ('it''s, "so"', 2), ('', 3), (NULL, 4), ('42', 5);
            CREATE TABLE numbers(k PRIMARY KEY, v TEXT) WITHOUT ROWID;
            INSERT INTO numbers VALUES (9, 'nine'), (10, 'ten'), (100, 'hundred');
            CREATE TABLE pairs(a, b REAL, v TEXT, PRIMARY KEY(a, b));
            INSERT INTO pairs VALUES (x'0041', 2.0, 'one'), (x'4142', 1e300, 'two');
            """)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true')\n")
            _ = try tree.backup("full", of: "shop")
            try shop.run(
                """
                INSERT INTO words VALUES (x'00ff', 6); UPDATE words SET v = 11 WHERE k = 'a';
                INSERT INTO numbers VALUES ('10', 'text'), (2.5, 'real'), ('a' || char(0), 'nul');
                INSERT INTO pairs VALUES ('text', 7, 'three'), (1, 'x', 'four');
                """)
            _ = try tree.backup("incremental", of: "shop")
            try shop.run(
                """
                DROP TABLE words; UPDATE numbers SET v = 'TEN' WHERE k = 10;
                DELETE FROM numbers WHERE typeof(k) <> 'integer';
                DELETE FROM pairs WHERE a IN ('text', 1);
                """)
            _ = try tree.backup("incremental", of: "shop")
            // A table that comes again is stored plainly again.
            try shop.run(
                """
                CREATE TABLE words(k TEXT PRIMARY KEY, v INTEGER);
                INSERT INTO words VALUES ('a', 1), ('it''s, "so"', 2), ('', 3), (NULL, 4), ('42', 5);
                """)
            _ = try tree.backup("full", of: "shop")
            let points = try points(tree)
            let literal = try points.map { point in
                try tree.list("shop/\(point)").contains("words.csv")
                    ? tree.text("shop/\(point)/words.csv").contains("'a'") : nil
            }
            #expect(literal == [false, true, nil, false])

            func shown(_ place: String) -> [String] {
                points.map { point in
                    do throws(Errno) {
                        return try tree.text("shop/by-key/\(point)/\(place).json")
                    } catch {
                        return error.rawValue == ENOENT ? "-" : "\(error)"
                    }
                }
            }
            let a = shown("words/a")
            #expect(a[0].contains("\"k\": \"a\"") && a[0].contains("\"v\": 1\n"))
            #expect(a[1] == a[0].replacing(": 1\n", with: ": 11\n"))
            #expect(a[2] == "-" && a[3] == a[0])
            for name in ["it's%2C \"so\"", "\"\"", "", "42"] {
                let rows = shown("words/\(name)")
                #expect(
                    rows[0].contains("\"v\": ") && rows == [rows[0], rows[0], "-", rows[0]],
                    "\(name)")
            }
            let blob = shown("words/\\x00ff")
            #expect([blob[0], blob[2], blob[3]] == ["-", "-", "-"] && blob[1].contains(": 6"))
            let ten = shown("numbers/10")
            #expect(ten[0].contains("\"k\": 10,") && ten[0].contains("\"ten\""))
            #expect(ten[2] == ten[0].replacing("ten", with: "TEN") && ten[3] == ten[2])
            #expect(ten[1].contains("\"k\": \"10\"") && ten[1].contains("\"k\": 10,"))
            #expect(shown("numbers/a%00")[1].contains("nul"))
            #expect(shown("numbers/'10'") == ["-", "-", "-", "-"])
            for name in ["\\x0041,2.0", "\\x0041,2", "AB,1e+300", "AB,1e300"] {
                let rows = shown("pairs/\(name)")
                #expect(Set(rows).count == 1 && rows[0].contains("\"v\": "), "\(name): \(rows)")
            }

            #expect(
                try tree.text("shop/history/words/a.csv") == """
                    _point,_change_type,k,v
                    \(points[0]),insert,a,1
                    \(points[1]),update_postimage,a,11
                    \(points[2]),delete,a,11
                    \(points[3]),insert,a,1

                    """)
            #expect(
                try tree.text("shop/history/words/\\x00ff.csv") == """
                    _point,_change_type,k,v
                    \(points[1]),insert,\\x00ff,6
                    \(points[2]),delete,\\x00ff,6

                    """)
            #expect(
                try tree.text("shop/history/numbers/10.csv") == """
                    _point,_change_type,k,v
                    \(points[0]),insert,10,ten
                    \(points[1]),insert,10,text
                    \(points[2]),update_postimage,10,TEN
                    \(points[2]),delete,10,text

                    """)
            #expect(
                try tree.text("shop/history/pairs/AB,1e+300.csv") == """
                    _point,_change_type,a,b,v
                    \(points[0]),insert,AB,1e+300,two

                    """)
            // Rows whose values are the same are no change, however they are stored.
            #expect(
                try tree.text("shop/diff/\(points[0])..\(points[1])/words.csv") == """
                    _change_type,k,v,k_before
                    update_preimage,,1,a
                    update_postimage,'a',11,
                    insert,X'00FF',6,

                    """)
            let again = try tree.text("shop/diff/\(points[1])..\(points[3])/words.csv")
            #expect(
                again == """
                    _change_type,k,v,k_before
                    update_preimage,,11,'a'
                    update_postimage,a,1,
                    delete,,6,X'00FF'

                    """)
        }
    }

    @Test func `sha256sum accepts the sums of a point, there and in a copy`() throws {
        let shop = try Shop(rows: 500)
        try shop.run("CREATE TABLE \"back\\slash\"(a); INSERT INTO \"back\\slash\" VALUES (1)")
        let product = try Product(shop.database)
        defer { product.close() }
        try withMount(product) { mount in
            try product.tree.write(
                "control", "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster')\n")
            _ = try product.tree.backup("full", of: "shop")
            try check(
                """
                cd "$1"/shop/latest; size=$(stat -c %s SHA256SUMS)
                sha256sum --quiet --strict -c SHA256SUMS; test "$(wc -c < SHA256SUMS)" = "$size"
                test "$(find . -type f ! -name SHA256SUMS | wc -l)" = "$(wc -l < SHA256SUMS)"
                copy=$(mktemp -d); cp -rL "$1"/shop/latest "$copy"/point; cd "$copy"/point
                sha256sum --quiet --strict -c SHA256SUMS; rm -rf "$copy"
                """, mount)
        }
    }

    @Test func `the picture is SVG and names every point, the figures are what Prometheus reads`()
        throws
    {
        let shop = try Shop()
        let product = try Product(shop.database)
        defer { product.close() }
        try withMount(product) { mount in
            try product.tree.write(
                "control", Shop.create.replacing("shop (", with: "`a\"<b>&` ("))
            let name = try #require(try product.tree.list("").first { $0.hasPrefix("a") })
            _ = try product.tree.backup("full", of: name)
            let point = try #require(try product.tree.list(name).first { $0.hasPrefix("20") })
            let python = """
                import re, sys, xml.dom.minidom
                svg = xml.dom.minidom.parse(f"{sys.argv[1]}/{sys.argv[2]}/chain.svg")
                titles = [t.firstChild.data for t in svg.getElementsByTagName("title")]
                assert len(titles) == 1 and titles[0].startswith(sys.argv[3]), titles
                label = r'[a-z_]+="(?:[^"\\\\\\n]|\\\\.)*"'
                line = re.compile(r'[a-z_]+(\\{%s(,%s)*\\})? [0-9.e+-]+$' % (label, label))
                text = open(f"{sys.argv[1]}/metrics").read()
                for found in text.splitlines():
                    assert found.startswith("# ") or line.match(found), found
                assert 'ydbfs_points{collection="a\\\\"<b>&"} 1\\n' in text, text
                assert re.search(r'ydbfs_fuse_request_duration_seconds_count\\{operation="lookup"\\} [1-9]', text)
                """
            try check("python3 -c \"$2\" \"$1\" \"$3\" \"$4\"", mount, python, name, point)
        }
    }
}
