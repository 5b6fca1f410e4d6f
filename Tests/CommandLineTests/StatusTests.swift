import Foundation
import Testing

/// What `status` tells besides the points that show.
@Suite struct StatusTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        let create =
            "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
            + "INCREMENTAL_BACKUP_ENABLED = 'true'); "
        let made = try sandbox.ydbfs(
            "run", "database.db", create + "BACKUP shop; BACKUP shop; BACKUP shop")
        try #require(made.status == 0, "\(made.errors)")
    }

    @Test func `Dropped and pinned points are told`() throws {
        let shown = try sandbox.ydbfs("show", "database.db", "shop").output
        let names = shown.split(separator: "\n").dropFirst().map { $0.prefix { $0 != " " } }
        try #require(names.count == 3)
        let alter = "ALTER BACKUP COLLECTION shop"
        let altered = try sandbox.ydbfs(
            "run", "database.db", "\(alter) DROP BACKUP '\(names[0])', PIN BACKUP '\(names[1])'")
        #expect(altered.status == 0, "\(altered.errors)")
        let status = try sandbox.ydbfs("status", "database.db")
        #expect(status.status == 0)
        #expect(status.output.contains("  dropped \(names[0]): UNDROP BACKUP has it back\n"))
        #expect(status.output.contains("  pinned \(names[1])\n"))
        let json = try sandbox.ydbfs("status", "database.db", "--json").output
        let told = try sandbox.python(
            "j['collections'][0]['dropped'], [p['name'] for p in j['collections'][0]['points'] if p['pinned']]",
            json: json)
        #expect(told == "['\(names[0])'] ['\(names[1])']")
    }

    @Test func `A repository that is gone under a mount isn't called an empty one`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        #expect(try sandbox.ydbfs("status", "m").status == 0)
        try FileManager.default.moveItem(
            atPath: "\(sandbox.path)/database.db.backups", toPath: "\(sandbox.path)/away")
        for source in ["database.db", "m"] {
            let status = try sandbox.ydbfs("status", source)
            #expect(status.status == 1, "\(source)")
            #expect(
                status.output.contains("m shows shop: is its disk mounted?"), "\(status.output)")
            #expect(!status.output.contains("CREATE BACKUP COLLECTION"))
        }
        try FileManager.default.moveItem(
            atPath: "\(sandbox.path)/away", toPath: "\(sandbox.path)/database.db.backups")
        #expect(try sandbox.ydbfs("status", "database.db").status == 0)
    }
}
