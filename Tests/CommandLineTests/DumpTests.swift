import Foundation
import Testing

/// A dump of YDB's backup collections as SOURCE, by the program itself.
@Suite struct DumpTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private func makeDumps() throws {
        let program =
            URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().path + "/DumpSourceTests/dump.py"
        let result = try sandbox.run("/usr/bin/env", ["python3", program, "golden", "."])
        try #require(result.status == 0, "\(result.errors)")
    }

    private func shell(_ script: String) throws -> String {
        let result = try sandbox.run("/bin/sh", ["-c", script])
        #expect(result.status == 0, "\(script): \(result.errors)")
        return result.output
    }

    /// Names, sizes and times of all files below a place.
    private func listing(_ place: String) throws -> String {
        try shell("find \(place) -printf '%p %s %T@\\n' | sort")
    }

    @Test
    func `One command shows every point; the next one imports nothing; the dump stays as it is`()
        throws
    {
        try makeDumps()
        let before = try listing("generationC")
        let mounted = try sandbox.ydbfs("generationC", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(mounted.output.contains("4 backup points in 1 collection"))
        for point in try shell("ls generationC.expected").split(separator: "\n") {
            _ = try shell(
                "cd generationC.expected/\(point) && for f in $(find . -name '*.csv'); do "
                    + "cmp $f ../../m/generationC/\(point)/$f || exit 1; done")
        }
        #expect(try shell("readlink m/generationC/latest") == "20250821171519Z_incremental\n")
        #expect(
            try shell("ls m/generationC/latest")
                == "SHA256SUMS\nall\nbackup.json\ngaps.csv\ngaps.parquet\ngaps.sql\n")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)

        let stored = try listing("generationC.backups")
        #expect(try sandbox.ydbfs("mount", "generationC", "m", "-o", "ro").status == 0)
        #expect(try shell("ls m/generationC | grep -c Z_") == "4\n")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let status = try sandbox.ydbfs("status", "generationC")
        #expect(status.status == 0 && status.errors == "", "\(status.errors)")
        #expect(try listing("generationC.backups") == stored)
        #expect(try listing("generationC") == before)
    }

    @Test func `Several collections lie side by side; PULL takes what is new into a live mount`()
        throws
    {
        try makeDumps()
        _ = try shell(
            """
            mkdir dump; mv generationA dump/shop; mv generationB dump/stock
            mv dump/stock/20250821171519Z_incremental later
            """)
        let status = try sandbox.ydbfs("status", "dump", "--json")
        #expect(
            try sandbox.python(
                "[(c['name'], len(c['points'])) for c in j['collections']]", json: status.output)
                == "[('shop', 4), ('stock', 3)]")
        #expect(try sandbox.ydbfs("dump", "m").status == 0)
        _ = try shell("mv later dump/stock/20250821171519Z_incremental")
        let pulled = try sandbox.ydbfs("run", "dump", "PULL stock")
        #expect(pulled.status == 0, "\(pulled.errors)")
        #expect(pulled.output.contains("done 20250821171519Z_incremental"))
        _ = try shell(
            "cmp m/stock/latest/gaps.csv generationB.expected/20250821171519Z_incremental/gaps.csv")
        for statement in [
            "BACKUP shop", "RESTORE shop",
            "CREATE BACKUP COLLECTION x (TABLE t) WITH (STORAGE = 'cluster')",
        ] {
            let refused = try sandbox.ydbfs("run", "dump", statement)
            #expect(refused.status == 1 && refused.errors.contains("dump"), "\(refused.errors)")
        }
        let verified = try sandbox.ydbfs("verify", "dump")
        #expect(verified.status == 0, "\(verified.output)")
        let diff = try sandbox.ydbfs("diff", "dump", "shop/20250821141519Z_full", "shop/latest")
        #expect(diff.status == 0 && diff.output.contains("gaps"), "\(diff.errors)")
    }

    @Test func `What can't be read is told by the mount, by status and in the point's folder`()
        throws
    {
        try makeDumps()
        _ = try shell("echo 1,2 >> generationC/20250821151519Z_incremental/gaps/data_00.csv")
        let mounted = try sandbox.ydbfs("generationC", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(mounted.output.contains("left out: generationC/20250821151519Z_incremental/gaps: "))
        #expect(mounted.output.contains("the row has 2 fields, the table has 4"))
        #expect(try shell("ls m/generationC/latest/all") == "types.csv\ntypes.parquet\ntypes.sql\n")
        let reason = try sandbox.python(
            "j['not_backed_up'][0]['reason']",
            json: sandbox.text("m/generationC/latest/backup.json"))
        #expect(
            reason.hasPrefix("it stands on what couldn't be read at 20250821151519Z_incremental: "))
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let status = try sandbox.ydbfs("status", "generationC")
        #expect(status.output.contains("data_00.csv:"), "\(status.output)")
    }

    @Test
    func `A point that was exported as a dump is a source itself, and so is YDB's of a database`()
        throws
    {
        try makeDumps()
        let exported = try sandbox.ydbfs(
            "export", "generationC", "generationC/latest", "out", "--format", "dump")
        #expect(exported.status == 0, "\(exported.errors)")
        #expect(try sandbox.ydbfs("out", "m").status == 0)
        _ = try shell(
            "for t in all/types gaps; do cmp m/out/latest/$t.csv "
                + "generationC.expected/20250821171519Z_incremental/$t.csv || exit 1; done")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)

        let before = try listing("tree")
        let mounted = try sandbox.ydbfs("tree", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(mounted.output.contains("1 backup point in 1 collection"))
        #expect(mounted.output.contains("a topic is no table: the dump has create_topic.pb of it"))
        _ = try shell(
            "cd tree.expected/20250821141519Z_full && for f in $(find . -name '*.csv'); do "
                + "cmp $f ../../m/tree/latest/$f || exit 1; done")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let status = try sandbox.ydbfs("status", "tree")
        #expect(status.errors == "", "\(status.errors)")
        #expect(try listing("tree") == before)
        _ = try shell("mkdir other; cp -r generationC/*_full/gaps other; echo x > other/notes.txt")
        let other = try sandbox.ydbfs("status", "other")
        #expect(
            other.status == 1 && other.errors.contains("no dump of YDB, since"), "\(other.errors)")
    }

    @Test func `A server's export is a source, an encrypted one with its key`() throws {
        try makeDumps()
        func ydbfs(_ key: [String: String], _ arguments: String...) throws -> Sandbox.Result {
            try sandbox.run(Sandbox.binary, arguments, environment: key)
        }
        let compare =
            "cd exportAES.expected && for f in $(find . -name '*.csv'); do "
            + "cmp $f ../m/exportAES/$f || exit 1; done"
        let refused = try sandbox.ydbfs("exportAES", "m")
        #expect(refused.status == 1 && refused.errors.contains("YDB_ENCRYPTION_KEY_FILE"))
        let wrong = try ydbfs(
            ["YDB_ENCRYPTION_KEY": String(repeating: "0", count: 32)], "exportAES", "m")
        #expect(wrong.status == 1 && wrong.errors.contains("the key isn't the one"))
        let before = try listing("exportAES")
        let key = ["YDB_ENCRYPTION_KEY_FILE": "key16"]
        let mounted = try ydbfs(key, "exportAES", "m")
        #expect(mounted.status == 0, "\(mounted.errors)")
        _ = try shell(compare)
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        // What was imported is there without the key, which is said.
        let later = try sandbox.ydbfs("exportAES", "m")
        #expect(later.status == 0 && later.output.contains("showing what was imported before"))
        _ = try shell(compare)
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let status = try ydbfs(key, "status", "exportAES")
        #expect(status.status == 0 && status.errors == "", "\(status.errors)")
        #expect(try listing("exportAES") == before)
    }

    @Test func `A mount with pull=new shows what appears in the dump`() throws {
        try makeDumps()
        _ = try shell("mv generationC/20250821171519Z_incremental later")
        for options in ["pull=new,ro", "pull=old"] {
            #expect(try sandbox.ydbfs("generationC", "m", "-o", options).status != 0)
        }
        try sandbox.write("", to: "a.db")
        let database = try sandbox.ydbfs("a.db", "m", "-o", "pull=new")
        #expect(database.status == 1 && database.errors.contains("is for dumps of YDB"))
        let mounted = try sandbox.ydbfs("generationC", "m", "-o", "pull=new,poll=1s")
        #expect(mounted.status == 0, "\(mounted.errors)")
        _ = try shell(
            """
            mv later generationC/20250821171519Z_incremental
            until [ -e m/generationC/20250821171519Z_incremental ]; do sleep 0.1; done
            cmp m/generationC/latest/gaps.csv generationC.expected/20250821171519Z_incremental/gaps.csv
            """)
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
    }
}
