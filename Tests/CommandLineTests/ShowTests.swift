import Foundation
import Testing

/// `SHOW`, and what `PRUNE` and `VERIFY` have to say, by `run` and by a control handle.
@Suite struct ShowTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        let made = try sandbox.ydbfs(
            "run", "database.db", Sandbox.create, "BACKUP shop; BACKUP shop INCREMENTAL")
        try #require(made.status == 0, "\(made.errors)")
    }

    /// Words of each line of what a statement prints.
    private func lines(_ text: String) -> [[Substring]] {
        text.split(separator: "\n").map { $0.split(separator: " ") }
    }

    private func operations() throws -> Int {
        try FileManager.default.contentsOfDirectory(
            atPath: "\(sandbox.path)/database.db.backups/operations"
        ).count { $0.hasSuffix(".end.json") }
    }

    @Test func `run prints collections, backups and operations, and makes no operation`() throws {
        let before = try operations()
        let collections = try sandbox.ydbfs("run", "database.db", "SHOW COLLECTIONS")
        #expect(collections.status == 0, "\(collections.errors)")
        #expect(
            lines(collections.output).map { $0.prefix(2) } == [
                ["COLLECTION", "POINTS"], ["shop", "2"],
            ])
        #expect(try sandbox.ydbfs("list", "database.db").output == collections.output)
        let backups = try sandbox.ydbfs("run", "database.db", "show backups of shop;")
        let points = lines(backups.output)
        #expect(points[0].prefix(3) == ["POINT", "KIND", "CUT"])
        #expect(points.dropFirst().map { $0[1] } == ["full", "incremental"])
        #expect(try sandbox.ydbfs("show", "database.db", "shop").output == backups.output)
        let shown = lines(try sandbox.ydbfs("run", "database.db", "SHOW OPERATIONS").output)
        #expect(shown.dropFirst().map { $0[2] } == ["create", "full", "incremental"])
        #expect(shown.dropFirst().allSatisfy { $0[1] == "shop" && $0[3] == "done" })
        #expect(try operations() == before)
        // Each is answered when its turn comes.
        let turn = try sandbox.ydbfs(
            "run", "database.db", "SHOW BACKUPS OF shop; BACKUP shop; SHOW BACKUPS OF shop")
        let kinds = lines(turn.output).map { $0[1] }
        #expect(
            kinds == ["KIND", "full", "incremental", "4", "KIND", "full", "incremental", "full"])
        let missing = try sandbox.ydbfs("run", "database.db", "SHOW BACKUPS OF nix")
        #expect(missing.status == 1)
        #expect(
            missing.errors == """
                ydbfs: 1:17: there is no collection nix; there are: shop
                SHOW BACKUPS OF nix
                                ^

                """)
        #expect(try sandbox.ydbfs("run", "database.db", "SHOW BACKUP OF shop").status == 1)
    }

    @Test func `an answer is one JSON object on request`() throws {
        let json = try sandbox.ydbfs("run", "database.db", "--json", "SHOW BACKUPS OF shop")
        #expect(json.output.split(separator: "\n").count == 1)
        #expect(
            try sandbox.python(
                "j['statement'], [(a['kind'], a['rows'], a['changed']) for a in j['answer']]",
                json: json.output)
                == "SHOW BACKUPS OF shop [('full', 3, 3), ('incremental', 3, 0)]")
    }

    @Test func `a repository that can't be written answers all the same`() throws {
        let place = sandbox.path + "/database.db.backups"
        let script = "mount --bind $1 $1 && mount -o remount,ro,bind $1"
        let mounted = try sandbox.run("/bin/sh", ["-c", script, "-", place])
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? sandbox.run("/bin/umount", ["-l", place]) }
        for source in ["database.db", "database.db.backups"] {
            let shown = try sandbox.ydbfs(
                "run", source, "SHOW COLLECTIONS; SHOW BACKUPS OF shop; SHOW OPERATIONS")
            #expect(shown.status == 0, "\(shown.errors)")
            #expect(shown.output.split(separator: "\n").count == 2 + 3 + 4)
        }
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 1)
        // A mount that takes no statements is asked for nothing either.
        #expect(try sandbox.ydbfs("database.db", "m", "-o", "ro").status == 0)
        let shown = try sandbox.ydbfs("run", "m", "SHOW BACKUPS OF shop")
        #expect(shown.status == 0 && shown.output.split(separator: "\n").count == 3)
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
    }

    @Test func `a handle that asked is answered, after what it wrote before`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        let before = try operations()
        let script = """
            exec 3<>m/shop/control
            printf 'full; SHOW BACKUPS; SHOW OPERATIONS\\n' >&3
            cat <&3
            exec 4<>m/control
            echo 'SHOW COLLECTIONS' >&4
            cat <&4
            echo 'SHOW BACKUPS OF nix' > m/control || echo refused
            """
        let answers = try sandbox.run("/bin/bash", ["-c", script])
        let first = lines(answers.output).map { $0[0] }
        try #require(first.count == 13, "\(answers.output) \(answers.errors)")
        #expect(first[0] == "done")
        #expect(first[1] == "POINT" && first[5] == "ID")
        #expect(lines(answers.output)[4][1] == "full")
        #expect(first[6...9] == ["1", "2", "3", "4"])
        #expect(lines(answers.output)[11].prefix(2) == ["shop", "3"])
        #expect(first[12] == "refused")
        #expect(try operations() == before + 1)
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
    }

    @Test func `what was dropped and freed, and what was found, is printed`() throws {
        let pruned = try sandbox.ydbfs(
            "run", "database.db",
            "ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '1', KEEP_DROPPED = '24h')",
            "PRUNE shop; VERIFY shop")
        #expect(pruned.status == 0, "\(pruned.errors)")
        #expect(
            pruned.output.contains(
                #/note: 1 of 2 points dropped, \d+ files of \d+ bytes removed\n/#),
            "\(pruned.output)")
        #expect(pruned.output.contains(#/note: .*_full.*\n/#))
        #expect(
            pruned.output.contains(#/note: shop is right: .*level content\n/#), "\(pruned.output)")
    }
}
