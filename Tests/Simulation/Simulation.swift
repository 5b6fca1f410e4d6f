import Bytes
import Engine
import Foundation
import Repository
import SQLiteSource
import Tables
import TestSupport

/// A collection operated for a year: an incremental every hour, retention after each, on the clock of
/// the simulation. Everything else is the product's: a SQLite file that changes, the engine, a
/// repository on disk.
///
/// What the table was at each cut is told by SQLite alone and remembered as a hash; on sampled days
/// every point that is still there must be that, read by an engine that has just been opened.
final class Simulation {
    struct Options {
        var hours = 8_760
        var rows = 5_000
        /// Rows inserted, and as many deleted, and thrice as many changed, in an hour.
        var changes = 10
        var daysBetweenSamples = 7
    }

    /// What a sampled day shows. Milliseconds are of processor time, that of all threads.
    struct Sample {
        var day: Int
        var points: Int
        var droppedPoints: Int
        var files: Int
        var storedBytes: UInt64
        var dataBytes: UInt64
        var logBytes: UInt64
        var liveCSVBytes: UInt64
        var backupMilliseconds: Double
        var openMilliseconds: Double
        var readMilliseconds: Double
        var pagesDecoded: UInt64
        var rowFilesOpened: UInt64
        var checkedPoints: Int
    }

    private let options: Options
    private let folder: String
    private let table: Orders
    /// The first hour of 2026.
    private let clock = TestClock(1_767_225_600_000_000)
    private var contents: [String: UInt64] = [:]
    private var random = SeededGenerator(seed: 1)
    private let engine: Engine

    init(_ options: Options, folder: String) throws {
        self.options = options
        self.folder = folder
        table = try Orders(path: folder + "/database.db", rows: options.rows)
        engine = try Self.engine(folder, clock, hasDatabase: true)
    }

    private static func engine(
        _ folder: String, _ clock: TestClock, hasDatabase: Bool
    ) throws -> Engine {
        var options = Engine.Options()
        options.repository.pause = { _, _ in }
        options.repository.now = { clock.microseconds }
        let database = Engine.Database(path: "/Root/database") { patience in
            ClockedSource(
                try SQLiteSource(path: folder + "/database.db", busyTimeout: patience ?? 60), clock)
        }
        return try Engine(
            location: .directory(folder + "/backups"), database: hasDatabase ? database : nil,
            cache: SharedCache(maxBytes: 32 << 20), options: options)
    }

    private func carryOut(_ statement: String) throws -> String? {
        let operations = try engine.submit(Statement.parse(statement), owner: getuid())
        let status = operations[0].wait()
        guard status.state == .done else {
            throw Failure(.system, "\(statement): \(status.summary)")
        }
        return status.point
    }

    /// Runs all of it; `report` hears of each sampled day.
    func run(_ report: (Sample) throws -> Void) throws {
        _ = try carryOut(
            """
            CREATE BACKUP COLLECTION shop ( TABLE orders ) WITH ( STORAGE = 'cluster',
              INCREMENTAL_BACKUP_ENABLED = 'true', KEEP_HOURLY = '48', KEEP_DAILY = '14',
              KEEP_WEEKLY = '8', KEEP_MONTHLY = '6' )
            """)
        var backupSeconds = 0.0
        var backups = 0
        for hour in 0..<options.hours {
            if hour > 0 { try table.change(options.changes) }
            let start = processorSeconds()
            let point = try carryOut(
                hour == 0 ? "BACKUP shop" : "BACKUP shop INCREMENTAL"
            )!
            backupSeconds += processorSeconds() - start
            backups += 1
            contents[point] = Checksum.xxh3(try table.csv())
            clock.advance(seconds: 3_600)
            let isSampled = (hour + 1) % (24 * options.daysBetweenSamples) == 0
            guard isSampled || hour + 1 == options.hours else { continue }
            try report(
                sample(day: (hour + 1) / 24, 1000 * backupSeconds / Double(backups)))
            (backupSeconds, backups) = (0, 0)
        }
        engine.close()
    }

    // MARK: Sampling

    private func sample(day: Int, _ backupMilliseconds: Double) throws -> Sample {
        let openStart = processorSeconds()
        let reader = try Self.engine(folder, clock, hasDatabase: false)
        let openSeconds = processorSeconds() - openStart
        guard let state = reader.collection("shop"), let newest = state.newest else {
            throw Failure(.corrupt, "the collection is gone")
        }
        let readStart = processorSeconds()
        try check(newest, state, reader)
        let readSeconds = processorSeconds() - readStart
        let figures = reader.figures
        for point in state.points { try check(point, state, reader) }
        for point in Set([state.points[0].name, state.points.randomElement(using: &random)!.name]) {
            try restore(point)
        }
        let data = try bytes(below: "data")
        return Sample(
            day: day, points: state.points.count, droppedPoints: state.droppedPoints.count,
            files: data.files, storedBytes: state.storedBytes, dataBytes: data.bytes,
            logBytes: try bytes(below: "log").bytes,
            liveCSVBytes: state.tables(at: newest.sequence)[0].sizes["csv"] ?? 0,
            backupMilliseconds: backupMilliseconds, openMilliseconds: 1000 * openSeconds,
            readMilliseconds: 1000 * readSeconds, pagesDecoded: figures.pagesDecoded,
            rowFilesOpened: figures.rowFilesOpened, checkedPoints: state.points.count)
    }

    /// The point shows what SQLite said at its cut.
    private func check(
        _ point: BackupPoint, _ state: CollectionState, _ reader: Engine
    ) throws {
        let record = state.tables(at: point.sequence)[0]
        let file = CSVFile(reader.snapshot(record, of: state))
        let content = ByteBuffer()
        while let part = try file.part(at: UInt64(content.count)) {
            let rendered = try file.render(part, isSequential: true)
            content.append(rendered, from: 0, count: rendered.count)
        }
        guard UInt64(content.count) == record.sizes["csv"],
            Checksum.xxh3(content) == contents[point.name]
        else { throw Failure(.corrupt, "\(point.name) is not what the table was") }
    }

    /// The point comes back into the database as it was.
    private func restore(_ point: String) throws {
        _ = try carryOut("RESTORE shop AT '\(point)' ( TABLE orders AS restored )")
        guard Checksum.xxh3(try table.csv(of: "restored")) == contents[point] else {
            throw Failure(.corrupt, "\(point) is restored as something else than the table was")
        }
        try table.drop("restored")
    }

    private func bytes(below name: String) throws -> (files: Int, bytes: UInt64) {
        let collections = folder + "/backups/collections"
        let id = try FileManager.default.contentsOfDirectory(atPath: collections)[0]
        let directory = "\(collections)/\(id)/\(name)"
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
        let bytes = try names.reduce(UInt64(0)) { sum, name in
            let attributes = try FileManager.default.attributesOfItem(
                atPath: directory + "/" + name)
            return sum + (attributes[.size] as? UInt64 ?? 0)
        }
        return (names.count, bytes)
    }
}

/// Of this process, all threads together: what else the machine does doesn't count.
private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
