import Foundation
import SQLiteSource
import Tables
import TestSupport
import Testing

/// Random histories: whatever other programs did, full plus changes is what a scan shows.
@Suite struct HistoryTests {
    /// A table of a random shape, and statements that write to it.
    private struct Shape {
        var create: String
        var keys: [String]
        var columns: [String]
        var hasRowID = false
        var random: SeededGenerator

        init(_ random: SeededGenerator) {
            var random = random
            let unique = random.pick([
                "", "UNIQUE", "UNIQUE COLLATE NOCASE", "UNIQUE ON CONFLICT REPLACE",
            ])
            let other = random.pick(["", "UNIQUE"])
            let pair = random.pick(["", ", UNIQUE(u, w)"])
            let rest = "u TEXT \(unique), w INT \(other), v\(pair)"
            switch random.below(9) {
            case 0:
                create = "t(k INTEGER PRIMARY KEY, \(rest))"
                keys = (1...8).map { "\($0)" } + ["NULL"]
            case 1:
                create = "t(k TEXT PRIMARY KEY NOT NULL, \(rest))"
                keys = ["'a'", "'A'", "'b'", "'é'", "''", "'a '", "'zz'"]
                hasRowID = true
            case 2:
                create = "t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, \(rest))"
                keys = ["'a'", "'A'", "'b'", "'B'", "'cc'", "'cC'", "'É'"]
                hasRowID = true
            case 3:
                create = "t(k TEXT COLLATE RTRIM, \(rest), PRIMARY KEY(k)) WITHOUT ROWID"
                keys = ["'a'", "'a '", "'b'", "'b  '", "'A'", "''"]
            case 4:
                create = "t(k PRIMARY KEY NOT NULL, \(rest))"
                keys = ["1", "1.0", "'1'", "x'31'", "2", "2.5", "'a'", "x''", "-3", "10"]
                hasRowID = true
            case 5:
                create = "t(k BLOB PRIMARY KEY, \(rest)) WITHOUT ROWID"
                keys = ["x''", "x'00'", "x'0000'", "x'ff'", "x'61'", "x'6100'"]
            case 6:
                create = "t(k REAL PRIMARY KEY NOT NULL, \(rest))"
                keys = ["1", "-1", "0.1", "1e300", "-2.5", "0.0", "7"]
                hasRowID = true
            case 7:
                create = "t(k INT, j TEXT, \(rest), PRIMARY KEY(j, k DESC)) WITHOUT ROWID"
                keys = ["1", "2", "3", "-4"]
            default:
                create =
                    "t(k INT NOT NULL, j TEXT COLLATE NOCASE NOT NULL DEFAULT 'x', \(rest), PRIMARY KEY(k, j))"
                keys = ["1", "2", "3", "4"]
                hasRowID = true
            }
            columns = ["k", "u", "w", "v"] + (create.contains(" j ") ? ["j"] : [])
            self.random = random
        }

        mutating func value(_ column: String) -> String {
            switch column {
            case "k": random.pick(keys)
            case "j": random.pick(["'x'", "'y'", "'X'"])
            case "u": random.pick(["'a'", "'A'", "'b'", "'c'", "'d'", "'e'", "'E'", "NULL"])
            case "w": random.pick(["NULL", "1", "2", "3", "4", "5"])
            default:
                random.pick(["0.5", "'text'", "x'00ff'", "7", "NULL", "\(random.below(1000))"])
            }
        }

        mutating func statement() -> String {
            let or = random.pick([
                "", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK",
            ])
            let list = columns.joined(separator: ", ")
            let values = columns.map { value($0) }.joined(separator: ", ")
            switch random.below(hasRowID ? 13 : 11) {
            case 0...2: return "INSERT \(or) INTO t(\(list)) VALUES(\(values))"
            case 3: return "REPLACE INTO t(\(list)) VALUES(\(values))"
            case 4:
                return
                    "INSERT INTO t(\(list)) VALUES(\(values)) ON CONFLICT DO UPDATE SET v = \(value("v"))"
            case 5:
                return
                    "UPDATE \(or) t SET u = \(value("u")), v = \(value("v")) WHERE k = \(value("k"))"
            case 6:
                return
                    "UPDATE \(or) t SET k = \(value("k")), w = \(value("w")) WHERE k = \(value("k"))"
            case 7: return "UPDATE \(or) t SET w = w + 1 WHERE w >= \(random.below(5))"
            case 8: return "DELETE FROM t WHERE k = \(value("k"))"
            case 9:
                return random.chance(10) ? "DELETE FROM t" : "DELETE FROM t WHERE w = \(value("w"))"
            case 10: return "UPDATE \(or) t SET k = \(value("k")) WHERE u = \(value("u"))"
            case 11:
                return
                    "INSERT \(or) INTO t(rowid, \(list)) VALUES(\(random.below(12)), \(values))"
            default: return "UPDATE \(or) t SET rowid = \(random.below(12)) WHERE k = \(value("k"))"
            }
        }

        /// Some statements, perhaps in a transaction, perhaps undone.
        mutating func batch() -> [String] {
            var statements = (0..<(1 + random.below(12))).map { _ in statement() }
            if random.chance(40) {
                statements.insert("BEGIN", at: 0)
                if random.chance(30) {
                    statements.insert("SAVEPOINT s", at: 1 + random.below(statements.count))
                    statements.append("ROLLBACK TO s")
                }
                statements.append(random.pick(["COMMIT", "COMMIT", "ROLLBACK"]))
            }
            return statements
        }
    }

    /// Changes of the table as a whole.
    private static let accidents = [
        "ALTER TABLE t ADD COLUMN extra TEXT DEFAULT 'new'",
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v",
        "VACUUM", "CREATE TABLE copy AS SELECT * FROM t; DROP TABLE copy",
    ]

    private func run(_ seed: UInt64, in bench: Workbench) throws -> (ranged: Int, scanned: Int) {
        var shape = Shape(SeededGenerator(seed: seed))
        let name = "\(seed).db"
        let encoding = shape.random.pick(["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"])
        let journal = shape.random.pick(["WAL", "WAL", "DELETE"])
        let writer = try Writer(shape.random.pick(Writer.Kind.allCases), path: bench.path(name))
        try writer.execute([
            "PRAGMA encoding = '\(encoding)'", "PRAGMA journal_mode = \(journal)",
            "CREATE TABLE \(shape.create)",
        ])
        try writer.execute((0..<8).map { _ in shape.statement() })
        let chain = try Chain(bench.path(name))
        let other = try Chain(bench.path(name))
        var ranged = 0
        var scanned = 0
        let hasAccidents = shape.random.chance(30)
        for _ in 0..<8 {
            for _ in 0..<(1 + shape.random.below(3)) { try writer.execute(shape.batch()) }
            if hasAccidents && shape.random.chance(20) {
                try writer.execute(
                    shape.random.pick(Self.accidents).split(separator: ";").map(String.init))
            }
            let taker = shape.random.chance(25) ? other : chain
            try taker.takePoint(
                commits: !shape.random.chance(10),
                whileOpen: { if journal == "WAL" { try writer.execute(shape.batch()) } })
            ranged += taker.ranged.count
            scanned += taker.scanned.count
        }
        return (ranged, scanned)
    }

    @Test func `Full plus changes is the table, whatever was done to it`() throws {
        let environment = ProcessInfo.processInfo.environment
        let first = UInt64(environment["SEED"] ?? "") ?? UInt64.random(in: 0..<1 << 40)
        let count = UInt64(environment["HISTORIES"] ?? "") ?? 300
        let bench = try Workbench(inMemory: true)
        var ranged = 0
        var scanned = 0
        for seed in first..<first + count {
            do {
                let found = try run(seed, in: bench)
                ranged += found.ranged
                scanned += found.scanned
            } catch {
                Issue.record("SEED=\(seed) HISTORIES=1: \(error)")
                return
            }
        }
        print("seeds from \(first): \(ranged) points from ranges, \(scanned) from scans")
    }
}
