import Bytes
import Foundation

/// `writer.py` at work: another process that changes a database, and knows what it held when.
final class Writer {
    struct Answer: Decodable {
        var error: String?
        var tables: [String]?
        var isDatabase: Bool?
        var version: Int?
        var files: [File]?

        struct File: Decodable {
            var table: String
            var bytes: Int

            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                table = try list.decode(String.self)
                bytes = try list.decode(Int.self)
            }
        }
    }

    private struct Command: Encodable {
        var `do`: String
        var seed: UInt64?
        var path: String?
        var n: Int?
        var version: Int?
        var tables: [String: [[String]]]?
    }

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var buffered: [UInt8] = []

    init() throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("writer.py").path
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", script]
        process.standardInput = input
        process.standardOutput = output
        try withoutBlockedSignals { try process.run() }
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    func open(seed: UInt64, path: String) throws -> Answer {
        try send(Command(do: "open", seed: seed, path: path))
        return try answer()
    }

    /// Lets it change the database; `finish` waits until it has.
    func go(_ transactions: Int) throws { try send(Command(do: "go", n: transactions)) }

    func finish() throws { _ = try answer() }

    /// What each table held at a version, as CSV, given the types that the backup has for it.
    func expect(version: Int, _ tables: [Manifest.Table]) throws -> [String: [UInt8]] {
        let types = tables.map { table in
            (
                table.path,
                table.columns.map { [$0.name, $0.type, $0.literal == true ? "literal" : ""] }
            )
        }
        try send(
            Command(
                do: "expect", version: version,
                tables: Dictionary(types, uniquingKeysWith: { first, _ in first })))
        var files: [String: [UInt8]] = [:]
        for file in try answer().files ?? [] { files[file.table] = try take(file.bytes) }
        return files
    }

    private func send(_ command: Command) throws {
        let line = try JSONEncoder().encode(command) + [10]
        try input.fileHandleForWriting.write(contentsOf: line)
    }

    private func answer() throws -> Answer {
        while !buffered.contains(10) { try fill() }
        let line = buffered.prefix { $0 != 10 }
        buffered.removeFirst(line.count + 1)
        let answer = try JSONDecoder().decode(Answer.self, from: Data(line))
        if let error = answer.error { throw Failure(.system, "writer.py: \(error)") }
        return answer
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while buffered.count < count { try fill() }
        defer { buffered.removeFirst(count) }
        return Array(buffered.prefix(count))
    }

    private func fill() throws {
        let more = output.fileHandleForReading.availableData
        if more.isEmpty { throw Failure(.system, "writer.py has died") }
        buffered += more
    }
}
