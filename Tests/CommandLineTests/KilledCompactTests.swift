import Foundation
import Testing

/// COMPACT killed at any moment leaves the points of before, or one more.
@Suite struct KilledCompactTests {
    @Test func `A killed COMPACT leaves the state of before or after it`() throws {
        let sandbox = try Sandbox()
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
            INSERT INTO orders SELECT i, 'item ' || i * 7919 % 10007 FROM n;
            """)
        var result = try sandbox.ydbfs("run", "database.db", Sandbox.create + " BACKUP shop")
        #expect(result.status == 0, "\(result.errors)")
        var outcomes: Set<Int> = []
        // The longest are for machines on which it takes so long.
        let moments = [
            1, 5, 10, 20, 30, 40, 50, 60, 80, 100, 130, 170, 220, 300, 2000, 8000, 30_000,
        ]
        for milliseconds in moments where milliseconds <= 2000 || outcomes != [0, 1] {
            try sandbox.sql(
                "UPDATE orders SET item = item || '+' WHERE id % 1000 = \(milliseconds % 1000)")
            result = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
            #expect(result.status == 0, "\(result.errors)")
            let before = try points(sandbox)
            let (process, end) = try sandbox.start(
                Sandbox.binary, ["run", "database.db", "COMPACT shop"])
            usleep(UInt32(milliseconds * 1000))
            kill(process.processIdentifier, SIGKILL)
            _ = try end()
            let after = try points(sandbox)
            #expect(after.starts(with: before) && after.count - before.count <= 1)
            outcomes.insert(after.count - before.count)
            let verify = try sandbox.ydbfs("verify", "database.db", "shop/latest")
            #expect(verify.status == 0, "\(verify.output)\(verify.errors)")
        }
        #expect(outcomes == [0, 1])
        // What the killed ones left behind goes with the next.
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL").status == 0)
        let verify = try sandbox.ydbfs("verify", "database.db", "--json")
        #expect(verify.status == 0)
        let named = try sandbox.python("j['collections'][0]['files']", json: verify.output)
        let files = try sandbox.run(
            "/bin/sh", ["-c", Sandbox.dataFiles + " | wc -l"])
        #expect(files.output.trimmingCharacters(in: .whitespacesAndNewlines) == named)
    }

    private func points(_ sandbox: Sandbox) throws -> [String] {
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        #expect(status.status == 0, "\(status.errors)")
        return try sandbox.python(
            "*[p['name'] for p in j['collections'][0]['points']]", json: status.output
        ).split(separator: " ").map(String.init)
    }
}
