import Bytes
import Synchronization
import Tables

/// A source that knows what changed since the cut whose knowledge it is given: it keeps the hash of
/// every row. It does so rightly, unless it is told to lie; everything else is as the real one has it.
package struct RangedSource: ForwardedRestores {
    package enum Lie: Sendable {
        /// Says nothing of changes to rows of this table that are still there.
        case hidesUpdates(String)
        /// Says nothing of rows that came and went.
        case hidesRows(String)
        /// Gives all rows as those in the ranges.
        case givesAllRows(String)
        /// Says that so many rows more are unchanged.
        case counts(String, Int)
        /// Finds as its rows are read that it was wrong.
        case takesBack(String)
    }

    /// What was asked of a source, and what it is to answer.
    package final class Script: Sendable {
        private struct State {
            var lies: [Lie] = []
            var ranges: [String: Int] = [:]
            var known: [Bool] = []
            var keepsNothing = false
        }
        private let state = Mutex(State())

        package init() {}

        package var lies: [Lie] {
            get { state.withLock { $0.lies } }
            set { state.withLock { $0.lies = newValue } }
        }
        /// Whether knowledge is written by an error.
        package var keepsNothing: Bool {
            get { state.withLock { $0.keepsNothing } }
            set { state.withLock { $0.keepsNothing = newValue } }
        }
        /// How many ranges were told of each table since this was last asked for.
        package func takeRanges() -> [String: Int] {
            state.withLock { state in
                defer { state.ranges = [:] }
                return state.ranges
            }
        }
        /// For each cut, whether it was given something that is known.
        package var known: [Bool] { state.withLock { $0.known } }

        fileprivate func told(_ path: String, _ ranges: Int) {
            state.withLock { $0.ranges[path] = ranges }
        }
        fileprivate func opened(isKnown: Bool) { state.withLock { $0.known.append(isKnown) } }
    }

    package let base: any RestorableSource
    private let script: Script

    package init(_ base: any RestorableSource, _ script: Script) {
        self.base = base
        self.script = script
    }

    package var name: String { base.name }

    package func listTables() throws -> [SourceTable] { try base.listTables() }

    package func openCut(_ request: CutRequest) throws -> any SourceCut {
        if request.keepsKnowledge { script.opened(isKnown: request.known != nil) }
        return try RangedCut(
            base.openCut(CutRequest(omitted: request.omitted)), request, script)
    }
}

private final class RangedCut: SourceCut {
    /// The hash of each row, by its key.
    typealias Rows = [[UInt8]: ContentHash]

    private let base: any SourceCut
    private let script: RangedSource.Script
    private let keepsKnowledge: Bool
    /// By path; what the parent's cut kept.
    private let known: [String: Rows]?

    init(_ base: any SourceCut, _ request: CutRequest, _ script: RangedSource.Script) throws {
        self.base = base
        self.script = script
        keepsKnowledge = request.keepsKnowledge
        known = try request.known.map(Self.read)
    }

    var instant: Int64 { base.instant }

    func listTables() throws -> [SourceTable] { try base.listTables() }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        try base.describe(path, parent: parent, nextColumnID: nextColumnID, exactly: exactly)
    }

    func countRows(_ path: String) throws -> UInt64 { try base.countRows(path) }

    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        try base.scan(path, schema: schema, checkpoint: checkpoint)
    }

    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        try base.rows(path, schema: schema)
    }

    var views: String { base.views }

    var facts: DatabaseFacts? { get throws { try base.facts } }

    var notes: [String] { base.notes }

    func close() { base.close() }

    // MARK: What changed

    func changes(_ path: String, schema: TableSchema, parentRows: UInt64) throws -> Changes {
        guard let old = known?[path] else {
            return .whole(reason: "nothing is known of it", isDoubt: false)
        }
        let (batch, new) = try read(path, schema)
        var changed = Set(old.keys).union(new.keys).filter { old[$0] != new[$0] }
        var extra = 0
        var givesAll = false
        var takesBack = false
        for lie in script.lies {
            switch lie {
            case .hidesUpdates(path): changed = changed.filter { old[$0] == nil || new[$0] == nil }
            case .hidesRows(path): changed = changed.filter { old[$0] != nil && new[$0] != nil }
            case .givesAllRows(path): givesAll = true
            case .counts(path, let rows): extra = rows
            case .takesBack(path): takesBack = true
            default: break
            }
        }
        let ranges = try Self.ranges(of: changed, in: Set(old.keys).union(new.keys))
        script.told(path, ranges.count)
        let inside = RowBatch(schema)
        for row in 0..<batch.count
        where givesAll || ranges.contains(NormalizedKey.of(batch, row: row, schema: schema)) {
            inside.append(batch, row: row)
        }
        let unchanged = new.keys.count { !ranges.contains($0) } + extra
        return .ranges(
            ranges, rows: HeldRows(inside, isDoubtful: takesBack),
            unchangedRows: UInt64(max(unchanged, 0)))
    }

    /// From the last key that didn't change to the next one.
    private static func ranges(
        of changed: Set<[UInt8]>, in keys: Set<[UInt8]>
    ) throws -> KeyRanges {
        var ranges = KeyRanges()
        var lower: [UInt8]?
        var isOpen = false
        for key in keys.sorted(by: isBefore) {
            if changed.contains(key) {
                isOpen = true
                continue
            }
            if isOpen { try ranges.append(after: lower, before: key) }
            isOpen = false
            lower = key
        }
        if isOpen { try ranges.append(after: lower, before: nil) }
        return ranges
    }

    private func read(_ path: String, _ schema: TableSchema) throws -> (RowBatch, Rows) {
        let cursor = try base.scan(path, schema: schema, checkpoint: {})
        let batch = RowBatch(schema)
        while try cursor.next(into: batch, maxRows: .max, maxBytes: .max) {}
        let hasher = RowHasher(schema)
        var rows: Rows = [:]
        for row in 0..<batch.count {
            let key = NormalizedKey.of(batch, row: row, schema: schema)
            rows[key] = hasher.hash(batch, row..<row + 1)
        }
        return (batch, rows)
    }

    // MARK: Knowledge

    /// For each table its path, and how many rows; for each row key and hash. Lines of text.
    func writeKnowledge(to sink: any ByteSink) throws {
        precondition(keepsKnowledge)
        if script.keepsNothing { throw Failure(.system, "nothing can be written") }
        for table in try base.listTables() where table.refusal == nil {
            let schema = try base.describe(
                table.path, parent: nil, nextColumnID: 1, exactly: false
            ).schema
            let (_, rows) = try read(table.path, schema)
            let text = ByteBuffer()
            text.append("\(table.path)\n\(rows.count)\n")
            for (key, hash) in rows {
                text.append("\(key.map(String.init).joined(separator: " "))\n\(hash)\n")
            }
            try sink.append(text)
        }
    }

    private static func read(_ known: any RandomAccess) throws -> [String: Rows] {
        let buffer = ByteBuffer()
        try known.read(at: 0, count: Int(known.sizeBytes), into: buffer)
        let text = String(decoding: buffer.array, as: UTF8.self)
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        var tables: [String: Rows] = [:]
        while lines.count > 2 {
            let path = String(lines.removeFirst())
            var rows: Rows = [:]
            for _ in 0..<(Int(lines.removeFirst()) ?? 0) {
                let key = lines.removeFirst().split(separator: " ").map { UInt8($0)! }
                rows[key] = ContentHash(hex: String(lines.removeFirst()))
            }
            tables[path] = rows
        }
        return tables
    }
}

/// Rows in memory.
private final class HeldRows: RowCursor {
    private let batch: RowBatch
    private let isDoubtful: Bool
    private var next = 0

    init(_ batch: RowBatch, isDoubtful: Bool) {
        self.batch = batch
        self.isDoubtful = isDoubtful
    }

    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        if isDoubtful { throw DoubtfulChanges("rows came that nobody knew of") }
        let end = min(batch.count, next + max(maxRows - output.count, 0))
        output.append(batch, rows: next..<end)
        next = end
        return next < batch.count
    }
}
