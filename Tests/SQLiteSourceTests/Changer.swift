import Bytes
import Foundation
import SQLiteSource
import Tables
import TestSupport

/// `changer.py`, at work on a database.
final class Changer {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var pending = Data()
    /// The database's journal mode after what was done last.
    private(set) var journalMode = ""
    /// What was done, for whoever looks into a failure.
    private(set) var steps: [String] = []

    init(seed: UInt64, path: String) throws {
        process.executableURL = URL(fileURLWithPath: pythonProgram)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
        process.arguments = [script + "/changer.py"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        journalMode = try ask(["do": "open", "seed": seed, "path": path])["mode"] as? String ?? ""
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// - Parameter gentle: nothing but rows is changed.
    func step(_ count: Int, gentle: Bool = false) throws {
        let answer = try ask(["do": "step", "n": count, "gentle": gentle])
        journalMode = answer["mode"] as? String ?? ""
        steps += answer["steps"] as? [String] ?? []
    }

    /// By table, the checksums of its rows, sorted.
    func dump() throws -> [String: [UInt32]] {
        let tables = try ask(["do": "dump"])["tables"] as? [String: [NSNumber]] ?? [:]
        return tables.mapValues { $0.map(\.uint32Value) }
    }

    func close() throws { _ = try ask(["do": "close"]) }

    private func ask(_ command: [String: Any]) throws -> [String: Any] {
        var line = try JSONSerialization.data(withJSONObject: command)
        line.append(10)
        try input.fileHandleForWriting.write(contentsOf: line)
        while true {
            if let end = pending.firstIndex(of: 10) {
                let answer = pending[..<end]
                pending = Data(pending[(end + 1)...])
                return try JSONSerialization.jsonObject(with: answer) as? [String: Any] ?? [:]
            }
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { throw Failure(.system, "changer.py died after \(steps.suffix(3))") }
            pending.append(more)
        }
    }
}

extension Contents {
    /// As `changer.py` makes them.
    func checksums() throws -> [UInt32] {
        try rows.map { row in
            let text = ByteBuffer()
            for (value, column) in zip(row, schema.columns) {
                let (kind, content) = try Self.part(value, column)
                text.append(kind)
                text.append(fixed: UInt64(content.count))
                text.append(content)
            }
            return text.withBytes { Checksum.crc32($0) }
        }.sorted()
    }

    private static func part(_ value: Value, _ column: Column) throws -> (String, [UInt8]) {
        switch value {
        case .null: return ("n", [])
        case .int(let value): return ("i", Array("\(value)".utf8))
        case .double(let bits): return ("r", real(bits))
        case .bytes(let bytes): return (column.type == .utf8 ? "t" : "b", bytes)
        case .literal(let text): return try part(literal: String(decoding: text, as: UTF8.self))
        }
    }

    private static func real(_ bits: UInt64) -> [UInt8] {
        let digits = String(bits, radix: 16)
        return Array((String(repeating: "0", count: 16 - digits.count) + digits).utf8)
    }

    private static func part(literal: String) throws -> (String, [UInt8]) {
        if literal.hasPrefix("'") {
            let inner = literal.dropFirst().dropLast()
            return ("t", Array(inner.replacingOccurrences(of: "''", with: "'").utf8))
        }
        if literal.hasPrefix("X'") {
            let digits = Array(literal.dropFirst(2).dropLast())
            return (
                "b",
                stride(from: 0, to: digits.count, by: 2).map {
                    UInt8(String(digits[$0..<$0 + 2]), radix: 16)!
                }
            )
        }
        if let integer = Int64(literal) { return ("i", Array("\(integer)".utf8)) }
        guard let double = Double(literal) else {
            throw Failure(.corrupt, "no literal: \(literal)")
        }
        return ("r", real(double.bitPattern))
    }
}

/// Points of a database that `changer.py` changes: each is compared with what that program says is
/// there, and with a scan of the same cut.
struct PageHistory {
    var ranged = 0
    var scanned = 0
    var rows = 0
    /// Rows in ranges.
    var compared = 0
    var doubts: [String] = []

    /// - Parameters:
    ///   - chain: to take the points with; its source's rules may be wrong ones.
    ///   - forgets: whether what was kept is lost now and then.
    mutating func run(
        seed: UInt64, points: Int, in bench: Workbench, rules: PageRules = PageRules(),
        adjust: (Chain, Int) -> Void = { _, _ in }
    ) throws {
        let name = "pages-\(seed).db"
        defer { bench.remove(name) }
        let changer = try Changer(seed: seed, path: bench.path(name))
        let chain = try Chain(bench.path(name), rules: rules)
        var random = SeededGenerator(seed: seed)
        for point in 0..<points {
            try changer.step(random.pick([0, 1, 1, 2, 4, 10, 25]))
            let expected = try changer.dump()
            let mayWrite = changer.journalMode == "wal" && random.chance(50)
            adjust(chain, point)
            do {
                try chain.takePoint(of: expected.keys.sorted()) {
                    if mayWrite { try changer.step(random.below(4), gentle: true) }
                }
                try compare(chain, expected)
            } catch {
                throw Chain.Wrong(
                    description: "seed \(seed), point \(point), after "
                        + "\(changer.steps.suffix(30)): \(String(describing: error).prefix(2000))")
            }
            ranged += chain.ranged.count
            scanned += chain.scanned.count
            compared += chain.ranged.values.reduce(0, +)
            doubts += chain.doubts.map { "seed \(seed): \($0)" }
            if random.chance(3) { chain.known = nil }
        }
        try changer.close()
    }

    private mutating func compare(_ chain: Chain, _ expected: [String: [UInt32]]) throws {
        for (name, rows) in expected {
            self.rows += rows.count
            guard try chain.tables[name]?.checksums() == rows else {
                throw Chain.Wrong(description: "\(name) isn't what SQLite says it is")
            }
        }
    }
}
