import Bytes
import Engine
import Foundation
import Synchronization
import Tables
import TestSupport
import Testing

/// Other programs write while points are cut.
@Suite struct ConcurrencyTests {
    private static let accounts = 50
    private static let balance = 1000

    /// Moves money between accounts of two tables, and tells how often, until its input ends.
    private static let transfers = """
        import random, select, sqlite3, sys
        db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
        db.execute("PRAGMA synchronous = off")
        count = 0
        while not select.select([sys.stdin], [], [], 0.002)[0]:
            db.execute("BEGIN IMMEDIATE")
            for _ in range(random.randint(1, 5)):
                amount = random.randint(-50, 50)
                first, second = random.sample(["left", "right"], 2)
                for table, sign in ((first, 1), (second, -1)):
                    db.execute(f"UPDATE {table} SET balance = balance + ? WHERE id = ?",
                               (sign * amount, random.randint(1, 50)))
            db.execute("COMMIT")
            count += 1
            if count == 1:
                print("started", flush=True)
        print(count)
        """

    /// The same by the `sqlite3` shell, a process for each transfer.
    private static let shellTransfers = """
        count=0
        # Until there is a line, or no more input: what runs out of time may have eaten the line.
        while read -t 0.01; test $? -gt 128; do
            sqlite3 -cmd '.timeout 60000' "$1" 'PRAGMA synchronous = off; BEGIN IMMEDIATE;
                UPDATE "left" SET balance = balance - 3 WHERE id = abs(random() % 50) + 1;
                REPLACE INTO "right" SELECT id, balance + 3 FROM "right" ORDER BY random() LIMIT 1;
                COMMIT' || exit 1
            count=$((count + 1))
            test $count = 1 && echo started
        done < /dev/stdin
        echo $count
        """

    private final class Rival {
        private let process = Process()
        private let input = Pipe()
        private let output = Pipe()

        init(_ arguments: [String]) throws {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = arguments
            process.standardInput = input
            process.standardOutput = output
            try withoutBlockedSignals { try process.run() }
            // From its first transaction on it is a rival.
            var said = Data()
            while said.last != 10 {
                let more = output.fileHandleForReading.availableData
                try #require(!more.isEmpty)
                said += more
            }
            #expect(said == Data("started\n".utf8))
        }

        /// Ends it; answers how many transactions it has made.
        func end() throws -> Int {
            try input.fileHandleForWriting.write(contentsOf: Data([10]))
            try input.fileHandleForWriting.close()
            let text = String(
                decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
            return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
        }
    }

    private func total(_ tree: any Tree, _ point: String) throws -> Int {
        var sum = 0
        for table in ["left", "right"] {
            let lines = try tree.text("\(point)/\(table).csv").split(separator: "\n").dropFirst()
            #expect(lines.count == Self.accounts)
            for line in lines { sum += Int(line.split(separator: ",")[1])! }
        }
        return sum
    }

    @Test(arguments: ["wal", "delete"])
    func `money moved between two tables is all there in every point`(journal: String) throws {
        let scratch = try Scratch()
        let database = scratch / "bank.db"
        let tables = ["left", "right"].map { table in
            """
            CREATE TABLE "\(table)"(id INTEGER PRIMARY KEY, balance INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(Self.accounts))
            INSERT INTO "\(table)" SELECT i, \(Self.balance) FROM n;
            """
        }
        try sqlite("PRAGMA journal_mode = \(journal);" + tables.joined(), on: database)
        var settings = Settings()
        settings.limits = .tiny
        try withTree(.direct, Product(database, settings)) { tree in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION bank ( TABLE `left`, TABLE `right` ) WITH "
                    + "( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )\n")
            let rivals = [
                try Rival(["python3", "-c", Self.transfers, database]),
                try Rival(["python3", "-c", Self.transfers, database]),
                try Rival(["bash", "-c", Self.shellTransfers, "bash", database]),
            ]
            var points: [String] = []
            for number in 0..<12 {
                points.append(
                    try tree.backup(number % 5 == 0 ? "full" : "incremental", of: "bank"))
            }
            let counts = try rivals.map { try $0.end() }
            #expect(counts.allSatisfy { $0 > 0 }, "\(counts)")
            for point in points {
                #expect(try total(tree, point) == 2 * Self.accounts * Self.balance, "\(point)")
            }
            // They differ, or nothing was tested.
            let contents = try Set(points.map { try tree.read($0 + "/left.csv") })
            #expect(contents.count > points.count / 2)
        }
    }
}
