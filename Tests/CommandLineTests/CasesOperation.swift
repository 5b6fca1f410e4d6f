import Foundation
import Testing

/// Neighbours, disks and processes that misbehave, through the real program: whatever happens, what was
/// acknowledged is there, or it is said that it isn't.
@Suite struct OperationCases {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script], environment: ["Y": Sandbox.binary])
    }

    private func backUp(_ statements: String = "BACKUP shop", into location: String? = nil) throws {
        let place = location.map { ["--repository", $0] } ?? []
        let result = try sandbox.run(
            Sandbox.binary, ["run", "database.db"] + place + [statements])
        try #require(result.status == 0, "\(result.errors)")
    }

    private func points(_ source: String = "database.db") throws -> [String] {
        let status = try sandbox.ydbfs("status", source, "--json")
        let names = "' '.join(p['name'] for c in j['collections'] for p in c['points'])"
        return try sandbox.python(names, json: status.output).split(separator: " ").map(String.init)
    }

    private func mount(_ location: String? = nil) throws {
        let place = location.map { ["--repository", $0] } ?? []
        let result = try sandbox.run(Sandbox.binary, ["database.db", "m"] + place)
        try #require(result.status == 0, "\(result.errors)")
    }

    /// Writes to the mount's control file and waits: what its exit and `wait` say.
    private func askMount(_ text: String) throws -> (status: Int32, wait: String) {
        let asked = try shell("/bin/echo '\(text)' > m/shop/control")
        return (asked.status, try sandbox.text("m/shop/operation/wait"))
    }

    // MARK: The repository under a mount

    @Test func `Another repository in the place of a mounted one gets nothing`() throws {
        try backUp(Sandbox.create + "BACKUP shop", into: "R")
        try backUp(Sandbox.create + "BACKUP shop; BACKUP shop", into: "other")
        try mount("R")
        _ = try shell("mv R mine; mv other R")
        let before = try shell("find R -type f | sort | xargs sha256sum").output
        try sandbox.sql("INSERT INTO orders VALUES (100, 'after')")
        let (status, wait) = try askMount("full")
        #expect(status != 0)
        #expect(wait.hasPrefix("refused: "), "\(wait)")
        #expect(wait.contains("another repository"))
        #expect(try sandbox.text("m/shop/status").contains("another repository"))
        #expect(try shell("find R -type f | sort | xargs sha256sum").output == before)
        #expect(try sandbox.ydbfs("verify", "R").status == 0)
        // Its own one again: it goes on, in that one.
        _ = try shell("mv R other; mv mine R")
        let (again, done) = try askMount("full")
        #expect(again == 0 && done.hasPrefix("done "), "\(done)")
        #expect(try sandbox.ydbfs("export", "R", "shop/latest", "out").status == 0)
        #expect(try sandbox.text("out/orders.csv").contains("after"))
    }

    @Test func `A mounted repository that is gone isn't made anew`() throws {
        try backUp(Sandbox.create + "BACKUP shop", into: "R")
        try mount("R")
        _ = try shell("mv R away")
        let (status, wait) = try askMount("full")
        #expect(status != 0 && wait.hasPrefix("refused: "), "\(wait)")
        #expect(!sandbox.exists("R"))
    }

    @Test func `An older copy put back under a mount is continued, and what is gone is said`()
        throws
    {
        try backUp(Sandbox.create + "BACKUP shop")
        _ = try shell("cp -a database.db.backups older")
        try mount()
        for _ in 0..<2 { #expect(try askMount("full").wait.hasPrefix("done ")) }
        let gone = try points().dropFirst()
        let kept = try sandbox.text("m/shop/\(try points()[1])/orders.csv")
        _ = try shell("rm -rf database.db.backups; mv older database.db.backups")
        try sandbox.sql("INSERT INTO orders VALUES (100, 'after')")
        let (status, wait) = try askMount("full")
        #expect(status == 0 && wait.hasPrefix("done "), "\(wait)")
        let errors = try sandbox.text("m/errors")
        for point in gone { #expect(errors.contains(point), "\(errors)") }
        let now = try points()
        #expect(now.count == 2)
        #expect(try sandbox.text("m/shop/latest/orders.csv") == kept + "100,after\n")
        #expect(try sandbox.text("m/shop/\(now[0])/orders.csv") == kept)
        #expect(try sandbox.ydbfs("verify", "database.db").status == 0)
        #expect(try sandbox.ydbfs("export", "database.db", "shop/latest", "out").status == 0)
        #expect(try sandbox.text("out/orders.csv").contains("after"))
    }

    @Test
    func `A description that is missing beside data is put back from a copy, never made anew`()
        throws
    {
        try backUp(Sandbox.create + "BACKUP shop")
        _ = try shell("cp -a database.db.backups copy; rm database.db.backups/repository.json")
        for command in [
            "status database.db", "run database.db 'BACKUP shop'", "verify database.db",
        ] {
            let result = try shell("$Y \(command)")
            #expect(result.status == 1, "\(command)")
            #expect(result.errors.contains("repository.json is missing"), "\(result.errors)")
        }
        let created = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        #expect(created.status == 1 && !sandbox.exists("database.db.backups/repository.json"))
        #expect(try sandbox.ydbfs("repair", "database.db").status == 1)
        let dry = try sandbox.ydbfs("repair", "database.db", "--from", "copy", "--dry-run")
        #expect(dry.output.hasPrefix("would mend "), "\(dry.output)")
        #expect(!sandbox.exists("database.db.backups/repository.json"))
        let mended = try sandbox.ydbfs("repair", "database.db", "--from", "copy")
        #expect(mended.status == 0, "\(mended.errors)")
        #expect(try sandbox.ydbfs("verify", "database.db").status == 0)
        #expect(try points().count == 1)
    }

    @Test func `Repair heals files from a copy, and names what no copy has`() throws {
        try backUp(Sandbox.create + "BACKUP shop")
        _ = try shell("cp -a database.db.backups copy")
        try sandbox.sql("INSERT INTO orders VALUES (3, 'milk')")
        try backUp("BACKUP shop INCREMENTAL")
        let damage = """
            f=$(find copy/tables -name '*.parquet' | head -1); g=database.db.backups${f#copy}
            printf x | dd of=$g bs=1 seek=20 conv=notrunc 2>/dev/null; echo $g
            """
        let damaged = try shell(damage).output.trimmingCharacters(in: .newlines)
        #expect(try sandbox.ydbfs("verify", "database.db").status == 1)
        let hopeless = try sandbox.ydbfs("repair", "database.db")
        #expect(hopeless.status == 1)
        #expect(hopeless.errors.contains("no copy has it"), "\(hopeless.errors)")
        let mended = try sandbox.ydbfs("repair", "database.db", "--from", "copy")
        #expect(mended.status == 0, "\(mended.errors)")
        #expect(mended.output.contains("put back from"))
        #expect(try sandbox.ydbfs("verify", "database.db").status == 0)
        #expect(sandbox.exists(damaged + ".damaged"))
        #expect(
            try sandbox.ydbfs("repair", "database.db").output.contains("there is nothing to mend"))
    }

    @Test func `A lost entry is named, what is left is shown, and repair lets backups go on`()
        throws
    {
        try backUp(Sandbox.create + "BACKUP shop")
        for _ in 0..<3 { try backUp() }
        let names = try points()
        _ = try shell("rm database.db.backups/collections/*/log/0000000003.json")
        let status = try sandbox.ydbfs("status", "database.db")
        #expect(status.output.contains("0000000003.json is missing"))
        #expect(try points() == [names[0], names[2], names[3]])
        let refused = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        #expect(refused.status == 1 && refused.errors.contains("0000000003.json is missing"))
        for name in [names[0], names[3], "latest"] {
            let exported = try sandbox.ydbfs("export", "database.db", "shop/\(name)", "out-\(name)")
            #expect(exported.status == 0, "\(exported.errors)")
        }
        let verified = try sandbox.ydbfs("verify", "database.db")
        #expect(verified.status == 1 && verified.output.contains("0000000003.json is missing"))
        let mended = try sandbox.ydbfs("repair", "database.db")
        #expect(mended.status == 0 && mended.output.contains("its loss is recorded"))
        try backUp()
        #expect(try points().count == 4)
    }

    @Test func `An unreadable end of the log is no older newest point`() throws {
        try backUp(Sandbox.create + "BACKUP shop; BACKUP shop")
        let names = try points()
        _ = try shell("echo x > database.db.backups/collections/*/log/0000000003.json")
        let latest = try sandbox.ydbfs("export", "database.db", "shop/latest", "out")
        #expect(latest.status == 1 && latest.errors.contains("it isn't certain"))
        #expect(try sandbox.ydbfs("export", "database.db", "shop/\(names[0])", "one").status == 0)
        try mount()
        #expect(!sandbox.exists("m/shop/latest"))
        #expect(sandbox.exists("m/shop/\(names[0])/orders.csv"))
        let restored = try sandbox.ydbfs("run", "database.db", "--into", "new.db", "RESTORE shop")
        #expect(restored.status == 1 && restored.errors.contains("name one"))
    }

    // MARK: Whose backups

    @Test func `Backups of another database are taken over on request alone`() throws {
        try backUp(Sandbox.create + "BACKUP shop", into: "R")
        _ = try shell("cp database.db other.db")
        let refused = try sandbox.ydbfs("run", "other.db", "--repository", "R", "BACKUP shop")
        #expect(refused.status == 1 && refused.errors.contains("--adopt"), "\(refused.errors)")
        let mounted = try sandbox.ydbfs("other.db", "m", "--repository", "R")
        #expect(mounted.status == 1 && mounted.errors.contains("--adopt"), "\(mounted.errors)")
        let adopted = try sandbox.ydbfs(
            "run", "other.db", "--repository", "R", "--adopt", "BACKUP shop")
        #expect(adopted.status == 0 && adopted.errors.contains("taken over"), "\(adopted.errors)")
        // Once is enough, and the first one is still known.
        #expect(
            try sandbox.ydbfs("run", "other.db", "--repository", "R", "BACKUP shop").status == 0)
        try backUp(into: "R")
        // A file that was moved or replaced is the same database.
        _ = try shell("mv database.db moved.db")
        #expect(
            try sandbox.ydbfs("run", "moved.db", "--repository", "R", "BACKUP shop").status == 0)
        _ = try shell("cp other.db database.db")
        try backUp(into: "R")
    }

    @Test func `Backups beside a copied database are its own, with a note`() throws {
        try backUp(Sandbox.create + "BACKUP shop")
        _ = try shell("mkdir there; cp -r database.db database.db.backups there")
        let first = try sandbox.ydbfs("run", "there/database.db", "BACKUP shop")
        #expect(first.status == 0 && first.errors.contains("taken for its own"), "\(first.errors)")
        let second = try sandbox.ydbfs("run", "there/database.db", "BACKUP shop")
        #expect(second.status == 0 && second.errors.isEmpty, "\(second.errors)")
    }

    // MARK: Processes that end

    @Test func `A backup killed with its container has failed, and nobody waits for it`() throws {
        try sandbox.sql(
            """
            CREATE TABLE big(id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            INSERT INTO big SELECT i, randomblob(900) FROM n;
            """)
        try backUp("CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster')")
        _ = try shell(
            """
            unshare --pid --fork --mount-proc --kill-child=KILL \
                timeout -s KILL 1.5 $Y run database.db --rate 300K 'BACKUP shop'
            """)
        let status = try sandbox.ydbfs("status", "database.db")
        #expect(!status.output.contains("running since"), "\(status.output)")
        #expect(status.output.contains("its process was killed"), "\(status.output)")
        try mount()
        #expect(try sandbox.text("m/operations/2/state") == "failed\n")
        let wait = try sandbox.run("/usr/bin/timeout", ["10", "cat", "m/operations/2/wait"])
        #expect(wait.status == 0 && wait.output.hasPrefix("failed: its process was killed"))
        #expect(try askMount("full").wait.hasPrefix("done "))
        let owners = try shell("ls database.db.backups/operations | grep -c owner-").output
        #expect(owners == "1\n")
    }

    // MARK: Wrong clocks

    private func at(_ time: String, _ arguments: String...) throws -> Sandbox.Result {
        try sandbox.run(at: time, arguments)
    }

    @Test func `A backup under a clock of long ago is given for no time`() throws {
        try backUp(Sandbox.create)
        try sandbox.sql("UPDATE orders SET item = 'good'")
        #expect(try at("2026-01-28 10:00:00", "run", "database.db", "BACKUP shop").status == 0)
        try sandbox.sql("UPDATE orders SET item = 'ruined'")
        for time in ["1970-01-01 00:00:30", "2026-01-28 14:00:00"] {
            let result = try at(time, "run", "database.db", "BACKUP shop INCREMENTAL")
            #expect(result.status == 0, "\(result.errors)")
        }
        let restored = try at(
            "2026-01-28 15:00:00", "run", "database.db", "--into", "r.db",
            "RESTORE shop AT '2026-01-28T11:00'")
        #expect(restored.status == 0, "\(restored.errors)")
        let rows = try sandbox.run(
            "/usr/bin/sqlite3", ["r.db", "SELECT DISTINCT item FROM orders"])
        #expect(rows.output == "good\n")
    }

    @Test func `A backup under a clock of the future names no later one`() throws {
        try backUp(Sandbox.create + "BACKUP shop")
        let ahead = try at("2042-03-16 00:00:00", "run", "database.db", "BACKUP shop")
        #expect(ahead.output.contains(" 20420316000000Z_full"), "\(ahead.output)")
        let today = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        #expect(today.status == 0 && !today.output.contains("2042"), "\(today.output)")
        try backUp("ALTER BACKUP COLLECTION shop DROP BACKUP '20420316000000Z_full'")
        let later = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        #expect(later.status == 0 && !later.output.contains("2042"), "\(later.output)")
    }
}
