import Foundation
import Testing

/// Whatever is damaged in a repository: status and verify name it, nothing is deleted meanwhile, and
/// `repair` leads out.
@Suite struct RepairTests {
    private let sandbox: Sandbox
    private static let log = "database.db.backups/collections/*/log"

    /// A full backup and two incrementals, and a copy from then: entries 1 to 4.
    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        try run(Sandbox.create + "BACKUP shop")
        for number in 10...11 { try change(number) }
        try shell("cp -a database.db.backups copy")
    }

    @discardableResult
    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script], environment: ["Y": Sandbox.binary])
    }

    private func run(_ statements: String) throws {
        let result = try sandbox.ydbfs("run", "database.db", statements)
        try #require(result.status == 0, "\(result.errors)")
    }

    private func change(_ number: Int) throws {
        try sandbox.sql("INSERT INTO orders VALUES (\(number), 'tea')")
        try run("BACKUP shop INCREMENTAL")
    }

    /// As many entries of the log.
    private func alterations(_ count: Int) -> String {
        (1...count).map { "ALTER BACKUP COLLECTION shop SET (MAX_CHAIN = '\($0)')" }
            .joined(separator: "; ")
    }

    private func status() throws -> Sandbox.Result { try sandbox.ydbfs("status", "database.db") }
    private func verify() throws -> Sandbox.Result { try sandbox.ydbfs("verify", "database.db") }

    private func repair(_ options: String...) throws -> Sandbox.Result {
        try sandbox.run(
            "/usr/bin/timeout", ["60", Sandbox.binary, "repair", "database.db"] + options)
    }

    private var pointCount: Int {
        get throws {
            let json = try sandbox.ydbfs("status", "database.db", "--json").output
            return Int(
                try sandbox.python("sum(len(c['points']) for c in j['collections'])", json: json))!
        }
    }

    /// Every file there, but for journal and results of verifications.
    private var files: Set<String> {
        get throws {
            let found = try shell("find database.db.backups -type f").output
            return Set(
                found.split(separator: "\n").map(String.init).filter {
                    $0.contains("/data/") || $0.contains("/tables/")
                })
        }
    }

    private func expectWhole(points: Int) throws {
        // A verification's result stands until the next one.
        let verified = try verify()
        let status = try status()
        #expect(status.status == 0, "\(status)")
        #expect(verified.status == 0, "\(verified)")
        #expect(try pointCount == points)
    }

    @Test func `A backup over a hole is refused by a mount that remembers what was there`() throws {
        try #require(try sandbox.ydbfs("database.db", "m").status == 0)
        try shell("rm \(Self.log)/0000000003.json")
        try sandbox.sql("INSERT INTO orders VALUES (12, 'tea')")
        try shell("echo incremental > m/shop/control")
        #expect(try sandbox.text("m/shop/operation/wait").hasPrefix("refused"))
        let said = try sandbox.text("m/errors")
        #expect(said.contains("0000000003.json is missing"), "\(said)")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        #expect(try shell("ls \(Self.log)/0000000005.json").status != 0)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }

    @Test func `What a catalog knows survives the repair, which ends`() throws {
        try run(alterations(62))
        try change(12)
        try shell("rm \(Self.log)/0000000003.json")
        let mended = try repair()
        #expect(mended.status == 0 && mended.output.contains("nothing is lost"), "\(mended)")
        #expect(mended.output.split(separator: "\n").count < 5, "\(mended.output)")
        try expectWhole(points: 4)
        try change(13)
        try expectWhole(points: 5)
        let exported = try sandbox.ydbfs("export", "database.db", "shop/latest", "out")
        #expect(exported.status == 0, "\(exported)")
    }

    @Test(arguments: ["log/*", "log", "", "all"])
    func `A log that is gone is no new collection`(_ what: String) throws {
        let before = try files.filter { what != "" && what != "all" || $0.contains("/tables/") }
        try shell(
            what == "all"
                ? "rm -rf database.db.backups/collections"
                : "rm -rf database.db.backups/collections/*/\(what)")
        for result in [try status(), try verify()] {
            let said = result.output + result.errors
            #expect(result.status == 1 && said.contains("0000000001.json is missing"), "\(said)")
        }
        for statement in [Sandbox.create, "BACKUP shop"] {
            let refused = try sandbox.ydbfs("run", "database.db", statement)
            #expect(refused.status == 1, "\(refused)")
            #expect(refused.errors.contains("repair --from COPY"), "\(refused)")
        }
        #expect(try files == before)
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0, "\(mended)")
        try expectWhole(points: 3)
        try change(12)
        try expectWhole(points: 4)
    }

    @Test func `A COPY that is none of this repository tells of no loss`() throws {
        try shell(
            """
            rm \(Self.log)/0000000003.json; mkdir empty
            $Y run database.db --repository other '\(Sandbox.create) BACKUP shop'
            """)
        let before = try shell("find database.db.backups | sort").output
        for copy in ["nowhere", "empty", "database.db", "other", "database.db.backups"] {
            let refused = try repair("--from", copy)
            #expect(refused.status == 1 && !refused.errors.isEmpty, "\(copy): \(refused)")
            #expect(try shell("find database.db.backups | sort").output == before)
        }
        // Recorded without a copy, it is undone by one.
        #expect(try repair().status == 0)
        #expect(try status().status == 1)
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0 && mended.output.contains("is recorded as lost"), "\(mended)")
        try expectWhole(points: 3)
    }

    @Test func `Exchanged entries are put back where they belong`() throws {
        try shell(
            "cd \(Self.log); mv 0000000003.json x; mv 0000000004.json 0000000003.json; mv x 0000000004.json"
        )
        #expect(try status().status == 1)
        #expect(try repair().status == 0)
        try expectWhole(points: 3)
    }

    @Test func `A lost newest entry is named, put back, and nothing is deleted meanwhile`() throws {
        let before = try files
        try shell("rm \(Self.log)/0000000004.json")
        for result in [try status(), try verify()] {
            #expect(result.status == 1, "\(result)")
            #expect(result.output.contains("0000000004.json is missing"), "\(result)")
        }
        let refused = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        #expect(refused.status == 1, "\(refused)")
        #expect(try files == before)
        try shell("cp -a database.db.backups without")
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
        // Without a copy its loss is recorded and named, until it is given up.
        try shell("rm -r database.db.backups; mv without database.db.backups")
        let recorded = try repair()
        #expect(recorded.status == 0 && recorded.output.contains("its loss is recorded"))
        for result in [try status(), try verify()] {
            #expect(result.status == 1 && result.output.contains("LOST 20"), "\(result)")
        }
        try run("BACKUP shop")
        #expect(before.isSubset(of: try files))
        #expect(!(try verify().output.contains("every point still reads")))
        let given = try repair("--forget-lost")
        #expect(given.status == 0 && given.output.contains("given up"), "\(given)")
        try expectWhole(points: 3)
        try run("BACKUP shop")
        #expect(!before.isSubset(of: try files))
        try expectWhole(points: 4)
    }

    @Test(
        arguments: [
            "*/repository.json", "*/log/0000000001.json", "*/log/0000000003.json", "*/data/*.idx",
            "*.parquet",
        ], ["mkfifo", "mkdir", "ln -s /dev/zero"])
    func `Something odd in a file's place gives way to what a copy has`(
        _ pattern: String, _ odd: String
    ) throws {
        try shell(
            """
            f=$(find database.db.backups -path '\(pattern)' | sort | head -1); rm $f; \(odd) $f
            """)
        #expect(try verify().status == 1)
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0, "\(mended)")
        try expectWhole(points: 3)
    }

    @Test(arguments: [
        "reserve", "schedules", "databases", "databases/0000000001.json", "operations",
        "collections/*/lock",
    ])
    func `Something odd beside the log is named, and moved aside`(_ name: String) throws {
        try shell("cd database.db.backups; f=$(echo \(name)); rm -rf $f; mkfifo $f")
        for result in [try status(), try verify()] {
            #expect(result.status == 1, "\(result)")
            #expect(result.output.contains("is no regular file"), "\(result)")
        }
        let mended = try repair()
        #expect(mended.status == 0 && mended.output.contains("moved aside"), "\(mended)")
        try expectWhole(points: 3)
        try change(12)
        try expectWhole(points: 4)
    }

    @Test func `A damaged record of the database keeps nobody from reading`() throws {
        try shell("echo x > database.db.backups/databases/0000000001.json")
        #expect(try verify().status == 1)
        try #require(try sandbox.ydbfs("database.db", "m").status == 0)
        #expect(try sandbox.text("m/shop/latest/orders.csv").contains("tea"))
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        // Where it isn't certain whose they are nothing is added.
        try shell("cp -a database.db.backups R")
        let refused = try sandbox.ydbfs("run", "database.db", "--repository", "R", "BACKUP shop")
        #expect(refused.status == 1 && refused.errors.contains("--adopt"), "\(refused)")
        #expect(
            try sandbox.ydbfs("run", "database.db", "--repository", "R", "--adopt", "BACKUP shop")
                .status == 0)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
        try change(12)
    }

    @Test func `A description is made from its remains, or anew when that is asked for`() throws {
        try shell("cd database.db.backups; head -c 80 repository.json > x; mv x repository.json")
        let damaged = try status()
        #expect(damaged.status == 1 && damaged.errors.contains("--new-identity"), "\(damaged)")
        #expect(try repair().status == 0)
        try expectWhole(points: 3)
        #expect(
            try shell("cmp database.db.backups/repository.json copy/repository.json").status == 0)
        try shell("rm database.db.backups/repository.json")
        #expect(try repair().status == 1)
        let made = try repair("--new-identity")
        #expect(made.status == 0, "\(made)")
        try expectWhole(points: 3)
        try change(12)
        try expectWhole(points: 4)
    }

    @Test(arguments: ["rm", "truncate -s 10"])
    func `A damaged catalog is made anew`(_ damage: String) throws {
        try run(alterations(64))
        try run("BACKUP shop INCREMENTAL")
        try shell("\(damage) database.db.backups/collections/*/data/*.cat")
        #expect(try verify().status == 1)
        let mended = try repair()
        #expect(mended.status == 0 && mended.output.contains("a new one is made"), "\(mended)")
        try expectWhole(points: 4)
    }

    @Test func `What a process that was killed left of the journal goes`() throws {
        let name = "database.db.backups/operations/.0123456789abcdef0123456789abcdef.new"
        try shell("touch -d '2 hours ago' \(name)")
        try change(12)
        #expect(!sandbox.exists(name))
    }

    // MARK: Ends of logs

    @Test func `An alteration that is gone from the log's end is missed, and put back`() throws {
        try run("ALTER BACKUP COLLECTION shop SET (MAX_CHAIN = '9')")
        try shell("rm -r copy; cp -a database.db.backups copy; rm \(Self.log)/0000000005.json")
        for result in [try status(), try verify()] {
            #expect(result.status == 1, "\(result)")
            #expect(result.output.contains("0000000005.json is missing"), "\(result)")
        }
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }

    @Test func `What a copy did by itself is none of the log's`() throws {
        let made = try sandbox.ydbfs(
            "run", "database.db", "--repository", "copy", "--adopt", "BACKUP shop INCREMENTAL")
        #expect(made.status == 0, "\(made)")
        let healthy = try repair("--from", "copy")
        #expect(healthy.status == 0 && healthy.output.contains("nothing to mend"), "\(healthy)")
        try change(12)
        try shell("rm \(Self.log)/0000000005.json")
        let mended = try repair("--from", "copy")
        #expect(mended.output.contains("its loss is recorded"), "\(mended)")
        #expect(try status().output.contains("LOST 20"))
    }

    @Test func `A collection that is gone is missed beside another one`() throws {
        let other = Sandbox.create.replacing("shop", with: "other")
        try run(other + "BACKUP other")
        try shell("rm -r copy; cp -a database.db.backups copy")
        try shell(
            """
            cd database.db.backups; c=$(ls -t collections | head -1)
            rm -r collections/$c tables/$c
            """)
        #expect(try status().status == 1)
        #expect(try verify().status == 1)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 4)
    }

    @Test(arguments: ["collections", "collections/*", "collections/*/log", "tables/*"])
    func `A link in a folder's place gives way to what a copy has`(_ folder: String) throws {
        try shell("cd database.db.backups; f=$(echo \(folder)); mv $f ../x; ln -s $PWD/../x $f")
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0, "\(mended)")
        try expectWhole(points: 3)
    }

    @Test func `A pipe in the newest entry's place hides no other`() throws {
        try shell("cd \(Self.log); rm 0000000004.json; mkfifo 0000000004.json")
        #expect(try pointCount == 2)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }
}
