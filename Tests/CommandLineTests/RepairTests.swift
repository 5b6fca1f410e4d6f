import Foundation
import Testing

/// Whatever is damaged in a repository: status and verify name it, nothing is deleted meanwhile, and
/// `repair` leads out.
@Suite struct RepairTests: RepairedShop {
    let sandbox: Sandbox

    init() throws { sandbox = try Self.makeSandbox() }

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
}
