import Bytes
import Tables
import TestSupport
import Testing

/// A table as a dictionary, and its CSV made in the simplest way there is.
struct ModelTable {
    typealias Row = (number: Int64, text: [UInt8]?)
    var rows: [Int64: Row] = [:]

    static let schema = try! TableSchema(
        columns: [
            Column(id: 1, name: "id", type: .int64), Column(id: 2, name: "n", type: .int64),
            Column(id: 3, name: "te,xt", type: .utf8),
        ], key: [0])

    static func append(_ key: Int64, _ row: Row, to batch: RowBatch) {
        batch.columns[0].append(key)
        batch.columns[1].append(row.number)
        if let text = row.text {
            batch.columns[2].append(bytes: text)
        } else {
            batch.columns[2].appendNull()
        }
    }

    /// Changes rows at random; answers the keys that may have changed.
    mutating func change(
        _ random: inout SeededGenerator, space: Int64, point: Int, grows: Bool
    ) -> Set<Int64> {
        var touched: Set<Int64> = []
        if grows, let last = rows.keys.max() {
            for key in last + 1...last + 7 {
                touched.insert(key)
                rows[key] = Self.randomRow(&random)
            }
        }
        if point % 4 == 3 {
            // A range of keys, in the table or behind it, is filled, emptied or rewritten.
            let first = Int64.random(in: -space...space + 20, using: &random)
            let action = Int.random(in: 0..<3, using: &random)
            for key in first...first + Int64.random(in: 0...40, using: &random) {
                touched.insert(key)
                if action == 2, rows[key] == nil { continue }
                rows[key] = action == 0 ? nil : Self.randomRow(&random)
            }
        }
        for _ in 0..<Int.random(in: 0...(point % 3 == 2 ? 30 : 4), using: &random) {
            let key = Int64.random(in: -space...space + Int64(point) * 3, using: &random)
            touched.insert(key)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: rows[key] = nil
            case 1: break
            default: rows[key] = Self.randomRow(&random)
            }
        }
        return touched
    }

    var batch: RowBatch {
        let batch = RowBatch(Self.schema)
        for key in rows.keys.sorted() { Self.append(key, rows[key]!, to: batch) }
        return batch
    }

    var csv: [UInt8] {
        var result = [UInt8]("id,n,\"te,xt\"\n".utf8)
        for key in rows.keys.sorted() {
            let row = rows[key]!
            result += "\(key),\(row.number),".utf8
            if let text = row.text {
                let quoted =
                    text.isEmpty || text.first == 32 || text.last == 32
                    || text.contains { $0 == 44 || $0 == 34 || $0 == 10 || $0 == 13 }
                result +=
                    quoted
                    ? [34] + text.flatMap { $0 == 34 ? [34, 34] : [$0] } + [34] : text
            }
            result.append(10)
        }
        return result
    }

    /// As YDB dumps it.
    var dump: [UInt8] {
        var result: [UInt8] = []
        for key in rows.keys.sorted() {
            let row = rows[key]!
            result += "\(key),\(row.number),".utf8
            result += row.text.map { Self.escaped($0) } ?? Array("null".utf8)
            result.append(10)
        }
        return result
    }

    static func escaped(_ text: [UInt8]) -> [UInt8] {
        let kept = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789~._-;!*@$/".utf8)
        var result: [UInt8] = [34]
        for byte in text {
            if kept.contains(byte) {
                result.append(byte)
            } else if byte == 32 {
                result += "+".utf8
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += ("%" + (digits.utf8.count == 1 ? "0" : "") + digits).utf8
            }
        }
        return result + [34]
    }

    static func randomRow(_ random: inout SeededGenerator) -> Row {
        let texts = ["", " ", "a", "a,b", "say \"hi\"", "line\nbreak", "äöü", "plain text", "cr\r"]
        let text = Bool.random(using: &random) ? texts.randomElement(using: &random)! : nil
        return (Int64.random(in: -5...1_000_000, using: &random), text.map { [UInt8]($0.utf8) })
    }
}

@Suite struct ChainTests {
    /// Such that upkeep happens early too.
    static var tiny: FormatLimits {
        var limits = FormatLimits.tiny
        limits.fileBytes = 400
        limits.editRows = 7
        limits.rebaseMinEdits = 2
        limits.joinSlices = 3
        limits.maxRuns = 2
        limits.equalTiers = 2
        return limits
    }

    /// The tiny ones, now and then such that one kind of upkeep doesn't keep others from happening.
    private static func limits(_ seed: Int) -> FormatLimits {
        if seed % 8 == 7 { return FormatLimits() }
        var limits = tiny
        if seed % 3 == 1 { limits.rebaseMinEdits = 1000 }
        if seed % 6 == 1 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        if seed % 3 == 2 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        if seed % 4 == 1 { limits.fatPages = 2 }
        return limits
    }

    @Test(arguments: 0..<400) func `every point of a random chain reads as the model`(seed: Int)
        throws
    {
        _ = try Self.history(seed: seed)
    }

    @Test func `random chains meet every kind of upkeep`() throws {
        var upkeep = Upkeep()
        for seed in 1000..<1080 { upkeep += try Self.history(seed: seed) }
        #expect(upkeep.rebased > 100)
        #expect(upkeep.thinned > 5)
        #expect(upkeep.joined > 10)
        #expect(upkeep.rowsRewritten > 1000)
        #expect(upkeep.slicesDropped > 5)
        #expect(upkeep.pagesDropped > 10)
        #expect(upkeep.tiersMerged > 100)
        #expect(upkeep.gathered > 30 && upkeep.rowsGathered > 100)
        #expect(upkeep.slicesInserted > 50 && upkeep.slicesSplit > 20)
    }

    private static func history(seed: Int) throws -> Upkeep {
        var random = SeededGenerator(seed: UInt64(seed))
        let limits = limits(seed)
        let files = MemoryFiles()
        let pool = FilePool(files, cache: SharedCache(maxBytes: seed % 2 == 0 ? 1 << 20 : 2000))
        var model = ModelTable()
        // The last one is sparse: ranges that are filled have room.
        let space = Int64([5, 40, 300, 3000].randomElement(using: &random)!)
        for _ in 0..<Int.random(in: 0...min(Int(space), 300), using: &random) {
            let key = Int64.random(in: -space...space, using: &random)
            model.rows[key] = ModelTable.randomRow(&random)
        }
        var upkeep = Upkeep()
        var points: [(Snapshot, ModelTable, TableResult)] = []
        var result = try FullWriter.write(
            BatchCursor(model.batch), schema: ModelTable.schema, table: "t", files: files,
            limits: limits)
        for point in 0..<12 {
            let snapshot = Snapshot(result.snapshot, schema: ModelTable.schema, pool: pool)
            points.append((snapshot, model, result))
            files.endBackup()
            let touched = model.change(&random, space: space, point: point, grows: seed % 5 == 0)
            let changes: any ChangeCursor
            if Bool.random(using: &random) {
                let batch = RowBatch(ModelTable.schema)
                for key in touched.sorted() {
                    ModelTable.append(key, model.rows[key] ?? (0, nil), to: batch)
                }
                changes = BatchCursor(
                    batch, present: touched.sorted().map { model.rows[$0] != nil })
            } else {
                changes = try Diff(
                    parent: snapshot, live: BatchCursor(model.batch), table: "t", progress: { _ in }
                )
            }
            if let next = try IncrementalWriter.write(
                parent: snapshot, hash: result.contentHash, parentChanges: result.changes,
                changes: changes, table: "t", files: files, limits: limits)
            {
                result = next
                upkeep += next.upkeep
            }
        }
        for (snapshot, model, result) in points {
            try check(snapshot, model, result, &random)
            try files.expectSound(result, ModelTable.schema)
        }
        return upkeep
    }

    private static func check(
        _ snapshot: Snapshot, _ model: ModelTable, _ result: TableResult,
        _ random: inout SeededGenerator
    ) throws {
        let expected = model.csv
        #expect(result.sizes["csv"] == UInt64(expected.count))
        #expect(result.sums.rows == UInt64(model.rows.count))
        #expect(result.contentHash == RowHasher(ModelTable.schema).hash(model.batch))
        let csv = CSVFile(snapshot)
        #expect(try csv.whole() == expected)
        try csv.expectParts(of: expected, &random)
        try snapshot.expectParquet(model.batch, bytes: result.sizes["parquet"]!, &random)
        #expect(result.sizes["dump"] == UInt64(model.dump.count))
        try snapshot.expectDump(model.dump, &random)
    }
}
