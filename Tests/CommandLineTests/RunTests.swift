import Foundation
import Testing

/// `run` and `status` without a mount, through the real program.
@Suite struct RunTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    @Test func `A collection is made, backed up and continued`() throws {
        let result = try sandbox.ydbfs(
            "run", "database.db", Sandbox.create, "BACKUP shop; BACKUP shop INCREMENTAL")
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(lines.count == 3)
        #expect(lines[0].hasPrefix("operation 1 done "))
        let point = #/operation 2 done \d{14}Z_full rows=3 bytes=\d+ seconds=[\d.]+/#
        #expect(lines[1].wholeMatch(of: point) != nil, "\(lines[1])")
        #expect(lines[2].contains("Z_incremental rows=0 "), "\(lines[2])")
        #expect(result.errors == "")
        #expect(sandbox.exists("database.db.backups/repository.json"))
    }

    @Test func `Statements come from the standard input too`() throws {
        let quickstart = """
            CREATE BACKUP COLLECTION `my_backup_collection`
                ( TABLE `/Root/database/orders`
                , TABLE `/Root/database/products`
                )
            WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' );
            BACKUP `my_backup_collection`;
            BACKUP `my_backup_collection` INCREMENTAL;
            """
        let result = try sandbox.ydbfs("run", "database.db", input: quickstart)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.split(separator: "\n").count == 3)
    }

    @Test func `Each operation is a JSON object on request`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        let result = try sandbox.ydbfs(
            "run", "database.db", "--json", "BACKUP shop WITH (uid = 'nightly')")
        #expect(result.status == 0)
        #expect(try sandbox.python("j['state']", json: result.output) == "done")
        #expect(try sandbox.python("j['rows']", json: result.output) == "3")
        #expect(try sandbox.python("j['notes']", json: result.output) == "[]")
        let statement = try sandbox.python("j['statement']", json: result.output)
        #expect(statement == "BACKUP shop WITH (uid = 'nightly')")
        #expect(try sandbox.python("j['point'][-5:]", json: result.output) == "_full")
    }

    @Test func `A token counts once`() throws {
        let backup = "BACKUP shop WITH (uid = 'nightly')"
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create, backup).status == 0)
        let again = try sandbox.ydbfs("run", "database.db", backup)
        #expect(again.status == 1)
        #expect(again.errors.contains("nightly"))
        #expect(try points().count == 1)
    }

    private func points() throws -> [String] {
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        let names = "' '.join(p['name'] for c in j['collections'] for p in c['points'])"
        return try sandbox.python(names, json: status.output).split(separator: " ").map(String.init)
    }

    @Test func `A syntax error shows line, column and a caret, and nothing is done`() throws {
        let text = Sandbox.create + "\nBACKUP shop;\nBACKUP shop INCREMENTALLY;"
        let result = try sandbox.ydbfs("run", "database.db", input: text)
        #expect(result.status == 1)
        let lines = result.errors.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[0].hasPrefix("ydbfs: 4:13: "), "\(result.errors)")
        #expect(lines[1] == "BACKUP shop INCREMENTALLY;")
        #expect(lines[2] == "            ^")
        #expect(result.output == "")
        #expect(!sandbox.exists("database.db.backups"))
    }

    @Test func `A refusal points at what it is about`() throws {
        let result = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c ( TABLE orders, TABLE nothing ) WITH (STORAGE = 'cluster')")
        #expect(result.status == 1)
        let lines = result.errors.split(separator: "\n")
        #expect(lines[0].contains("nothing") && lines[0].contains("orders"))
        #expect(lines[2] == String(repeating: " ", count: 49) + "^")
        #expect(!sandbox.exists("database.db.backups"))
    }

    @Test func `An incremental needs a full`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        let result = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
        #expect(result.status == 1)
        #expect(result.errors.contains("full"))
    }

    @Test func `After a failure the later statements are cancelled`() throws {
        try sandbox.sql("CREATE TABLE bad (id INTEGER PRIMARY KEY)")
        _ = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION two ( TABLE bad ) WITH (STORAGE = 'cluster')")
        try sandbox.sql("DROP TABLE bad")
        let result = try sandbox.ydbfs("run", "database.db", "BACKUP two; BACKUP two")
        #expect(result.status == 1)
        let lines = result.errors.split(separator: "\n")
        #expect(lines.count == 2, "\(result.errors)")
        #expect(lines[0].contains("failed: "))
        #expect(lines[1].contains("cancelled: statement 1 failed"), "\(lines[1])")
    }

    @Test(arguments: [
        ["database.db"], ["mount", "database.db"], ["run"], ["status"], ["unmount"],
        ["status", "database.db", "--xml"], ["run", "database.db"],
        ["mount", "database.db", "m", "-o", "nonsense"], ["database.db", "m", "n"],
        ["verify"], ["verify", "database.db", "--level", "deep"], ["export", "database.db"],
        ["export", "database.db", "shop/latest", "out", "--format", "xml"],
        ["status", "database.db", "--table", "orders"],
        ["status", "database.db", "shop", "--sql", "shop/latest"],
    ])
    func `Wrong usage exits with 2 and one line`(_ arguments: [String]) throws {
        let result = try sandbox.run(Sandbox.binary, arguments)
        #expect(result.status == 2, "\(arguments)")
        #expect(result.output == "")
        #expect(result.errors.hasPrefix("ydbfs: "))
        #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
    }

    @Test(arguments: [
        ["rekey", "x"], ["export", "database.db", "shop/latest", "s3://b/p"],
        ["run", "database.db", "--into", "grpc://h:1/d", "RESTORE shop"],
        ["mount", "database.db", "m", "-o", "encrypt"], ["grpc://h:1/d", "m"],
        ["run", "s3://b/p", "BACKUP shop"],
    ])
    func `What isn't built fails with a reason and does nothing`(_ arguments: [String]) throws {
        let result = try sandbox.run(Sandbox.binary, arguments)
        #expect(result.status == 1, "\(arguments)")
        let line = result.errors.prefix { $0 != "\n" }
        #expect(line.hasPrefix("ydbfs: ") && line.contains("built yet"), "\(result.errors)")
        #expect(!sandbox.exists("m") && !sandbox.exists("other.db"))
    }

    @Test func `Help and version are no errors`() throws {
        for arguments in [["--help"], ["mount", "--help"], ["help", "run"], ["status", "-h"]] {
            let result = try sandbox.run(Sandbox.binary, arguments)
            #expect(result.status == 0)
            #expect(result.output.contains("USAGE: "))
            #expect(result.errors == "")
        }
        let version = try sandbox.ydbfs("--version").output
        #expect(version.hasPrefix("ydbfs ") && version.contains("repository format "))
    }

    // MARK: Interruption

    @Test func `Ctrl-C cancels what runs and leaves nothing half made`() throws {
        try sandbox.sql(
            """
            CREATE TABLE big (id INTEGER PRIMARY KEY, v TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500000)
                INSERT INTO big SELECT i, hex(i) || 'text' FROM n;
            """)
        let create = "CREATE BACKUP COLLECTION big ( TABLE big ) WITH (STORAGE = 'cluster')"
        #expect(try sandbox.ydbfs("run", "database.db", create).status == 0)
        let running = try sandbox.start(Sandbox.binary, ["run", "database.db", "BACKUP big"])
        let journal = "database.db.backups/operations/0000000002.json"
        for _ in 0..<500 where !sandbox.exists(journal) { usleep(10_000) }
        // Between the journal and the watch for signals lie microseconds.
        usleep(50_000)
        kill(running.process.processIdentifier, SIGINT)
        let result = try running.end()
        #expect(result.status == 1)
        #expect(result.errors.contains("operation 2 cancelled"), "\(result.errors)")
        #expect(try points().isEmpty)
        let again = try sandbox.ydbfs("run", "database.db", "BACKUP big")
        #expect(again.status == 0, "\(again.errors)")
        #expect(again.output.contains("rows=1500000"))
    }

    // MARK: Status

    @Test func `Status tells collections and points, to people and programs`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop")
        try sandbox.sql("INSERT INTO orders VALUES (3, 'x'); DELETE FROM orders WHERE id = 1")
        _ = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")

        let json = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(json.status == 0)
        for (expression, expected) in [
            ("j['source']", "database.db"), ("j['database']", "/Root/database"),
            ("j['location']", sandbox.path + "/database.db.backups"), ("j['mounts']", "[]"),
            ("j['damage']", "[]"), ("'source_error' in j", "False"),
            ("[c['name'] for c in j['collections']]", "['shop']"),
            ("j['collections'][0]['tables']", "['orders', 'products']"),
            ("j['collections'][0]['incremental']", "True"),
            ("j['collections'][0]['database']", "False"),
            ("[p['kind'] for p in j['collections'][0]['points']]", "['full', 'incremental']"),
            ("[p['rows'] for p in j['collections'][0]['points']]", "[3, 3]"),
            ("j['collections'][0]['points'][1]['inserted']", "1"),
            ("j['collections'][0]['points'][1]['deleted']", "1"),
            ("j['collections'][0]['points'][1]['updated']", "0"),
            (
                "j['collections'][0]['points'][1]['parent']"
                    + " == j['collections'][0]['points'][0]['name']", "True"
            ),
            (
                "j['collections'][0]['newest'] == j['collections'][0]['points'][1]['name']", "True"
            ),
            (
                "j['collections'][0]['bytes']"
                    + " == sum(p['bytes'] for p in j['collections'][0]['points']) > 0", "True"
            ),
        ] {
            #expect(try sandbox.python(expression, json: json.output) == expected, "\(expression)")
        }
        let text = try sandbox.ydbfs("status", "database.db", "shop")
        #expect(text.status == 0)
        for name in try points() { #expect(text.output.contains(name)) }
    }

    @Test func `Status needs no database, and an unknown collection is an error`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop")
        try FileManager.default.removeItem(atPath: sandbox.path + "/database.db")
        let gone = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(gone.status == 0)
        #expect(
            try sandbox.python("'No such file' in j['source_error']", json: gone.output) == "True")
        let repository = try sandbox.ydbfs("status", "database.db.backups")
        #expect(repository.status == 0)
        #expect(repository.output.contains("_full"))
        let unknown = try sandbox.ydbfs("status", "database.db", "shopp")
        #expect(unknown.status == 1)
        #expect(unknown.errors.contains("shopp") && unknown.errors.contains("shop"))
        #expect(!sandbox.exists("database.db"))
    }

    @Test func `Status tells the last failure`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        try sandbox.sql("DROP TABLE orders; DROP TABLE products")
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 1)
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        let state = try sandbox.python(
            "j['collections'][0]['last_error']['state']", json: status.output)
        #expect(state == "failed")
    }

    @Test func `Damage in one collection is said, and the others are shown`() throws {
        _ = try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop")
        _ = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION other ( TABLE orders ) WITH (STORAGE = 'cluster')")
        let logs = try sandbox.run("/usr/bin/find", ["database.db.backups", "-name", "*2.json"])
        let second = try #require(logs.output.split(separator: "\n").first { $0.contains("/log/") })
        let path = "\(sandbox.path)/\(second)"
        let bytes = try #require(FileManager.default.contents(atPath: path))
        try bytes.prefix(bytes.count / 2).write(to: URL(filePath: path))

        let status = try sandbox.ydbfs("status", "database.db")
        #expect(status.status == 1)
        #expect(status.output.contains("DAMAGED") && status.output.contains("other"))
        let json = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(json.status == 1)
        #expect(try sandbox.python("len(j['damage'])", json: json.output) == "1")
        #expect(try sandbox.ydbfs("status", "database.db", "other").status == 0)
    }
}
