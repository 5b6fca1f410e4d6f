import Bytes
import Engine
import Foundation
import Repository
import Synchronization
import Tables
import TestSupport
import Testing

/// Random histories, written by another program while points are cut, against what that program
/// says was there.
///
/// A failure names its seed: `YDBFS_SEED=17 swift test … --filter HistoryTests` runs that history
/// alone (where the cuts fall between the other program's transactions is up to the machine).
/// `YDBFS_HISTORIES=100000 YDBFS_FIRST_SEED=5000` looks for longer.
@Suite(.serialized) struct HistoryTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let threads = 4
    private static let failuresMax = 5
    private static let points = 8

    @Test(arguments: Way.allCases)
    func `every point of random histories shows what was there at its cut`(way: Way) throws {
        let count = Self.environment["YDBFS_HISTORIES"].flatMap(UInt64.init) ?? 2000
        let first = Self.environment["YDBFS_FIRST_SEED"].flatMap(UInt64.init) ?? 1
        var seeds = Array(first..<first + (way == .direct ? count : count / 10))
        if let seed = Self.environment["YDBFS_SEED"].flatMap(UInt64.init) { seeds = [seed] }
        let state = Mutex((rest: seeds.reversed() as [UInt64], failures: [String](), ended: 0))
        let scratch = try Scratch()
        let workers = try (0..<Self.threads).map { _ in
            try WorkerThread {
                var writer: Writer?
                while let seed = state.withLock({ state in
                    state.failures.count >= Self.failuresMax ? nil : state.rest.popLast()
                }) {
                    do {
                        writer = try writer ?? Writer()
                        try History(seed: seed, way: way, scratch: scratch).run(writer!)
                        state.withLock { $0.ended += 1 }
                    } catch {
                        // Who knows in which state it is.
                        writer = nil
                        state.withLock {
                            $0.failures.append("YDBFS_SEED=\(seed) (\(way)): \(error)")
                        }
                    }
                }
            }
        }
        for worker in workers { worker.join() }
        for failure in state.withLock(\.failures) { Issue.record("\(failure)") }
        #expect(state.withLock(\.ended) == seeds.count)
    }

    /// One database, one collection, several points.
    private final class History {
        private let way: Way
        private let database: String
        private let settings: Settings
        private var random: SeededGenerator
        private let seed: UInt64
        /// Members of the collection, and tables that were some; none at all for a whole database.
        private var members: Set<String> = []
        private var others: Set<String> = []
        private var expected: [(point: String, files: [String: [UInt8]])] = []

        init(seed: UInt64, way: Way, scratch: Scratch) {
            self.way = way
            self.seed = seed
            database = scratch / "\(way)-\(seed).db"
            var random = SeededGenerator(seed: seed)
            var settings = Settings()
            if seed % 3 != 0 { settings.limits = .tiny }
            settings.cacheBytes = [4 << 10, 64 << 10, 16 << 20].randomElement(using: &random)!
            self.settings = settings
            self.random = random
        }

        func run(_ writer: Writer) throws {
            defer { removeFiles() }
            let opened = try writer.open(seed: seed, path: database)
            try withTree(way, Product(database, settings)) { tree in
                let tables = opened.isDatabase == true ? [] : ["_version"] + (opened.tables ?? [])
                members = Set(tables)
                let list = tables.map { "TABLE `\($0)`" }.joined(separator: ", ")
                try tree.write(
                    "control",
                    """
                    CREATE BACKUP COLLECTION c \(tables.isEmpty ? "DATABASE" : "( \(list) )")
                    WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' )

                    """)
                for number in 0..<HistoryTests.points {
                    do {
                        try cut(number, tree, writer)
                    } catch let errno as Errno {
                        // An error number alone doesn't say what was refused, and why.
                        throw Failure(.system, "\(errno): \(try tree.text("errors"))")
                    }
                }
                try compareAll(tree)
                if seed % 25 == 0 { try compareParquet(tree) }
            }
            if seed % 5 == 0 { try verify() }
            if seed % 4 == 0 { try reopen() }
        }

        private func removeFiles() {
            for suffix in ["", "-wal", "-shm", "-journal", ".backups"] {
                try? FileManager.default.removeItem(atPath: database + suffix)
            }
        }

        /// Takes a table out of the collection, or one in again.
        private func alter(_ tree: any Tree) throws {
            let gone = members.subtracting(["_version"]).sorted().randomElement(using: &random)
            let back = others.sorted().randomElement(using: &random)
            if let back, Bool.random(using: &random) || gone == nil {
                try tree.write("control", "ALTER BACKUP COLLECTION c ADD TABLE `\(back)`;")
                others.remove(back)
                members.insert(back)
            } else if let gone {
                try tree.write("c/control", "ALTER BACKUP COLLECTION DROP TABLE `\(gone)`;")
                members.remove(gone)
                others.insert(gone)
            }
        }

        /// Takes a point while the other program is at work, and compares it.
        private func cut(_ number: Int, _ tree: any Tree, _ writer: Writer) throws {
            if !members.isEmpty, Int.random(in: 0..<5, using: &random) == 0 { try alter(tree) }
            try writer.go(Int.random(in: 1...4, using: &random))
            if Bool.random(using: &random) {
                usleep(UInt32.random(in: 0..<5000, using: &random))
            }
            let isFull = number == 0 || Int.random(in: 0..<8, using: &random) == 0
            let line = try tree.run(isFull ? "full" : "incremental", in: "c")
            try writer.finish()
            guard line.hasPrefix("done point=") else { throw Failure(.system, line) }
            let point = try "c/" + tree.readLink("c/latest")
            guard line.hasPrefix("done point=\(point.dropFirst(2)) ") else {
                throw Failure(.system, "latest is \(point), but: \(line)")
            }
            let manifest = try Manifest(tree, point)
            guard members.isEmpty || Set(manifest.tables.map(\.path)) == members else {
                throw Failure(
                    .corrupt, "\(point) has \(manifest.tables.map(\.path)), not \(members)")
            }
            let versions = try tree.text(point + "/_version.csv").split(separator: "\n")
            guard versions.count == 2, versions[0] == "id,v",
                let version = Int(versions[1].dropFirst(2))
            else { throw Failure(.corrupt, "\(point)/_version.csv: \(versions)") }
            let tables = try writer.expect(version: version, manifest.tables)
            var files: [String: [UInt8]] = [:]
            for table in manifest.tables {
                guard let content = tables[table.path] else {
                    throw Failure(.corrupt, "\(point) has \(table.path)")
                }
                files[table.csv] = content
                let bytes = try tree.read(point + "/" + table.csv)
                guard bytes == content, table.csvBytes == content.count else {
                    throw Failure(
                        .corrupt,
                        "\(point)/\(table.csv), \(table.csvBytes) bytes: "
                            + Self.difference(bytes, content))
                }
            }
            guard files.count == tables.count else {
                throw Failure(.corrupt, "\(point) lacks one of \(tables.keys)")
            }
            expected.append((point, files))
            try compare(expected.last!, tree)
            if Int.random(in: 0..<10, using: &random) == 0 { try compact(tree) }
        }

        /// A compacted point shows what the one before it shows.
        private func compact(_ tree: any Tree) throws {
            let line = try tree.run("COMPACT", in: "c")
            guard line.hasPrefix("done") else { throw Failure(.system, "COMPACT: \(line)") }
            let point = try "c/" + tree.readLink("c/latest")
            let last = expected.last!
            if point == last.point { return }
            expected.append((point, last.files))
            try compare(expected.last!, tree)
        }

        /// All that was written is what it should be, by the stored data's own account too.
        private func verify() throws {
            let report = try Verifier(
                Repository.open(database + ".backups"), collection: "c", at: nil,
                level: .content, operation: .unrecorded("verify")
            ).run()
            guard report.isRight, report.points.count == expected.count else {
                throw Failure(.corrupt, report.details.joined(separator: "; "))
            }
        }

        /// Lets pyarrow read every Parquet file of every point.
        private func compareParquet(_ tree: any Tree) throws {
            let folder = try Scratch()
            var files: [(parquet: String, csv: String)] = []
            for point in expected {
                for table in try Manifest(tree, point.point).tables {
                    let bytes = try tree.read(point.point + "/" + table.parquet)
                    guard bytes.count == table.parquetBytes else {
                        throw Failure(.corrupt, "\(table.parquet) has \(bytes.count) bytes")
                    }
                    let name = folder / "\(files.count)"
                    files.append((name + ".parquet", name + ".csv"))
                    try Data(bytes).write(to: URL(fileURLWithPath: name + ".parquet"))
                    try Data(point.files[table.csv]!).write(to: URL(fileURLWithPath: name + ".csv"))
                }
            }
            if let problem = try ParquetReaders.problem(files, readers: "pyarrow") {
                throw Failure(.corrupt, problem)
            }
        }

        private func compareAll(_ tree: any Tree) throws {
            for point in expected { try compare(point, tree) }
        }

        private func compare(
            _ point: (point: String, files: [String: [UInt8]]), _ tree: any Tree
        ) throws {
            let pieces = [1 << 17, 1 << 20, 4096, 37]
            for (file, content) in point.files {
                let path = point.point + "/" + file
                let status = try tree.status(path)
                // Small pieces only of small files, or it takes all day.
                let piece = pieces.randomElement(using: &random)!
                let bytes = try tree.read(
                    path, pieceBytes: content.count > 4096 && piece == 37 ? 1009 : piece)
                guard bytes == content else {
                    throw Failure(.corrupt, "\(path): \(Self.difference(bytes, content))")
                }
                guard status.bytes == UInt64(content.count) else {
                    throw Failure(.corrupt, "\(path): st_size is \(status.bytes)")
                }
            }
        }

        /// After a restart, without the database.
        private func reopen() throws {
            removeDatabase()
            var settings = settings
            settings.hasDatabase = false
            try withTree(way, Product(database, settings)) { tree in
                guard
                    try tree.list("c").filter({ $0.hasPrefix("20") })
                        == expected.map({ String($0.point.dropFirst(2)) })
                else { throw Failure(.corrupt, "other points after a restart") }
                try compareAll(tree)
            }
        }

        private func removeDatabase() {
            for suffix in ["", "-wal", "-shm", "-journal"] {
                try? FileManager.default.removeItem(atPath: database + suffix)
            }
        }

        private static func difference(_ bytes: [UInt8], _ expected: [UInt8]) -> String {
            let same = zip(bytes, expected).prefix { $0 == $1 }.count
            func part(_ bytes: [UInt8]) -> String {
                let start = max(0, min(same, bytes.count) - 40)
                return String(decoding: bytes[start...].prefix(90), as: UTF8.self)
            }
            return "from byte \(same) on (\(bytes.count) bytes, not \(expected.count)): "
                + "…\(part(bytes))…\nis not …\(part(expected))…"
        }
    }
}
