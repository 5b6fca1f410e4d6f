import Foundation
import Testing

/// Several processes at one repository.
@Suite(.serialized) struct StressTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);
            CREATE TABLE u (id INTEGER PRIMARY KEY, v INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000)
            INSERT INTO t SELECT i, 100 FROM n;
            INSERT INTO u SELECT id, v FROM t;
            """)
        let made = try sandbox.ydbfs(
            "run", "database.db",
            ["a", "b"].map {
                "CREATE BACKUP COLLECTION \($0) (TABLE t, TABLE u) WITH (STORAGE = 'cluster', "
                    + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP \($0);"
            }.joined())
        try #require(made.status == 0, "\(made.errors)")
    }

    @Test func `Two mounts, a run and a writer get on with each other`() throws {
        let statements = (0..<8).map { "BACKUP \($0 % 2 == 0 ? "a" : "b") INCREMENTAL;" }.joined()
        // Begun before there is a mount that would do it.
        let run = try sandbox.start(
            Sandbox.binary, ["run", "database.db", "--rate", "100K", statements])
        let script = """
            writer() { while [ ! -e stop ]; do
                echo "PRAGMA busy_timeout = 20000; BEGIN IMMEDIATE;
                    UPDATE t SET v = v - 1 WHERE id = abs(random()) % 2000 + 1;
                    UPDATE u SET v = v + 1 WHERE id = abs(random()) % 2000 + 1; COMMIT;"
                done | sqlite3 database.db > /dev/null; }
            client() { for i in 1 2 3 4 5 6 7 8; do
                [ $((i % 4)) = 0 ] && kind=full || kind=incremental
                echo $kind > $1/$2/control && cat $1/$2/operation/wait
                done 2> $3; }
            "$0" database.db m1 > /dev/null && "$0" database.db m2 > /dev/null || exit 9
            writer & w=$!
            client m1 a e1 > o1 & c1=$!; client m2 a e2 > o2 & c2=$!
            client m1 b e3 > o3 & c3=$!; client m2 b e4 > o4 & c4=$!
            for i in 1 2 3 4; do "$0" run database.db 'BACKUP a INCREMENTAL' >> o5 2>> e5; done
            wait $c1 $c2 $c3 $c4; touch stop; wait $w
            cat o1 o2 o3 o4 o5 | grep -vE '^done |^operation |is being written by another|^ *$'
            # A refusal shows the statement again, in lines of their own.
            cat e1 e2 e3 e4 e5 |
                grep -viE 'busy|is being written by another|try again|^BACKUP a INCREMENTAL$|^;$|^ *\\^$'
            exit 0
            """
        let result = try sandbox.run(
            "/usr/bin/timeout", ["100", "/bin/bash", "-c", script, Sandbox.binary])
        #expect(result.status == 0 && result.output == "", "\(result)")
        let first = try run.end()
        let unexpected = first.errors.split(separator: "\n").filter {
            !$0.contains("is being written by another") && !$0.contains("cancelled: statement")
        }
        #expect(unexpected == [])
        for name in ["a", "b"] { try check(name) }
    }

    /// Both mounts show the same points, each of one instant, and the operations that made them.
    private func check(_ name: String) throws {
        let list = "ls m$0/$1 | grep '^20'"
        func shown(_ mount: String) throws -> String {
            try sandbox.run("/bin/sh", ["-c", list, mount, name]).output
        }
        // What one has committed shows in the other within a second, or later if all are busy.
        for _ in 0..<100 where try shown("1") != shown("2") { usleep(100_000) }
        let points = try shown("1")
        #expect(try shown("2") == points)
        let names = points.split(separator: "\n").map(String.init)
        #expect(names.count >= 5)
        for point in names {
            let sums = try sandbox.run(
                "/usr/bin/awk",
                ["-F,", "FNR > 1 { s += $2; n++ } END { print n, s }"]
                    + ["t", "u"].map { "m1/\(name)/\(point)/\($0).csv" })
            #expect(sums.output == "4000 400000\n", "\(name)/\(point)")
        }
        let all = try ["a", "b"].reduce(0) { count, name in
            try count
                + sandbox.run("/bin/sh", ["-c", list, "1", name]).output.split(separator: "\n")
                .count
        }
        func operations() throws -> String {
            try sandbox.run(
                "/bin/sh",
                [
                    "-c",
                    """
                    cat m1/operations/*/state m2/operations/*/state | grep -E 'running|queued' | sort -u
                    cd m1/operations; grep -l '^point ' [0-9]*/progress | wc -l
                    """,
                ]
            ).output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        for _ in 0..<100 where try operations() != "\(all)" { usleep(100_000) }
        #expect(try operations() == "\(all)")
    }

    @Test func `Mounts keep a schedule together, also when one is killed`() throws {
        let alter = "ALTER BACKUP COLLECTION a SET (INCREMENTAL_EVERY = '1s')"
        #expect(try sandbox.ydbfs("run", "database.db", alter).status == 0)
        for mount in ["m1", "m2"] { #expect(try sandbox.ydbfs("database.db", mount).status == 0) }
        func uids() throws -> [String] {
            let json = try sandbox.ydbfs("status", "database.db", "a", "--json").output
            let list = "' '.join(p['uid'] for p in j['collections'][0]['points'] if 'uid' in p)"
            return try sandbox.python(list, json: json).split(separator: " ").map(String.init)
        }
        func wait(for count: Int) throws {
            for _ in 0..<150 where try uids().count < count { usleep(100_000) }
            #expect(try uids().count >= count)
        }
        try wait(for: 3)
        let victim = try #require(sandbox.servers(of: "m1").first)
        kill(victim, SIGKILL)
        _ = try sandbox.run("/usr/bin/fusermount3", ["-u", "-z", "m1"])
        let before = try uids().count
        try wait(for: before + 3)
        #expect(try sandbox.ydbfs("unmount", "m2").status == 0)
        let all = try uids()
        #expect(Set(all).count == all.count && all == all.sorted())
        #expect(all.allSatisfy { $0.hasPrefix("schedule-20") })
        let report = try sandbox.ydbfs("status", "database.db", "a", "--json").output
        let schedule =
            "[sorted(j['collections'][0]['schedule']), j['collections'][0]['schedule']['incremental_every']]"
        #expect(
            try sandbox.python(schedule, json: report)
                == "[['incremental_every', 'last', 'next_incremental'], '1s']")
        #expect(
            try sandbox.ydbfs("status", "database.db", "a").output.contains(
                "while mounted: incremental every 1s, next 20"))
        // Nobody takes it now.
        let count = try uids().count
        usleep(1_500_000)
        #expect(try uids().count == count)
    }
}
