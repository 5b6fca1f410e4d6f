import Foundation
import Testing
import ydbfs

/// Words that people type: short forms, and what is nearly right.
@Suite struct WordsTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    private func refusal(_ arguments: String...) throws -> String {
        let result = try sandbox.run(Sandbox.binary, arguments)
        #expect(result.status == 2 || result.status == 1, "\(arguments) \(result.output)")
        #expect(result.errors.split(separator: "\n").count <= 3, "\(result.errors)")
        return result.errors
    }

    @Test func `Words that are nearly right are answered with the right one`() throws {
        #expect(try refusal("mout", "database.db", "m").contains("mout: did you mean mount?"))
        #expect(try refusal("verfy", "database.db").contains("verfy: did you mean verify?"))
        #expect(try refusal("--verson").contains("--verson: did you mean --version?"))
        #expect(try refusal("m", "database.db").contains("is the database: ydbfs database.db m "))
        #expect(try refusal().contains("usage: ydbfs SOURCE MOUNTPOINT"))
        let quotes = try refusal("run", "database.db", "BACKUP", "shop")
        #expect(quotes.contains("put it in quotes: 'BACKUP shop'"))
        let statement = try refusal("run", "database.db", "BAKUP shop")
        #expect(statement.contains("found \"BAKUP\"; did you mean BACKUP?"), "\(statement)")
        let setting = try refusal(
            "run", "database.db", "ALTER BACKUP COLLECTION shop SET (KEEP_DAYLY = '7')")
        #expect(setting.contains("unknown setting \"KEEP_DAYLY\"; did you mean KEEP_DAILY?"))
        // A file may be called as it likes.
        try FileManager.default.copyItem(
            atPath: "\(sandbox.path)/database.db", toPath: "\(sandbox.path)/mout")
        let mounted = try sandbox.ydbfs("mout", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(try sandbox.ydbfs("umount", "m").status == 0)
    }

    @Test func `Options may stand before the verb`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop").status == 0)
        let quiet = try sandbox.ydbfs("-q", "run", "database.db", "BACKUP shop INCREMENTAL")
        #expect(quiet.status == 0 && quiet.output == "" && quiet.errors == "", "\(quiet)")
        let json = try sandbox.ydbfs("--json", "status", "database.db").output
        #expect(try sandbox.python("j['collections'][0]['name']", json: json) == "shop")
        let elsewhere = try sandbox.ydbfs(
            "--repository", "database.db.backups", "--last", "1", "status", "database.db")
        #expect(elsewhere.status == 0 && elsewhere.output.contains("database.db.backups"))
        // A value may be called like a verb.
        #expect(try sandbox.ydbfs("--repository", "run", "database.db", "m").status == 0)
        #expect(try sandbox.ydbfs("status", "m").output.contains(sandbox.path + "/run\n"))
        #expect(try sandbox.ydbfs("--now", "unmount", "m").status == 0)
        #expect(try sandbox.ydbfs("-o", "ro", "database.db", "m").status == 0)
        #expect(try refusal("run", "m", "BACKUP shop").contains("it is mounted read-only"))
        #expect(try sandbox.ydbfs("--help", "run").output.contains("Carry out statements"))
        #expect(
            try refusal("-q", "rn", "database.db").contains("unknown command rn: did you mean run?")
        )
        #expect(try refusal("-x", "run", "database.db").contains("Unknown option '-x'"))
        #expect(try refusal("-q", "status", "database.db").contains("Unknown option '-q'"))
        #expect(try refusal("-q").contains("usage: ydbfs SOURCE MOUNTPOINT"))
        #expect(try sandbox.run("/bin/cp", ["database.db", "run"]).status == 0)
        #expect(try sandbox.ydbfs("-o", "ro", "--", "run", "n").status == 0)
        #expect(try sandbox.ydbfs("unmount", "n").status == 0)
        #expect(
            try refusal("status") == "ydbfs: SOURCE is missing (ydbfs status --help explains)\n")
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func `Completions are made as mount-examples install asks for them`(_ shell: String) throws {
        let script = try sandbox.ydbfs("--generate-completion-script", shell)
        #expect(script.status == 0 && script.output.contains("unmount"), "\(script.errors)")
        let joined = try sandbox.ydbfs("--generate-completion-script=\(shell)")
        #expect(joined.output == script.output, "\(joined.errors)")
    }

    @Test func `Nothing is no name, and a pipe that nobody reads is no log`() throws {
        #expect(try sandbox.ydbfs("backup", "database.db").status == 0)
        #expect(
            try refusal("export", "database.db", "database/latest", "").contains(
                "DIRECTORY is empty: name one (ydbfs export --help explains)"))
        #expect(!sandbox.exists("SHA256SUMS"))
        #expect(
            try refusal("status", "database.db", "--repository", "").contains("LOCATION is empty"))
        let pipe = try sandbox.run(
            "/bin/sh",
            ["-c", "mkfifo pipe; exec timeout 20 \(Sandbox.binary) database.db m -o log=pipe"])
        #expect(pipe.status == 1 && pipe.errors.contains("can't open the log file"), "\(pipe)")
        #expect(try sandbox.mounts.isEmpty)
    }

    @Test func `Which options have a value is known before the verb is`() throws {
        let help = try sandbox.ydbfs("--experimental-dump-help").output
        let valued = try sandbox.python(
            """
            ' '.join(sorted({('-' if n['kind'] == 'short' else '--') + n['name']
                for c in j['command']['subcommands'] for a in c.get('arguments', [])
                if a['kind'] == 'option' for n in a['names']} - {'--help', '-h', '--version'}))
            """, json: help)
        let generate = "--generate-completion-script"
        #expect(
            valued == UnknownWords.valued.filter { $0 != generate }.sorted().joined(separator: " "))
    }

    @Test func `The short forms do what their statements do`() throws {
        let first = try sandbox.ydbfs("backup", "database.db")
        #expect(first.status == 0, "\(first.errors)")
        #expect(first.errors.contains("making database, of the whole database"))
        #expect(first.output.contains("_full rows=3 "), "\(first.output)")
        try sandbox.sql("INSERT INTO orders VALUES (3, 'milk')")
        #expect(try sandbox.ydbfs("backup", "database.db").output.contains("_incremental rows=1 "))
        #expect(
            try sandbox.ydbfs("backup", "database.db", "database", "--full").output
                .contains("_full rows=4 "))
        let list = try sandbox.ydbfs("list", "database.db").output.split(separator: "\n")
        #expect(list.count == 2 && list[1].hasPrefix("database         3  20"), "\(list)")
        try sandbox.sql("DROP TABLE orders")
        let restored = try sandbox.ydbfs(
            "restore", "database.db", "--table", "orders", "--at", "oldest")
        #expect(restored.status == 0, "\(restored.errors)")
        let rows = try sandbox.run(
            "/usr/bin/sqlite3", ["database.db", "SELECT count(*) FROM orders"])
        #expect(rows.output == "2\n")
        let whole = try sandbox.ydbfs("restore", "database.db", "--into", "new.db")
        #expect(whole.status == 0, "\(whole.errors)")
        let copy = try sandbox.run(
            "/usr/bin/sqlite3",
            ["new.db", "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM products)"])
        #expect(copy.output == "3|1\n")
        // A file may be called as no collection can be.
        for name in ["control.db", "..db"] {
            try FileManager.default.copyItem(
                atPath: "\(sandbox.path)/database.db", toPath: "\(sandbox.path)/\(name)")
            let advice = try refusal("backup", name)
            #expect(advice.contains("ydbfs backup \(name) NAME makes one"), "\(advice)")
            #expect(try sandbox.ydbfs("backup", name, "it").status == 0)
        }
        // WITH may be left out, and of several collections the name is asked for.
        let other = try sandbox.ydbfs(
            "run", "database.db", "CREATE BACKUP COLLECTION `it's` (TABLE orders)")
        #expect(other.status == 0, "\(other.errors)")
        let which = try sandbox.ydbfs("backup", "database.db")
        #expect(which.status == 2 && which.errors.contains("There are: database, it's"))
        #expect(try sandbox.ydbfs("backup", "database.db", "it's").output.contains("_full rows=2 "))
        let wrong = try sandbox.ydbfs("backup", "database.db", "its")
        #expect(wrong.status == 1 && wrong.errors.contains("there is no collection its"))
    }
}
