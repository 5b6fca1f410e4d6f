import Bytes
import DumpSource
import Engine
import Repository
import Tables
import TestSupport
import Testing

import struct Foundation.Data
import struct Foundation.Date
import class Foundation.FileManager
import struct Foundation.ObjCBool
import class Foundation.Process
import struct Foundation.URL
import struct Foundation.UUID

/// A directory that goes away with it.
final class Folder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/ydbfs-dump-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file, and the folders that it lies in.
    func write(_ text: String, to name: String) throws {
        try write([UInt8](text.utf8), to: name)
    }

    func write(_ bytes: [UInt8], to name: String) throws {
        let url = URL(filePath: path + "/" + name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path + "/" + name)
    }

    /// Runs `dump.py`, which knows nothing of this program.
    func makeDumps(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let program = URL(filePath: #filePath).deletingLastPathComponent().path + "/dump.py"
        process.arguments = ["python3", program] + arguments
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }

    func names(_ name: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path + "/" + name).sorted()
    }

    /// All files below a place.
    func files(_ place: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path + "/" + place).filter {
            var isDirectory: ObjCBool = false
            let path = "\(path)/\(place)/\($0)"
            return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
                && !isDirectory.boolValue
        }.sorted()
    }

    /// Sets the time of all files to one of seconds since 1970.
    func touch(_ place: String, _ seconds: Int) throws {
        for file in try files(place) {
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: Double(seconds))],
                ofItemAtPath: "\(path)/\(place)/\(file)")
        }
    }

    func bytes(_ name: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(filePath: path + "/" + name)))
    }

    func text(_ name: String) throws -> String {
        try String(contentsOfFile: path + "/" + name, encoding: .utf8)
    }
}

/// Points of others taken into a repository in memory.
struct Imported {
    let engine: Engine

    init(_ source: any PointSource, _ storage: MemoryStorage = MemoryStorage()) throws {
        var options = Engine.Options()
        options.limits = .tiny
        options.points = source
        options.storage = { _ in storage }
        engine = try Engine(
            location: .directory("memory"), database: nil, cache: SharedCache(maxBytes: 8 << 20),
            options: options)
    }

    /// Imports what is new; answers how each `PULL` ended.
    @discardableResult
    func pull() throws -> [Operation.Status] {
        try engine.submit(engine.newPoints().statements, owner: 0).map { $0.wait() }
    }

    /// A `PULL` of everything that must have gone well, and what it says.
    @discardableResult
    func pullAll() throws -> [String] {
        let ends = try pull()
        #expect(ends.allSatisfy { $0.state == .done }, "\(ends.compactMap(\.error))")
        return ends.flatMap(\.notes)
    }

    func collection(_ name: String) throws -> CollectionState {
        try #require(engine.collection(name))
    }

    /// A table at a point, as it is shown.
    func csv(_ collection: String, _ point: String, _ path: String) throws -> String {
        let state = try self.collection(collection)
        let found = try #require(state.point(named: point), "no point \(point)")
        guard let table = state.table(path: path, at: found.sequence) else {
            throw found.missing(path)
        }
        let cursor = SnapshotCursor(engine.snapshot(table, of: state))
        let renderer = CSVRenderer(table.schema)
        let text = ByteBuffer()
        text.append(renderer.header)
        let batch = RowBatch(table.schema)
        var more = true
        while more {
            batch.removeAll()
            more = try cursor.next(into: batch, maxRows: 100, maxBytes: 1 << 20)
            renderer.render(batch, 0..<batch.count, into: text)
        }
        #expect(table.sizes["csv"] == UInt64(text.count), "\(point) \(path)")
        return String(decoding: text.array, as: UTF8.self)
    }

    /// Why a table isn't in a point.
    func reason(_ collection: String, _ point: String, _ path: String) throws -> String {
        let found = try #require(try self.collection(collection).point(named: point))
        return found.notBackedUp.first { $0.path == path }?.reason ?? "it is there"
    }
}

/// A table `orders` with a key `id` and the columns `item` and `amount`.
enum Orders {
    static let columns = """
        columns { name: "id" type { type_id: UINT64 } not_null: true }
        columns { name: "item" type { optional_type { item { type_id: UTF8 } } } }
        columns { name: "amount" type { optional_type { item { type_id: INT64 } } } }
        """
    static let key = "\nprimary_key: \"id\"\n"
    static let scheme = columns + key
    static let metadata = """

        columns {
          name: "__ydb_incrBackupImpl_changeMetadata"
          type { optional_type { item { type_id: STRING } } }
        }
        """
    static let deltaScheme = columns + metadata + key
    static let header = "id,item,amount\n"

    /// Change markers of these (tag, NULL, changed).
    static func markers(
        _ states: [(tag: UInt8, isNull: Bool, isChanged: Bool)], isDeleted: Bool = false
    ) -> String {
        var bytes: [UInt8] = []
        for state in states {
            bytes += [
                0x0A, 6, 8, state.tag, 0x10, state.isNull ? 1 : 0, 0x18, state.isChanged ? 1 : 0,
            ]
        }
        bytes += [0x10, isDeleted ? 1 : 0]
        return "\"" + bytes.map { "%" + String(format: "%02X", $0) }.joined() + "\""
    }
}
