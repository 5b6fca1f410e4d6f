import Bytes
import Engine
import Foundation
import Fuse
import Repository
import SQLiteSource
import Tables
import TestSupport
import Testing
import Volume

/// A folder in memory that goes away with the test: what is tested here is the product, not disks.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/dev/shm/ydbfs-volume.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("can't make a scratch folder") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static func / (scratch: Scratch, name: String) -> String { scratch.path + "/" + name }
}

/// How a test's product differs from the usual one.
struct Settings {
    var limits = FormatLimits()
    var cacheBytes = 16 << 20
    /// What a data file of a dump reaches before the next one begins; nil: the usual.
    var dumpFileBytes: UInt64?
    /// Whether there is a database behind it.
    var hasDatabase = true
    var isReadOnly = false
    /// Entries of a log after which a catalog is made.
    var catalogInterval: UInt64 = 64
    /// Seconds between the condemnation of a file and its removal.
    var removalDelay: Int64 = 10
    /// Another clock than the system's.
    var testClock: TestClock?
    /// How a backup waits for a second of its own.
    var pause: (@Sendable (Double) -> Void)?
    /// What the source knows of changes; nil if it knows what the real one does.
    var script: RangedSource.Script?
    /// So many cuts may trust what is known.
    var auditInterval = 100
    /// Holds backups up.
    var gate: Gate?
    /// What schedules go by.
    var clock: @Sendable () -> Instant = { .now }
    /// Bytes per second that operations may write.
    var rate: Int?
    /// Where the repository lies.
    var storage: @Sendable (Location) -> any Storage = { $0.storage() }
}

/// Everything between a database file and a tree, wired as the program wires it.
final class Product: Sendable {
    let database: String
    let location: String
    let engine: Engine
    let volume: Volume

    init(_ database: String, location: String? = nil, _ settings: Settings = Settings()) throws {
        self.database = database
        self.location = location ?? database + ".backups"
        var options = Engine.Options()
        options.limits = settings.limits
        options.isReadOnly = settings.isReadOnly
        options.repository.catalogInterval = settings.catalogInterval
        options.repository.removalDelay = settings.removalDelay
        let testClock = settings.testClock
        if let testClock { options.repository.now = { testClock.microseconds } }
        // Points of one second get names of their own without waiting for the next one.
        let pause = settings.pause
        options.repository.pause = { seconds, checkpoint in
            try checkpoint()
            if let pause {
                pause(seconds)
                return try checkpoint()
            }
            if let testClock { return testClock.advance(seconds: Int64(seconds)) }
            if seconds >= 1 { try pauseMonotonically(seconds: seconds, checkpoint: checkpoint) }
        }
        options.clock = settings.clock
        options.rate = settings.rate
        options.auditInterval = settings.auditInterval
        options.storage = settings.storage
        let script = settings.script
        let plain = Engine.Database(path: "/Root/database") { patience in
            let real = try SQLiteSource(path: database, busyTimeout: patience ?? 60)
            let source: any RestorableSource = script.map { RangedSource(real, $0) } ?? real
            return testClock.map { ClockedSource(source, $0) } ?? source
        }
        engine = try Engine(
            location: .directory(self.location),
            database: settings.hasDatabase ? settings.gate?.database(database) ?? plain : nil,
            cache: SharedCache(maxBytes: settings.cacheBytes), options: options)
        var shown = Volume.Options(uid: getuid(), gid: getgid())
        if let limit = settings.dumpFileBytes { shown.dumpFileBytes = limit }
        volume = try Volume(engine: engine, source: database, options: shown)
    }

    var tree: DirectTree { DirectTree(volume: volume) }

    /// Ends it; trees are of no use any more.
    func close() {
        engine.close()
        volume.close()
    }
}

/// Which way a test goes to the tree.
enum Way: String, CaseIterable {
    case direct, mounted
}

/// Gives `body` a tree of a product, and ends both after it.
func withTree(
    _ way: Way, _ product: Product, _ body: (any Tree) throws -> Void
) throws {
    defer { product.close() }
    switch way {
    case .direct: try body(product.tree)
    case .mounted: try withMount(product) { try body(MountedTree(root: $0)) }
    }
}

/// Mounts a product in this process for the time of `body`.
func withMount(_ product: Product, _ body: (_ path: String) throws -> Void) throws {
    let scratch = try Scratch()
    let place = try MountPoint(
        preparing: scratch / "mount", protected: [product.database, product.location])
    let mount = try Mount(
        product.volume, at: place.path, options: Mount.Options(location: product.location))
    defer {
        mount.unmount(now: true)
        _ = mount.waitUntilEnded()
        place.remove()
    }
    try body(place.path)
}

extension Tree {
    /// Writes a statement to `control` and waits until its operation has ended; answers the line
    /// of `wait`.
    @discardableResult
    func run(_ statement: String, in collection: String) throws -> String {
        try write(collection + "/control", statement + "\n")
        let line = try text(collection + "/operation/wait")
        return line.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Takes a backup that must succeed; answers the point's path.
    func backup(
        _ kind: String, of collection: String, at location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let line = try run(kind, in: collection)
        #expect(line.hasPrefix("done point="), "\(kind): \(line)", sourceLocation: location)
        let point = line.dropFirst("done point=".count).prefix { $0 != " " }
        return collection + "/" + point
    }
}

/// The part of a point's `backup.json` that tests look at.
struct Manifest: Decodable {
    struct Column: Decodable {
        var name: String
        var type: String
        var literal: Bool?
    }

    struct Table: Decodable {
        var path: String
        var csv: String
        var parquet: String
        var sql: String
        var rows: Int
        var csvBytes: Int
        var parquetBytes: Int
        var columns: [Column]
        var key: [String]
    }

    struct Refused: Decodable {
        var path: String
        var reason: String
    }

    var kind: String
    var point: String
    var tables: [Table]
    var notBackedUp: [Refused]

    init(_ tree: any Tree, _ point: String) throws {
        let bytes = try tree.read(point + "/backup.json")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        self = try decoder.decode(Manifest.self, from: Data(bytes))
    }
}
