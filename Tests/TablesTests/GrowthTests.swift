import Bytes
import Tables
import TestSupport
import Testing

/// Chains that grow, shrink, get long, or meet damage and sources that break their word.
@Suite struct GrowthTests {
    /// A table whose points are checked one after the other as it changes.
    private final class Chain {
        let files = MemoryFiles()
        let limits: FormatLimits
        private(set) var model = ModelTable()
        private(set) var result: TableResult
        private(set) var upkeep = Upkeep()
        private var points: [(result: TableResult, model: ModelTable)] = []

        init(_ keys: some Sequence<Int64>, limits: FormatLimits) throws {
            self.limits = limits
            for key in keys { model.rows[key] = Self.row(key, 0) }
            result = try FullWriter.write(
                BatchCursor(model.batch), schema: ModelTable.schema, table: "t", files: files,
                limits: limits)
            points.append((result, model))
        }

        static func row(_ key: Int64, _ point: Int64) -> ModelTable.Row {
            (key * 1000 + point, [UInt8]("row \(key) at \(point)".utf8))
        }

        func snapshot(cache: Int = 1 << 20) -> Snapshot {
            Snapshot(
                result.snapshot, schema: ModelTable.schema,
                pool: FilePool(files, cache: SharedCache(maxBytes: cache)))
        }

        /// Takes an incremental that puts and deletes keys; answers false if nothing changed.
        @discardableResult func point(
            put: some Sequence<Int64>, delete: some Sequence<Int64> = [] as [Int64]
        ) throws -> Bool {
            files.endBackup()
            var touched: Set<Int64> = []
            for key in put {
                model.rows[key] = Self.row(key, Int64(points.count))
                touched.insert(key)
            }
            for key in delete {
                model.rows[key] = nil
                touched.insert(key)
            }
            let batch = RowBatch(ModelTable.schema)
            let keys = touched.sorted()
            for key in keys {
                ModelTable.append(key, model.rows[key] ?? (0, nil), to: batch)
            }
            let changes = BatchCursor(batch, present: keys.map { model.rows[$0] != nil })
            let filesBefore = files.all.count
            let next = try IncrementalWriter.write(
                parent: snapshot(), hash: result.contentHash, parentChanges: result.changes,
                changes: changes, table: "t", files: files, limits: limits)
            #expect(try rowsOfRuns(behind: filesBefore) == next?.changes ?? 0)
            points.append((next ?? result, model))
            result = next ?? result
            upkeep += next?.upkeep ?? Upkeep()
            return next != nil
        }

        /// Rows that the last runs recorded.
        private func rowsOfRuns(behind number: Int) throws -> UInt64 {
            let new = files.all.filter { $0.key > number && $0.value.sizeBytes > 0 }
            return try new.values.reduce(0) { sum, file in
                let magic = ByteBuffer()
                try file.read(at: 0, count: 4, into: magic)
                guard magic.array == [UInt8]("PAR1".utf8) else { return sum }
                let runs = try RowFile(file)
                return sum + (runs.metadata["ydbfs.kind"] == "run" ? UInt64(runs.rows) : 0)
            }
        }

        /// Each slice's row file, and how many edits it has.
        func slices() throws -> [(file: UInt64, edits: UInt64)] {
            try snapshot().slices().map { ($0.file, $0.sums.edits) }
        }

        /// Rows of the page that has most.
        func largestPage() throws -> UInt64 {
            try snapshot().slices().flatMap(\.pages).map(\.rows).max() ?? 0
        }

        /// Reads every point so far and compares it with the model of that time.
        func checkAll() throws {
            let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 18))
            for (index, point) in points.enumerated() {
                let snapshot = Snapshot(
                    point.result.snapshot, schema: ModelTable.schema, pool: pool)
                #expect(try CSVFile(snapshot).whole() == point.model.csv, "point \(index)")
                var random = SeededGenerator(seed: UInt64(index))
                try snapshot.expectParquet(
                    point.model.batch, bytes: point.result.sizes["parquet"]!, &random)
                try files.expectSound(point.result, ModelTable.schema)
                #expect(point.result.sums.rows == UInt64(point.model.rows.count))
                #expect(point.result.sizes["csv"] == UInt64(point.model.csv.count))
                #expect(
                    point.result.contentHash
                        == RowHasher(ModelTable.schema).hash(point.model.batch))
            }
        }
    }

    private static func keys(_ range: ClosedRange<Int>) -> [Int64] { range.map { Int64($0) } }

    @Test func `a table grows at its end over many points, and appended rows change later`() throws
    {
        let chain = try Chain(Self.keys(1...10), limits: ChainTests.tiny)
        var random = SeededGenerator(seed: 4)
        var last = 10
        for point in 1...25 {
            let added = [0, 1, 5, 6, 7, 20, 40].randomElement(using: &random)!
            let changed = (0..<3).map { _ in Int64.random(in: 1...Int64(last), using: &random) }
            let gone = (0..<2).map { _ in Int64.random(in: 1...Int64(last), using: &random) }
            // Behind the end, at the end, and in what was appended just before.
            let put = Self.keys(last + 1...last + max(added, 1)).prefix(added) + changed
            try chain.point(put: put, delete: point % 3 == 0 ? gone : [Int64(last)])
            last += added
        }
        try chain.checkAll()
    }

    @Test func `rows appended a few at a time don't pile up in the last page`() throws {
        var limits = ChainTests.tiny
        limits.rebaseMinEdits = 1000
        let chain = try Chain(Self.keys(1...10), limits: limits)
        for point in 0..<40 {
            let first = 11 + point * 3
            try chain.point(put: Self.keys(first...first + 2))
        }
        let csv = CSVFile(chain.snapshot())
        var offset: UInt64 = 0
        var parts = 0
        while let part = try csv.part(at: offset) {
            // At most 3 base rows, or 6 inserts more, of 25 bytes or less.
            #expect(part.bytes <= 9 * 25)
            offset += part.bytes
            parts += 1
        }
        #expect(parts > 130 / 9)
        try chain.checkAll()
    }

    @Test func `a table grows from nothing, shrinks to nothing, and grows again`() throws {
        let chain = try Chain([], limits: ChainTests.tiny)
        #expect(chain.result.sums == PageSums() && chain.files.all.count == 1)
        try chain.point(put: Self.keys(1...3))
        try chain.point(put: Self.keys(4...40))
        try chain.point(put: [], delete: Self.keys(1...40))
        #expect(chain.result.sums.rows == 0)
        try chain.point(put: Self.keys(5...8))
        try chain.point(put: [0, 100])
        try chain.point(put: [], delete: [0, 5, 6, 7, 8, 100])
        #expect(chain.result.contentHash == ContentHash())
        try chain.point(put: [7])
        try chain.checkAll()
    }

    @Test func `a chain of sixty points reads right at every one`() throws {
        var limits = ChainTests.tiny
        limits.pageRows = 16
        limits.rowGroupRows = 64
        limits.fileBytes = 2000
        let chain = try Chain(Self.keys(1...2000), limits: limits)
        var random = SeededGenerator(seed: 60)
        for _ in 1...60 {
            let put = (0..<20).map { _ in Int64.random(in: -5...2010, using: &random) }
            let gone = (0..<6).map { _ in Int64.random(in: -5...2010, using: &random) }
            try chain.point(put: put, delete: gone)
        }
        #expect(chain.upkeep.rebased > 30)
        try chain.checkAll()
    }

    @Test func `nothing is written where nothing changed`() throws {
        let chain = try Chain(Self.keys(1...20), limits: ChainTests.tiny)
        let before = chain.files.all.count
        #expect(try !chain.point(put: [], delete: [99, -1]))
        #expect(try !chain.point(put: []))
        #expect(chain.files.all.count == before)
        // The same rows once more, as a capture that only knows keys would tell.
        let diff = try Diff(
            parent: chain.snapshot(), live: BatchCursor(chain.model.batch), table: "t",
            progress: { _ in })
        let output = RowBatch(ModelTable.schema)
        var present: [Bool] = []
        #expect(try !diff.next(into: output, present: &present, maxRows: 9, maxBytes: 1 << 20))
        #expect(present.isEmpty)
    }

    @Test func `many inserts at one place end in pages of their own, not in an endless one`() throws
    {
        var limits = FormatLimits()
        limits.pageRows = 16
        let chain = try Chain([0, 1_000_000], limits: limits)
        for point in 0..<20 {
            try chain.point(put: Self.keys(point * 20 + 1...point * 20 + 20))
            #expect(try chain.largestPage() <= 4 * 16)
        }
        #expect(chain.upkeep.thinned > 3)
        try chain.checkAll()
    }

    // MARK: Bulk inserts

    @Test func `ten thousand rows in the middle of a table are slices, until they go`() throws {
        let spread = stride(from: Int64(0), to: 100_000 * 20_000, by: 20_000)
        let chain = try Chain(spread, limits: FormatLimits())
        let before = try chain.slices().count
        let bulk = Self.keys(50_000 * 20_000 + 1...50_000 * 20_000 + 10_000)
        // With other changes in front of it and behind it, in the same page and elsewhere.
        try chain.point(
            put: bulk + [7, 49_999 * 20_000 + 5, 50_001 * 20_000], delete: [50_002 * 20_000])
        #expect(chain.upkeep.slicesSplit == 1 && chain.upkeep.rowsRewritten == 0)
        #expect(chain.result.sums.edits == 4)
        #expect(try chain.slices().count == before + 2)
        let pool = FilePool(chain.files, cache: SharedCache(maxBytes: 1 << 16))
        let snapshot = Snapshot(chain.result.snapshot, schema: ModelTable.schema, pool: pool)
        #expect(try CSVFile(snapshot).whole() == chain.model.csv)
        // Three columns each; the page that was cut is read for both its halves, of the run's pages
        // only those of the edits.
        let pages = try snapshot.slices().reduce(0) { $0 + $1.pages.count }
        #expect(pool.figures.pagesDecoded <= UInt64(3 * pages + 3 * 4))

        try chain.point(put: [bulk[5000]], delete: bulk.prefix(3000))
        try chain.point(put: [], delete: bulk)
        #expect(chain.result.sums.edits == 4 && chain.result.sums.rows == 100_001)
        #expect(try chain.slices().count == before + 1)
        try chain.checkAll()
    }

    @Test func `bulk inserts at every place of a small table`() throws {
        // Two base slices of two pages each; in front of, between, and behind all rows.
        let limits = ChainTests.tiny
        for place in -1...12 {
            for rows in [5, 6, 7, 8, 20, 30] {
                let chain = try Chain((0..<12).map { $0 * 1000 }, limits: limits)
                try chain.point(put: [place * 1000 + 100, place * 1000 + 700].map { Int64($0) })
                let first = place * 1000 + 300
                try chain.point(put: Self.keys(first...first + rows - 1))
                #expect((chain.upkeep.slicesInserted > 0) == (rows >= 6) || place == 11)
                try chain.point(
                    put: [Int64(first + rows)], delete: [Int64(first), Int64(place * 1000 + 100)])
                try chain.point(put: [], delete: Self.keys(first...first + rows))
                try chain.checkAll()
            }
        }
    }

    @Test(arguments: 0..<60) func `many bulk inserts, in random places`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var limits = ChainTests.tiny
        if seed % 3 == 1 { limits.rebaseMinEdits = 1000 }
        if seed % 3 == 2 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        let chain = try Chain((0..<Int64(seed)).map { $0 * 100 }, limits: limits)
        for _ in 0..<12 {
            var put: [Int64] = []
            var gone: [Int64] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let first = Int64.random(in: -2000...8000, using: &random)
                put += first...first + Int64.random(in: 0...40, using: &random)
                let dead = Int64.random(in: -2000...8000, using: &random)
                gone += dead...dead + Int64.random(in: 0...400, using: &random)
            }
            try chain.point(put: put, delete: Bool.random(using: &random) ? gone : [])
        }
        #expect(chain.upkeep.slicesInserted > 3)
        try chain.checkAll()
    }

    @Test func `repeated bulk inserts neither pile up slices nor write the table anew`() throws {
        var limits = FormatLimits()
        limits.pageRows = 16
        limits.rowGroupRows = 256
        limits.insertedSliceRows = 16
        let chain = try Chain((0..<1000).map { $0 * 1000 }, limits: limits)
        var random = SeededGenerator(seed: 3)
        for _ in 0..<100 {
            let first = Int.random(in: 0..<1_000_000, using: &random) / 1000 * 1000 + 1
            try chain.point(put: Self.keys(first...first + 19))
        }
        #expect(chain.upkeep.slicesSplit > 60)
        #expect(chain.upkeep.rowsRewritten < 4 * 100 * 20)
        // What could be joined makes up half a row group by then.
        #expect(try chain.slices().count < 2 * 3000 / 64)
        try chain.checkAll()
    }

    @Test func `what changes in one place leaves other slices as they are`() throws {
        var limits = FormatLimits()
        limits.pageRows = 16
        limits.rowGroupRows = 64
        limits.rebaseMinEdits = 4
        let chain = try Chain(Self.keys(1...640), limits: limits)
        let before = try chain.slices()
        #expect(before.count == 10)
        for point in 0..<30 {
            try chain.point(put: Self.keys(200 + point % 7...230 + point % 7), delete: [250])
        }
        #expect(chain.upkeep.rebased > 10 && chain.upkeep.rowsRewritten <= 30 * 64)
        for (index, slice) in try chain.slices().enumerated() where index != 3 {
            #expect(slice.file == before[index].file && slice.edits == 0, "slice \(index)")
        }
        try chain.checkAll()
    }

    @Test func `slices that fall due at once are written anew a few at each point`() throws {
        var limits = FormatLimits()
        limits.pageRows = 16
        limits.rowGroupRows = 64
        limits.rebaseMinEdits = 4
        let budget = UInt64(limits.rebaseBudget)
        let chain = try Chain(Self.keys(0...6399), limits: limits)
        var random = SeededGenerator(seed: 1)
        var worst: UInt64 = 0
        for _ in 0..<60 {
            let put = (0..<128).map { _ in Int64.random(in: 0...6399, using: &random) }
            let changes = chain.result.changes
            let before = chain.upkeep.rowsRewritten
            try chain.point(put: put)
            let rewritten = chain.upkeep.rowsRewritten - before
            #expect(rewritten < changes * budget / 100 + 64)
            worst = max(worst, try chain.slices().map { $0.edits * 100 / 64 }.max()!)
        }
        #expect(chain.upkeep.rebased > 100 && worst < 75)
        #expect(chain.upkeep.rowsRewritten < 60 * 128 * budget / 100 + 640)
        try chain.checkAll()
    }

    @Test func `a burst is paid for by its own changes`() throws {
        var limits = FormatLimits()
        limits.pageRows = 16
        limits.rowGroupRows = 64
        limits.rebaseMinEdits = 4
        let chain = try Chain(Self.keys(1...640), limits: limits)
        try chain.point(put: [5])
        try chain.point(put: Self.keys(1...640).filter { $0 % 2 == 0 })
        #expect(chain.upkeep.rebased == 10 && chain.result.sums.edits == 0)
        try chain.point(put: [], delete: Self.keys(100...600))
        #expect(chain.upkeep.slicesDropped + chain.upkeep.rebased > 15)
        try chain.checkAll()
    }

    @Test func `small neighbours are joined, large rows are no small slices`() throws {
        var limits = FormatLimits()
        limits.pageRows = 16
        limits.rowGroupRows = 256
        limits.insertedSliceRows = 16
        let chain = try Chain(Self.keys(1...10), limits: limits)
        for point in 0..<60 {
            try chain.point(put: Self.keys(11 + point * 16...26 + point * 16))
        }
        #expect(chain.upkeep.joined > 40 && chain.upkeep.slicesInserted >= 60)
        #expect(chain.upkeep.rowsRewritten < 2 * 1000)
        #expect(try chain.slices().count < 25)
        try chain.checkAll()

        limits.rowGroupBytes = 1000
        let wide = try Chain(Self.keys(1...400), limits: limits)
        let count = try wide.slices().count
        for point in 0..<5 { try wide.point(put: [Int64(point)]) }
        #expect(wide.upkeep.joined == 0 && count > 4)
    }

    // MARK: Sources that break their word

    private static func batch(_ keys: [Int64]) -> RowBatch {
        let batch = RowBatch(ModelTable.schema)
        for key in keys { ModelTable.append(key, Chain.row(key, 0), to: batch) }
        return batch
    }

    private static func isCorrupt(naming name: String, _ body: () throws -> Void) -> Bool {
        do {
            try body()
            return false
        } catch {
            guard let failure = error as? Failure else { return false }
            return failure.code == .corrupt && failure.message.contains(name)
        }
    }

    @Test(arguments: [[1, 1], [2, 1], [1, 2, 3, 4, 5, 6, 6], [1, 2, 3, 4, 3]] as [[Int64]])
    func `rows out of key order are refused by table name`(keys: [Int64]) throws {
        let full = Self.isCorrupt(naming: "sub/orders") {
            _ = try FullWriter.write(
                BatchCursor(Self.batch(keys)), schema: ModelTable.schema, table: "sub/orders",
                files: MemoryFiles(), limits: ChainTests.tiny)
        }
        #expect(full)
        let chain = try Chain(Self.keys(1...20), limits: ChainTests.tiny)
        let incremental = Self.isCorrupt(naming: "sub/orders") {
            _ = try IncrementalWriter.write(
                parent: chain.snapshot(), hash: chain.result.contentHash, parentChanges: 0,
                changes: BatchCursor(
                    Self.batch(keys), present: Array(repeating: false, count: keys.count)),
                table: "sub/orders", files: chain.files, limits: chain.limits)
        }
        #expect(incremental)
        let diff = Self.isCorrupt(naming: "sub/orders") {
            var present: [Bool] = []
            _ = try Diff(
                parent: chain.snapshot(), live: BatchCursor(Self.batch(keys)), table: "sub/orders",
                progress: { _ in }
            ).next(
                into: RowBatch(ModelTable.schema), present: &present, maxRows: 999,
                maxBytes: 1 << 20)
        }
        #expect(diff)
    }

    private struct Stop: Error {}

    /// Fails after some rows.
    private final class FailingCursor: RowCursor {
        private var left: Int
        private let batch: RowBatch
        private var next = 0

        init(_ batch: RowBatch, rows: Int) {
            self.batch = batch
            left = rows
        }

        func next(into output: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
            if left == 0 { throw Stop() }
            left -= 1
            output.append(batch, row: next)
            next += 1
            return true
        }
    }

    @Test func `a source's error comes through, however many pages are under way`() {
        for rows in [0, 1, 2, 9, 40] {
            #expect(throws: Stop.self) {
                try FullWriter.write(
                    FailingCursor(Self.batch(Self.keys(1...50)), rows: rows),
                    schema: ModelTable.schema, table: "t", files: MemoryFiles(),
                    limits: ChainTests.tiny)
            }
        }
    }

    // MARK: Damage

    @Test func `a damaged parent is refused by file name, or gives the right rows`() throws {
        let chain = try Chain(Self.keys(1...60), limits: ChainTests.tiny)
        try chain.point(put: [3, 30, 61, 62], delete: [7])
        let expected = chain.model.csv
        for (number, file) in chain.files.all {
            let original = ByteBuffer()
            try file.read(at: 0, count: Int(file.sizeBytes), into: original)
            for index in 0..<original.count {
                var bytes = original.array
                bytes[index] ^= 0x10
                let damaged = DamagedFiles(chain.files, number: number, bytes: bytes)
                let snapshot = Snapshot(
                    chain.result.snapshot, schema: ModelTable.schema,
                    pool: FilePool(damaged, cache: SharedCache(maxBytes: 1 << 20)))
                do {
                    #expect(try CSVFile(snapshot).whole() == expected)
                } catch let failure as Failure {
                    #expect([.corrupt, .unsupported].contains(failure.code))
                    #expect(failure.message.contains("file \(number)"), "\(failure)")
                }
                let files = MemoryFiles()
                do {
                    _ = try IncrementalWriter.write(
                        parent: snapshot, hash: chain.result.contentHash, parentChanges: 0,
                        changes: BatchCursor(
                            Self.batch([5, 30, 55, 62]), present: [true, false, true, true]),
                        table: "t", files: files, limits: chain.limits)
                } catch let failure as Failure {
                    #expect(failure.code == .corrupt && failure.message.contains("file \(number)"))
                }
            }
        }
    }

    /// A collection one of whose files is damaged.
    private final class DamagedFiles: FileOpener {
        private let files: MemoryFiles
        private let number: UInt64
        private let damaged: MemoryObject

        init(_ files: MemoryFiles, number: UInt64, bytes: [UInt8]) {
            self.files = files
            self.number = number
            damaged = MemoryObject(name: "file \(number)")
            let buffer = ByteBuffer()
            buffer.append(bytes)
            damaged.append(buffer)
        }

        func open(file number: UInt64) throws -> any RandomAccess {
            number == self.number ? damaged : try files.open(file: number)
        }
    }
}
