import Foundation
import Testing

/// The program on disks that are really full.
@Suite struct FullDiskTests {
    @Test(arguments: SmallDisk.Kind.allCases)
    func `PRUNE on a full disk drops, waits, removes, and says so`(kind: SmallDisk.Kind) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 300)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop; BACKUP shop")
        try disk.done("ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '1', KEEP_DROPPED = '0h')")
        #expect(disk.sandbox.exists("disk/r/reserve"))
        let points = try disk.points()
        let (before, freed) = (try disk.dataBytes, points[0].frees + points[1].frees)
        try disk.fill()
        let said = try disk.done("PRUNE shop")
        #expect(said.contains("note: 2 of 3 points dropped, "), "\(said)")
        #expect(said.contains(" files of \(freed) bytes removed\n"), "\(said)")
        #expect(freed > 400_000)
        #expect(try before - disk.dataBytes == freed)
        #expect(try disk.free > 400_000)
        let left = try disk.points()
        #expect(left.map(\.name) == [points[2].name])
        #expect(left[0].frees == (try disk.dataBytes))
        let verified = try disk.sandbox.ydbfs("verify", "disk/r", "shop", "--level", "content")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        // There is room again, also for what is kept back.
        try disk.done("BACKUP shop INCREMENTAL")
        #expect(disk.sandbox.exists("disk/r/reserve"))
    }

    /// Each uses up what is kept back, as far as it can.
    @Test(arguments: SmallDisk.Kind.allCases, ["VERIFY", "SET", "neighbour", "killed"])
    func `whatever was done on a full disk, PRUNE leads out of it`(
        kind: SmallDisk.Kind, way: String
    ) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 3 : 16)
        try disk.makeDatabase(kilobytes: 300)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop; BACKUP shop")
        try disk.done("ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '1', KEEP_DROPPED = '0h')")
        let first = try disk.points()[0].name
        let reserve = "stat -c %s disk/r/reserve"
        let before = try disk.shell(reserve)
        try disk.fill()
        switch way {
        case "VERIFY":
            for _ in 0..<25 where try disk.run("VERIFY shop").status != 0 { break }
        case "SET":
            for number in 1...25 {
                _ = try disk.run("ALTER BACKUP COLLECTION shop SET (MAX_CHAIN = '\(number + 50)')")
            }
        case "neighbour":
            try disk.done("ALTER BACKUP COLLECTION shop DROP BACKUP '\(first)'")
            try disk.fill()
        default:
            for _ in 0..<9 {
                try disk.shell(
                    "timeout -s KILL 1 \(Sandbox.binary) run shop.db --repository disk/r 'PRUNE shop'"
                        + " || test $? = 137")
            }
        }
        let said = try disk.done("PRUNE shop")
        #expect(said.contains(" bytes removed\n"), "\(said)")
        #expect(try disk.free > 400_000)
        try disk.drain()
        try disk.done("BACKUP shop")
        let verified = try disk.sandbox.ydbfs("verify", "disk/r", "shop")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        // As much as before is kept back once more.
        #expect(try disk.shell(reserve) == before)
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    func `on a full disk everything works that leads out of it`(kind: SmallDisk.Kind) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 100)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop; BACKUP shop")
        let point = try disk.points()[0].name
        let collection = "ALTER BACKUP COLLECTION shop"
        for statement in [
            "\(collection) DROP BACKUP '\(point)'", "\(collection) UNDROP BACKUP '\(point)'",
            "\(collection) PIN BACKUP '\(point)'", "\(collection) UNPIN BACKUP '\(point)'",
            "\(collection) SET (KEEP_LAST = '2')", "\(collection) SET (KEEP_DROPPED = '0h')",
            "PRUNE shop WITH (dry_run = true)", "PRUNE shop", "DROP BACKUP COLLECTION shop",
        ] {
            #expect(disk.sandbox.exists("disk/r/reserve"), "\(statement)")
            try disk.fill()
            let ran = try disk.run(statement)
            #expect(ran.status == 0, "\(statement): \(ran.errors)")
            try disk.drain()
            // Whatever is done next makes the reserve again.
            if statement.hasPrefix("DROP") { continue }
            try disk.done("\(collection) SET (MAX_CHAIN = '50')")
        }
        let status = try disk.sandbox.ydbfs("status", "disk/r")
        #expect(status.status == 0, "\(status.output)\(status.errors)")
        #expect(status.output.contains("no collections"))
    }

    @Test(arguments: SmallDisk.Kind.allCases, ["verb", "statement"])
    func `what VERIFY finds on a full disk is kept`(kind: SmallDisk.Kind, way: String) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 100)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop")
        func verified() throws -> String {
            let status = try disk.sandbox.ydbfs("status", "disk/r", "shop", "--json")
            return try disk.sandbox.python(
                "*[p.get('verified', {}).get('level') for p in j['collections'][0]['points']]",
                json: status.output)
        }
        #expect(try verified() == "None None")
        try disk.fill()
        let said =
            way == "verb"
            ? try disk.sandbox.ydbfs("verify", "disk/r", "shop") : try disk.run("VERIFY shop")
        #expect(said.status == 0, "\(said.errors)")
        let words = said.output + said.errors
        #expect(!words.contains("could not be recorded"), "\(words)")
        #expect(try verified() == "content content")
        // A later and better one takes its place.
        try disk.drain()
        try disk.done("VERIFY shop WITH (level = source)")
        #expect(try verified() == "content source")
        #expect(disk.sandbox.exists("disk/r/reserve"))
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    func `without any KEEP_ rule, dropped points and PRUNE make room`(kind: SmallDisk.Kind) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 300)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop; BACKUP shop")
        let points = try disk.points()
        let refused = try disk.run("PRUNE shop")
        #expect(refused.status == 1)
        #expect(refused.errors.contains("has no KEEP_ setting"))
        try disk.fill()
        try disk.done("ALTER BACKUP COLLECTION shop SET (KEEP_DROPPED = '0h')")
        try disk.done("ALTER BACKUP COLLECTION shop DROP BACKUP '\(points[1].name)'")
        let said = try disk.done("PRUNE shop")
        #expect(said.contains("note: 0 of 2 points dropped, "), "\(said)")
        #expect(said.contains(" files of \(points[1].frees) bytes removed\n"), "\(said)")
        #expect(try disk.free > 200_000)
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    func `a backup without room is refused as it is written, and the mount goes on`(
        kind: SmallDisk.Kind
    ) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 200)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop")
        let points = try disk.points()
        let mounted = try disk.sandbox.ydbfs("shop.db", "m", "--repository", "disk/r")
        #expect(mounted.status == 0, "\(mounted.errors)")
        try disk.fill()
        let folders = "ls m/shop | grep -c Z_"
        for word in ["full", "incremental", "BACKUP", "BACKUP INCREMENTAL WITH (uid = 'x')"] {
            let ran = try disk.sandbox.run(
                "/bin/bash", ["-c", "echo \"$1\" > m/shop/control", "bash", word])
            #expect(ran.status != 0, "\(word)")
            #expect(ran.errors.contains("No space left on device"), "\(word): \(ran.errors)")
            #expect(try disk.shell(folders) == "2\n")
        }
        let errors = try disk.sandbox.text("m/errors")
        #expect(errors.contains(" free, a full backup of shop needs about "), "\(errors)")
        #expect(errors.contains(" free, an incremental backup of shop needs about "), "\(errors)")
        #expect(errors.contains("PRUNE shop or drop points (status shows what each would free)"))
        let refused = try disk.run("BACKUP shop")
        #expect(refused.status == 1)
        #expect(refused.errors.contains("needs about"), "\(refused.errors)")
        // What makes room isn't.
        try disk.shell(
            "echo \"ALTER BACKUP COLLECTION shop DROP BACKUP '$1'\" > m/control", points[0].name)
        #expect(try disk.shell(folders) == "1\n")
        let chain = try disk.sandbox.text("m/shop/chain")
        #expect(chain.contains(" FREES ") && chain.contains(points[1].name))
        #expect(try disk.shell("wc -l < m/shop/latest/orders.csv") == "201\n")
        try disk.drain()
        try disk.shell("echo full > m/shop/control && grep -q ^done m/shop/operation/wait")
        #expect(try disk.shell(folders) == "2\n")
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    func `a backup that needs more room than was thought ends, and leaves nothing behind`(
        kind: SmallDisk.Kind
    ) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 4 : 16)
        // A quarter of it would fit.
        try disk.makeDatabase(kilobytes: kind == .tmpfs ? 8_000 : 32_000)
        try disk.done(SmallDisk.create)
        let before = try disk.free
        let failed = try disk.run("BACKUP shop")
        #expect(failed.status == 1)
        #expect(
            failed.errors.contains(" has more to write: it ended, and nothing of it is left: "),
            "\(failed.errors)")
        #expect(try disk.dataBytes == 0)
        #expect(disk.sandbox.exists("disk/r/reserve"))
        #expect(try abs(before - disk.free) < 64 << 10)
        // The reserve was there for the journal: it knows how it ended.
        let status = try disk.sandbox.ydbfs("status", "disk/r")
        #expect(status.status == 1)
        #expect(status.output.contains("FAILED: the last backup failed at "), "\(status.output)")
        try disk.sandbox.sql("DELETE FROM orders WHERE id > 500", in: "shop.db")
        try disk.done("BACKUP shop")
        #expect(try disk.points().count == 1)
    }

    /// What is mended by a copy, and what is recorded as lost without one, is small: the reserve is for it.
    @Test(arguments: SmallDisk.Kind.allCases, [true, false])
    func `repair mends a log on a full disk`(kind: SmallDisk.Kind, hasCopy: Bool) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 100)
        try disk.done(SmallDisk.create + "BACKUP shop; BACKUP shop; BACKUP shop")
        let points = try disk.points().map(\.name)
        try disk.shell(
            """
            cp -a disk/r copy; cd disk/r/collections/*/log
            rm 0000000003.json; head -c 200 /dev/urandom > 0000000004.json
            """)
        try disk.fill()
        let words = ["repair", "disk/r"] + (hasCopy ? ["--from", "copy"] : [])
        let mended = try disk.sandbox.run(Sandbox.binary, words)
        #expect(mended.status == 0, "\(mended)")
        #expect(mended.output.contains(hasCopy ? "is put back from" : "its loss is recorded"))
        try disk.drain()
        #expect(try disk.points().map(\.name) == (hasCopy ? points : [points[0]]))
        try disk.done("BACKUP shop")
        let verified = try disk.sandbox.ydbfs("verify", "disk/r", "shop", "--level", "content")
        #expect(verified.status == (hasCopy ? 0 : 1), "\(verified)")
        #expect(disk.sandbox.exists("disk/r/reserve"))
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    func `a data file that is put back needs its room, and nothing is half done`(
        kind: SmallDisk.Kind
    ) throws {
        let disk = try SmallDisk(kind, megabytes: kind == .tmpfs ? 2 : 16)
        try disk.makeDatabase(kilobytes: 300)
        try disk.done(SmallDisk.create + "BACKUP shop")
        let data = try disk.shell(
            """
            cp -a disk/r copy; cd disk/r
            f=$(ls -S tables/*/*/*.parquet | head -1); dd if=/dev/zero of=$f bs=999 count=1 conv=notrunc
            echo -n $f
            """)
        try disk.fill()
        let list = "cd disk/r && find . -type f ! -path './operations/*' ! -name reserve | sort"
        let before = try disk.shell(list)
        let repair = ["repair", "disk/r", "--from", "copy"]
        let failed = try disk.sandbox.run(Sandbox.binary, repair)
        #expect(failed.status == 1 && failed.errors.contains("No space left"), "\(failed)")
        #expect(try disk.shell(list) == before)
        try disk.drain()
        let mended = try disk.sandbox.run(Sandbox.binary, repair)
        #expect(mended.status == 0, "\(mended)")
        try disk.shell("cmp disk/r/$1 copy/$1 && test -e disk/r/$1.damaged", data)
        let verified = try disk.sandbox.ydbfs("verify", "disk/r", "shop", "--level", "content")
        #expect(verified.status == 0, "\(verified)")
    }

    @Test func `reserve= says how much is kept back`() throws {
        let disk = try SmallDisk(.tmpfs, megabytes: 8)
        try disk.makeDatabase(kilobytes: 50)
        try disk.done("--reserve", "1M", SmallDisk.create + "BACKUP shop")
        #expect(try disk.shell("stat -c %b disk/r/reserve") == "2048\n")
        // Who says nothing leaves it; a mount takes the size of its own.
        try disk.done("BACKUP shop INCREMENTAL")
        #expect(try disk.shell("stat -c %b disk/r/reserve") == "2048\n")
        let mounted = try disk.sandbox.ydbfs(
            "shop.db", "m", "--repository", "disk/r", "-o", "reserve=0")
        #expect(mounted.status == 0, "\(mounted.errors)")
        try disk.done("BACKUP shop INCREMENTAL")
        #expect(!disk.sandbox.exists("disk/r/reserve"))
        for wrong in ["1k", "-1", "much"] {
            #expect(try disk.run("--reserve", wrong, "BACKUP shop").status == 2, "\(wrong)")
        }
        let refused = try disk.run("--reserve", "1M", "BACKUP shop")
        #expect(refused.status == 1)
        #expect(refused.errors.contains("give it -o reserve= instead"), "\(refused.errors)")
    }

    @Test func `a backup ends before the application's log fills its disk`() throws {
        let disk = try SmallDisk(.tmpfs, megabytes: 32)
        try disk.shell(
            """
            sqlite3 disk/app.db "PRAGMA journal_mode = wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
            INSERT INTO t SELECT i, randomblob(1000) FROM n"
            """)
        let create = SmallDisk.create.replacingOccurrences(of: "shop", with: "app")
        let made = try disk.sandbox.ydbfs("run", "disk/app.db", "--repository", "r", create)
        #expect(made.status == 0, "\(made.errors)")
        // Slow enough to last until the disk is full, whatever the machine.
        let (process, end) = try disk.sandbox.start(
            Sandbox.binary,
            ["run", "disk/app.db", "--repository", "r", "--rate", "4K", "BACKUP app"])
        defer { process.terminate() }
        // The cut is open once there are files of its rows.
        try disk.shell("until find r/tables -name '*.parquet' | grep -q .; do sleep 0.05; done")
        let writer = """
            import os, sqlite3
            c = sqlite3.connect('disk/app.db', isolation_level=None)
            while os.statvfs('disk').f_bavail * 4096 > 600_000:
                c.execute('UPDATE t SET v = randomblob(1000) WHERE id <= 100')
            print(os.path.getsize('disk/app.db-wal'))
            """
        let wrote = try disk.sandbox.run(Sandbox.python, ["-c", writer])
        #expect(wrote.status == 0, "\(wrote.errors)")
        #expect(Int(wrote.output.trimmingCharacters(in: .newlines)) ?? 0 > 10 << 20)
        let failed = try end()
        #expect(failed.status == 1)
        #expect(
            failed.errors.contains("app.db-wal has grown by ")
                && failed.errors.contains(" kB free: the backup ended"), "\(failed.errors)")
        // The log can be used anew: nobody reads an old instant any more.
        let log = try disk.shell("sqlite3 disk/app.db 'PRAGMA wal_checkpoint(TRUNCATE)'")
        #expect(log == "0|0|0\n")
        #expect(try disk.shell("find r/tables -name '*.parquet'") == "")
        #expect(
            try disk.sandbox.ydbfs("run", "disk/app.db", "--repository", "r", "BACKUP app").status
                == 0)
    }
}
