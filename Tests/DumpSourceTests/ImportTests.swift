import Bytes
import DumpSource
import Engine
import Repository
import Synchronization
import Tables
import TestSupport
import Testing

/// Points of others become points of a collection, whatever they come from.
@Suite struct ImportTests {
    @Test func `points keep their names, cuts and order, and partial changes are folded`() throws {
        let source = ScriptedSource()
        source.points = [
            ScriptedPoint(
                "b_full", cut: 2_000_000, rows: [[1, 10, 100], [2, 20, nil], [3, 30, 300]]),
            // A point whose time is earlier than that of the one before it.
            ScriptedPoint(
                "c_incremental", cut: 1_000_000,
                changes: [
                    ([1, nil, 111], "101"), ([2, nil, nil], "gone"), ([4, 40, nil], "110"),
                ]),
            ScriptedPoint("d_incremental", cut: 3_000_000, changes: []),
            ScriptedPoint("e_full", cut: 4_000_000, rows: [[7, 7, 7]]),
            ScriptedPoint("f_incremental", cut: 5_000_000, changes: [([7, nil, nil], "110")]),
        ]
        let imported = try Imported(source)
        try imported.pullAll()
        let state = try imported.collection("others")
        #expect(
            state.points.map(\.name) == [
                "b_full", "c_incremental", "d_incremental", "e_full", "f_incremental",
            ])
        #expect(state.points.map(\.cut) == [2, 1, 3, 4, 5].map { $0 * 1_000_000 })
        #expect(
            state.points.map(\.parentName) == [nil, "b_full", "c_incremental", nil, "e_full"])
        let csv = try state.points.map { try imported.csv("others", $0.name, "t") }
        #expect(csv[0] == "id,a,b\n1,10,100\n2,20,\n3,30,300\n")
        #expect(csv[1] == "id,a,b\n1,10,111\n3,30,300\n4,40,\n")
        #expect(csv[2] == csv[1])
        #expect(csv[3] == "id,a,b\n7,7,7\n")
        #expect(csv[4] == "id,a,b\n7,,7\n")
        #expect(state.definition?.sourceKind == "script")
        #expect(state.definition?.sql.contains("TABLE `t`") == true)
        #expect(try imported.engine.newPoints().statements.isEmpty)
    }

    @Test func `an import that fails goes on from where it was, and takes what is new`() throws {
        let source = ScriptedSource()
        let storage = MemoryStorage()
        source.points = [
            ScriptedPoint("1_full", cut: 1, rows: [[1, 1, 1]]),
            ScriptedPoint("2_incremental", cut: 2, changes: [([1, nil, 2], "101")]),
        ]
        source.failsAt = "2_incremental"
        let failed = try Imported(source, storage).pull()
        #expect(failed.map(\.state) == [.failed])
        #expect(failed[0].error == "the disk of 2_incremental is gone")
        source.failsAt = nil
        let imported = try Imported(source, storage)
        #expect(try imported.collection("others").points.map(\.name) == ["1_full"])
        try imported.pullAll()
        source.points.append(
            ScriptedPoint("3_incremental", cut: 3, changes: [([5, 5, 5], "111")]))
        try imported.pullAll()
        #expect(try imported.csv("others", "3_incremental", "t") == "id,a,b\n1,1,2\n5,5,5\n")
        #expect(source.opened == ["1_full", "2_incremental", "2_incremental", "3_incremental"])
    }

    @Test func `a point that was dropped isn't imported again, nor what stands on it`() throws {
        let source = ScriptedSource()
        source.points = [
            ScriptedPoint("1_full", cut: 1, rows: [[1, 1, 1]]),
            ScriptedPoint("2_incremental", cut: 2, changes: [([1, nil, 2], "101")]),
        ]
        let imported = try Imported(source)
        try imported.pullAll()
        let drop = try Statement.parse(
            "ALTER BACKUP COLLECTION others DROP BACKUP '2_incremental';")
        _ = try imported.engine.submit(drop, owner: 0)
        #expect(try imported.engine.newPoints().statements.isEmpty)
        source.points.append(
            ScriptedPoint("3_incremental", cut: 3, changes: [([5, 5, 5], "111")]))
        let told = "3_incremental isn't imported: what it stands on was dropped here"
        let stranded = try imported.engine.newPoints()
        #expect(stranded.statements.isEmpty && stranded.notes == ["others/" + told])
        source.points += [
            ScriptedPoint("4_full", cut: 4, rows: [[9, 9, 9]]),
            ScriptedPoint("5_incremental", cut: 5, changes: [([9, 1, nil], "110")]),
        ]
        #expect(try imported.pullAll() == [told])
        #expect(
            try imported.collection("others").points.map(\.name) == [
                "1_full", "4_full", "5_incremental",
            ])
        #expect(try imported.csv("others", "5_incremental", "t") == "id,a,b\n9,1,9\n")
        #expect(try imported.engine.newPoints().notes.isEmpty)
    }

    @Test func `an import stands where the newest point was compacted`() throws {
        let source = ScriptedSource()
        source.points = [
            ScriptedPoint("20250101000000Z_full", cut: 1, rows: [[1, 1, 1]]),
            ScriptedPoint("20250102000000Z_incremental", cut: 2, changes: [([1, nil, 2], "101")]),
        ]
        let imported = try Imported(source)
        try imported.pullAll()
        let compact = try imported.engine.submit(Statement.parse("COMPACT others;"), owner: 0)
        #expect(compact[0].wait().state == .done)
        source.points.append(
            ScriptedPoint("20250103000000Z_incremental", cut: 3, changes: [([1, 3, nil], "110")]))
        try imported.pullAll()
        #expect(
            try imported.csv("others", "20250103000000Z_incremental", "t") == "id,a,b\n1,3,2\n")
    }

    @Test func `a mount that pulls takes what has come to rest, and repeats no failure`() throws {
        let source = ScriptedSource()
        source.points = [ScriptedPoint("1_full", cut: 1, rows: [[1, 1, 1]])]
        let imported = try Imported(source)
        func look() throws -> [String] {
            imported.engine.pullNew()
            for operation in imported.engine.operations { _ = operation.wait() }
            return imported.engine.collection("others")?.points.map(\.name) ?? []
        }
        #expect(try look() == [])
        #expect(try look() == ["1_full"])
        let second = ScriptedPoint("2_incremental", cut: 2, changes: [([1, nil, 2], "101")])
        source.points.append(second)
        #expect(try look() == ["1_full"])
        // It is still being copied.
        source.points[1].point.version = "more-of-it"
        #expect(try look() == ["1_full"])
        source.failsAt = "2_incremental"
        #expect(try look() == ["1_full"])
        #expect(
            imported.engine.errors.newest().map(\.message) == [
                "operation 2 failed: the disk of 2_incremental is gone"
            ])
        source.failsAt = nil
        for _ in 0..<3 { #expect(try look() == ["1_full"]) }
        source.points.append(
            ScriptedPoint("3_incremental", cut: 3, changes: [([5, 5, 5], "111")]))
        #expect(try look() == ["1_full"])
        #expect(try look() == ["1_full", "2_incremental", "3_incremental"])
        source.points[0].point.version = "another-one"
        for _ in 0..<3 { _ = try look() }
        let told = imported.engine.errors.newest().map(\.message)
        #expect(told.count == 2 && told[1].hasPrefix("others/1_full: its files are others"))
    }

    @Test func `statements that need a database say that there is none`() throws {
        let source = ScriptedSource()
        source.points = [ScriptedPoint("1_full", cut: 1, rows: [[1, 1, 1]])]
        let imported = try Imported(source)
        try imported.pullAll()
        for text in ["BACKUP others;", "PULL others AT '1_full';", "PULL nobody;"] {
            #expect(throws: Failure.self, "\(text)") {
                try imported.engine.submit(Statement.parse(text), owner: 0)
            }
        }
    }
}

/// A point as a test wants it: of a table `t (id, a, b)`.
struct ScriptedPoint: Sendable {
    var point: SourcePoint
    var rows: [[Int64?]]
    /// For each row a digit for each column, 0 for what isn't given, or `gone`; nil for whole tables.
    var marks: [String]?

    init(_ name: String, cut: Int64, rows: [[Int64?]]) {
        point = SourcePoint(name: name, isIncremental: false, cut: cut, version: "of-" + name)
        self.rows = rows
    }

    init(_ name: String, cut: Int64, changes: [([Int64?], String)]) {
        point = SourcePoint(name: name, isIncremental: true, cut: cut, version: "of-" + name)
        rows = changes.map(\.0)
        marks = changes.map(\.1)
    }
}

final class ScriptedSource: PointSource {
    private struct State {
        var points: [ScriptedPoint] = []
        var failsAt: String?
        var opened: [String] = []
    }
    private let state = Mutex(State())

    let name = "a script"
    let kind = "script"
    let noun = "a script"
    let holdsDatabases = false
    var points: [ScriptedPoint] {
        get { state.withLock { $0.points } }
        set { state.withLock { $0.points = newValue } }
    }
    /// Reading the rows of this point fails.
    var failsAt: String? {
        get { state.withLock { $0.failsAt } }
        set { state.withLock { $0.failsAt = newValue } }
    }
    /// Names of the points that were opened.
    var opened: [String] { state.withLock { $0.opened } }

    func listCollections() throws -> [SourceCollection] {
        [SourceCollection(name: "others", points: points.map(\.point))]
    }

    func openPoint(
        _ point: SourcePoint, of collection: String, _ request: CutRequest,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws -> any SourceCut {
        state.withLock { $0.opened.append(point.name) }
        let found = points.first { $0.point == point }!
        return ScriptedCut(found, fails: failsAt == point.name)
    }
}

private final class ScriptedCut: SourceCut {
    private let point: ScriptedPoint
    private let fails: Bool
    let views = ""
    var instant: Int64 { point.point.cut }

    init(_ point: ScriptedPoint, fails: Bool) {
        self.point = point
        self.fails = fails
    }

    func listTables() throws -> [SourceTable] { [SourceTable(path: "t")] }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        let columns = ["id", "a", "b"].enumerated().map {
            Column(id: UInt32($0 + 1), name: $1, type: .int64)
        }
        return TableDescription(schema: try TableSchema(columns: columns, key: [0]), sql: "t;")
    }

    func countRows(_ path: String) throws -> UInt64 { UInt64(point.rows.count) }

    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor { try rows(path, schema: schema).rows }

    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        (try ScriptedRows(point, RowBatch(schema), fails: fails), true)
    }

    func delta(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> (any RowCursor)? {
        if point.marks == nil { return nil }
        return try ScriptedRows(point, RowBatch(DeltaRows.schema(of: schema)), fails: fails)
    }

    func close() {}
}

private final class ScriptedRows: RowCursor {
    private let all: RowBatch
    private let failure: Failure?
    private var next = 0

    init(_ point: ScriptedPoint, _ batch: RowBatch, fails: Bool) throws {
        for (row, values) in point.rows.enumerated() {
            for (column, value) in values.enumerated() {
                if let value {
                    batch.columns[column].append(value)
                } else {
                    batch.columns[column].appendNull()
                }
            }
            guard let marks = point.marks?[row] else { continue }
            batch.columns[3].append(
                bytes: marks == "gone"
                    ? [] : marks.map { $0 == "0" ? DeltaRows.kept : DeltaRows.given })
        }
        all = batch
        failure =
            fails ? Failure(.unreachable, "the disk of \(point.point.name) is gone") : nil
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        if let failure { throw failure }
        // One at a time, to see that nobody relies on more.
        if next < all.count { batch.append(all, row: next) }
        next += 1
        return next < all.count
    }
}
