import Bytes
import Foundation
import SQLiteSource
import Tables

/// A folder that goes away with the test, and the programs that write databases in it.
final class Workbench {
    let folder: String

    /// - Parameter inMemory: where syncing costs nothing, for tests that make hundreds of databases.
    init(inMemory: Bool = false) throws {
        folder =
            (inMemory ? "/dev/shm" : NSTemporaryDirectory()) + "/ydbfs-sqlite-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ name: String = "database.db") -> String { folder + "/" + name }

    /// Runs SQL in the `sqlite3` shell, as another program than this one.
    @discardableResult
    func shell(_ sql: String, on name: String = "database.db") throws -> String {
        try run("sqlite3", ["-bail", "-cmd", ".timeout 20000", path(name)], input: sql)
    }

    /// Runs Python with the database's path as `P`.
    @discardableResult
    func python(_ code: String, on name: String = "database.db") throws -> String {
        try run(pythonProgram, ["-"], input: "import sqlite3, sys\nP = '\(path(name))'\n" + code)
    }

    @discardableResult
    func run(_ program: String, _ arguments: [String], input: String = "") throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let script = path(".input-\(UUID().uuidString)")
        try input.write(toFile: script, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: script) }
        process.standardInput = FileHandle(forReadingAtPath: script)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(
            decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(.system, "\(program) said \(process.terminationStatus): \(text)")
        }
        return text.trimmingCharacters(in: .newlines)
    }

    /// Removes a database and what belongs to it.
    func remove(_ name: String) {
        for suffix in ["", "-wal", "-shm", "-journal", ".old", ".new"] {
            try? FileManager.default.removeItem(atPath: path(name + suffix))
        }
    }

    func digest(_ name: String = "database.db") throws -> String {
        try run("sha256sum", [path(name)])
    }

    var files: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
            .filter { !$0.hasPrefix(".input") }
    }
}

/// The system's Python first: others may be wrapped in scripts that take long to start.
let pythonProgram =
    FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")
    ? "/usr/bin/python3" : "python3"

/// A value as a test sees it.
enum Value: Hashable, CustomStringConvertible {
    case null
    case int(Int64)
    case double(UInt64)
    case bytes([UInt8])
    case literal([UInt8])

    static func text(_ text: String) -> Value { .bytes(Array(text.utf8)) }
    static func real(_ value: Double) -> Value { .double(value.bitPattern) }

    var description: String {
        switch self {
        case .null: "NULL"
        case .int(let value): "\(value)"
        case .double(let bits): "\(Double(bitPattern: bits))"
        case .bytes(let bytes): "‘\(String(decoding: bytes, as: UTF8.self))’"
        case .literal(let bytes): "SQL \(String(decoding: bytes, as: UTF8.self))"
        }
    }

    init(_ batch: RowBatch, _ column: Int, _ row: Int, _ schema: TableSchema) {
        let vector = batch.columns[column]
        if vector.isNull(row) {
            self = .null
        } else if schema.columns[column].isLiteral {
            self = .literal(vector.bytes(row))
        } else {
            switch schema.columns[column].type {
            case .int64: self = .int(vector.value(row, as: Int64.self))
            case .double: self = .double(vector.value(row, as: UInt64.self))
            default: self = .bytes(vector.bytes(row))
            }
        }
    }

    /// Our key order, written down a second time.
    static func precedes(_ left: [Value], _ right: [Value]) -> Bool {
        for (a, b) in zip(left, right) where a != b {
            switch (a, b) {
            case (.int(let a), .int(let b)): return a < b
            case (.double(let a), .double(let b)):
                return Double(bitPattern: a) < Double(bitPattern: b)
            case (.bytes(let a), .bytes(let b)), (.literal(let a), .literal(let b)):
                return a.lexicographicallyPrecedes(b)
            default: fatalError("keys of several kinds: \(a), \(b)")
            }
        }
        return false
    }
}

/// A table at a cut.
struct Contents: Equatable {
    var schema: TableSchema
    var rows: [[Value]]
    /// Normalized, of each row.
    var keys: [[UInt8]]

    /// What users see.
    var shown: [[Value]] { rows.map { Array($0.prefix(schema.visibleColumns.count)) } }

    func key(_ row: [Value]) -> [Value] { schema.key.map { row[$0] } }

    var isOrdered: Bool {
        zip(rows, rows.dropFirst()).allSatisfy { Value.precedes(key($0), key($1)) }
    }
}

extension SourceCut {
    /// Describes and scans a table, again with literals where a value doesn't fit, as the engine does.
    func read(_ path: String, parent: TableSchema? = nil, nextColumnID: UInt32 = 1) throws
        -> Contents
    {
        func read(exactly: Bool) throws -> Contents {
            let schema = try describe(
                path, parent: parent, nextColumnID: nextColumnID, exactly: exactly
            ).schema
            return try Contents(schema, scan(path, schema: schema, checkpoint: {}))
        }
        do {
            return try read(exactly: false)
        } catch is Misfit {
            return try read(exactly: true)
        }
    }
}

extension Contents {
    init(_ schema: TableSchema, _ cursor: any RowCursor) throws {
        self.init(schema: schema, rows: [], keys: [])
        let batch = RowBatch(schema)
        var more = true
        while more {
            more = try cursor.next(into: batch, maxRows: 100, maxBytes: 1 << 20)
            rows += batch.rows(schema)
            keys += (0..<batch.count).map { NormalizedKey.of(batch, row: $0, schema: schema) }
            batch.removeAll()
        }
    }
}

extension RowBatch {
    func rows(_ schema: TableSchema) -> [[Value]] {
        (0..<count).map { row in
            schema.columns.indices.map { Value(self, $0, row, schema) }
        }
    }
}

extension SQLiteSource {
    /// Opens a cut, reads, and closes it.
    func atCut<R>(
        _ request: CutRequest = CutRequest(), _ body: (any SourceCut) throws -> R
    ) throws -> R {
        let cut = try openCut(request)
        defer { cut.close() }
        return try body(cut)
    }
}
