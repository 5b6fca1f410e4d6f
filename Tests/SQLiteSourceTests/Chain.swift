import Bytes
import Foundation
import SQLiteSource
import Tables

/// What the engine does with a source, in small: takes points of a database and keeps the contents
/// of each table, from changes where they are captured, from scans elsewhere.
///
/// At every point the merged contents are compared with a scan of the same cut.
final class Chain {
    let source: SQLiteSource
    let collection: String
    var tables: [String: Contents] = [:]
    var state: CaptureState?
    var policy = CapturePolicy.auto
    private var nextColumnID: UInt32 = 1
    private var nextNonce = 0

    /// How each table's changes were found at the newest point: nil from captured keys, else why not.
    private(set) var scanned: [String: String] = [:]
    private(set) var keyed: [String: Int] = [:]
    private(set) var lines: [String] = []

    init(
        _ path: String, collection: String = "c", captureAbove: UInt64 = 0,
        logLimit: Int64 = 1 << 40
    ) throws {
        source = try SQLiteSource(
            path: path, captureAbove: captureAbove, logLimit: logLimit, busyTimeout: 20)
        self.collection = collection
    }

    struct Wrong: Error, CustomStringConvertible {
        var description: String
    }

    /// Takes a point; `whileOpen` runs as the cut is open.
    /// - Parameter commits: false leaves the source without word that the point is durable.
    func takePoint(
        of names: [String] = ["t"], commits: Bool = true, whileOpen: () throws -> Void = {}
    ) throws {
        lines = try source.prepare(
            collection: collection, tables: names, rows: [:], capture: policy)
        nextNonce += 1
        let cut = try source.openCut(collection: collection, nonce: "\(collection)-\(nextNonce)")
        defer { cut.close() }
        scanned = [:]
        keyed = [:]
        try whileOpen()
        for name in names {
            tables[name] = try contents(name, cut)
        }
        for name in tables.keys where !names.contains(name) { tables[name] = nil }
        let recorded = try cut.state
        state = recorded
        if commits { try source.committed(collection: collection, state: recorded) }
    }

    private func contents(_ name: String, _ cut: any SourceCut) throws -> Contents {
        let parent = tables[name]
        let live = try cut.read(name, parent: parent?.schema, nextColumnID: nextColumnID)
        nextColumnID = max(nextColumnID, live.schema.columns.map(\.id).max()! + 1)
        guard live.isOrdered else {
            throw Wrong(description: "\(name) is out of order: \(live.rows)")
        }
        guard try cut.countRows(name) == UInt64(live.rows.count) else {
            throw Wrong(description: "count of \(name)")
        }
        guard let parent, let state, parent.schema == live.schema else {
            scanned[name] = "first or reset"
            return live
        }
        let merged: Contents
        do {
            switch try cut.changes(name, schema: parent.schema, since: state) {
            case .scan(let reason, _):
                scanned[name] = reason
                return live
            case .keys(let cursor):
                merged = try self.merged(parent, cursor, name)
            }
        } catch is Misfit {
            throw Wrong(description: "\(name): a change doesn't fit, though a scan does")
        }
        if merged.rows.count != live.rows.count {
            scanned[name] = "count"
            return live
        }
        guard merged == live else {
            throw Wrong(description: "\(name): merged \(merged.rows)\nlive \(live.rows)")
        }
        return merged
    }

    private func merged(
        _ parent: Contents, _ cursor: any ChangeCursor, _ name: String
    ) throws -> Contents {
        let schema = parent.schema
        var rows: [[Value]: [Value]] = [:]
        for row in parent.rows { rows[parent.key(row)] = row }
        var changed: [[Value]] = []
        let batch = RowBatch(schema)
        var present: [Bool] = []
        while try cursor.next(into: batch, present: &present, maxRows: 3, maxBytes: 1 << 20) {
            guard present.count == batch.count else { throw Wrong(description: "present") }
            for (row, isThere) in zip(batch.rows(schema), present) {
                let key = parent.key(row)
                changed.append(key)
                rows[key] = isThere ? row : nil
            }
            batch.removeAll()
            present.removeAll()
        }
        for (left, right) in zip(changed, changed.dropFirst()) where !Value.precedes(left, right) {
            throw Wrong(description: "\(name): keys out of order or twice: \(changed)")
        }
        keyed[name] = changed.count
        let sorted = rows.keys.sorted(by: Value.precedes).map { rows[$0]! }
        return Contents(schema: schema, rows: sorted)
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
