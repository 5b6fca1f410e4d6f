import Bytes
import Foundation
import SQLiteSource
import Tables

/// What the engine does with a source, in small: takes points of a database and keeps the contents
/// of each table, from what is said to have changed where that is known, from scans elsewhere.
///
/// At every point the merged contents are compared with a scan of the same cut.
final class Chain {
    let source: SQLiteSource
    var tables: [String: Contents] = [:]
    /// What the newest point's cut has kept.
    var known: MemoryObject?
    /// What the one before it has kept, which tells of another parent.
    private(set) var knownBefore: MemoryObject?
    private var nextColumnID: UInt32 = 1

    /// How each table's changes were found at the newest point: why by a comparison of all rows …
    private(set) var scanned: [String: String] = [:]
    /// … or how many rows lay in ranges that may have changed.
    private(set) var ranged: [String: Int] = [:]
    /// Why what was kept couldn't be trusted.
    private(set) var doubts: [String] = []

    /// - Parameter rules: wrong ones are to be noticed.
    init(_ path: String, rules: PageRules = PageRules()) throws {
        source = try SQLiteSource(path: path, busyTimeout: 20, rules: rules)
    }

    struct Wrong: Error, CustomStringConvertible {
        var description: String
    }

    /// Takes a point; `whileOpen` runs as the cut is open.
    /// - Parameter commits: false forgets the point, as if it had failed at its end.
    func takePoint(
        of names: [String] = ["t"], commits: Bool = true, whileOpen: () throws -> Void = {}
    ) throws {
        let cut = try source.openCut(CutRequest(known: known, keepsKnowledge: true))
        defer { cut.close() }
        scanned = [:]
        ranged = [:]
        doubts = []
        try whileOpen()
        var new: [String: Contents] = [:]
        for name in names { new[name] = try contents(name, cut) }
        let kept = MemoryObject()
        try cut.writeKnowledge(to: kept)
        if commits {
            tables = new
            knownBefore = known
            known = kept
        }
    }

    private func contents(_ name: String, _ cut: any SourceCut) throws -> Contents {
        let parent = tables[name]
        let live = try cut.read(name, parent: parent?.schema, nextColumnID: nextColumnID)
        nextColumnID = max(nextColumnID, live.schema.visibleColumns.map(\.id).max()! + 1)
        guard live.isOrdered else {
            throw Wrong(description: "\(name) is out of order: \(live.rows)")
        }
        guard try cut.countRows(name) == UInt64(live.rows.count) else {
            throw Wrong(description: "count of \(name)")
        }
        guard let parent, parent.schema == live.schema else {
            scanned[name] = "first or reset"
            return live
        }
        switch try cut.changes(name, schema: parent.schema, parentRows: UInt64(parent.rows.count)) {
        case .whole(let reason, let isDoubt):
            scanned[name] = reason
            if isDoubt { doubts.append(reason) }
        case .ranges(let ranges, let rows, let unchanged):
            do {
                let inside = try Contents(parent.schema, rows)
                try check(parent, inside, ranges, unchanged, live, name)
                ranged[name] = inside.rows.count
            } catch let doubt as DoubtfulChanges {
                scanned[name] = doubt.reason
                doubts.append("\(name): \(doubt.reason)")
            }
        }
        return live
    }

    /// The parent's rows outside of the ranges, and those inside now, are the table.
    private func check(
        _ parent: Contents, _ inside: Contents, _ ranges: KeyRanges, _ unchanged: UInt64,
        _ live: Contents, _ name: String
    ) throws {
        guard inside.keys.allSatisfy(ranges.contains) else {
            throw Wrong(description: "\(name): rows outside of the ranges")
        }
        let outside = parent.keys.indices.filter { !ranges.contains(parent.keys[$0]) }
        guard outside.count == unchanged else {
            throw Wrong(description: "\(name): \(outside.count) unchanged, not \(unchanged)")
        }
        let rows =
            outside.map { (parent.keys[$0], parent.rows[$0]) } + zip(inside.keys, inside.rows)
        let merged = rows.sorted { $0.0.lexicographicallyPrecedes($1.0) }.map(\.1)
        guard merged == live.rows else {
            throw Wrong(description: "\(name): merged \(merged)\nlive \(live.rows)")
        }
    }
}

/// Another program that holds the database open and executes what it is told.
final class Writer {
    enum Kind: CaseIterable { case python, shell }

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let kind: Kind

    init(_ kind: Kind, path: String) throws {
        self.kind = kind
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        switch kind {
        case .python:
            process.arguments = [
                pythonProgram, "-uc",
                """
                import sqlite3, sys, json
                c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
                for line in sys.stdin:
                    hold = line.startswith('hold ')
                    for sql in json.loads(line.removeprefix('hold ')):
                        try: c.execute(sql).fetchall()
                        except (sqlite3.Error, sqlite3.Warning): pass
                    if c.in_transaction and not hold: c.execute('rollback')
                    print('done')
                """, path,
            ]
        case .shell:
            process.arguments = ["sqlite3", "-cmd", ".timeout 30000", path]
        }
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle(forWritingAtPath: "/dev/null")
        try process.run()
    }

    /// Executes statements, ignoring their errors; ends an open transaction.
    func execute(_ statements: [String]) throws {
        let text =
            switch kind {
            case .python: String(decoding: try JSONEncoder().encode(statements), as: UTF8.self)
            case .shell: statements.map { "\($0);\n" }.joined() + "ROLLBACK;\n.print done"
            }
        try tell(text)
    }

    /// Executes a statement in Python and keeps its transaction open until the next `execute`.
    func hold(_ statement: String) throws {
        try tell("hold " + String(decoding: JSONEncoder().encode([statement]), as: UTF8.self))
    }

    private func tell(_ text: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data("\(text)\n".utf8))
        var tail = Data()
        while !tail.suffix(5).elementsEqual("done\n".utf8) {
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { throw Failure(.system, "the writer died") }
            tail.append(more)
        }
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}
