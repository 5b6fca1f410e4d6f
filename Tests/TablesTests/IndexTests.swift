import Bytes
import Tables
import TestSupport
import Testing

/// The index format: what is written is read, and nothing that is damaged does harm.
@Suite struct IndexTests {
    private static let schema = try! TableSchema(types: [.int64, .utf8, .bool, .uuid])
    private static let measure = RowMeasure(schema)

    private static func slice(_ random: inout SeededGenerator, first: Bool) -> Slice {
        let pages = Int.random(in: 1...5, using: &random)
        var sums: [PageSums] = []
        for _ in 0..<pages {
            let rows = UInt64.random(in: 0...500, using: &random)
            let columns = schema.columns.map { column in
                ColumnSums(
                    nulls: UInt64.random(in: 0...rows, using: &random),
                    valueBytes: column.type == .utf8
                        ? UInt64.random(in: 0...1 << 40, using: &random) : 0)
            }
            sums.append(
                PageSums(
                    baseRows: UInt64.random(in: 0...200, using: &random), rows: rows,
                    csvBytes: UInt64.random(in: 0...1 << 40, using: &random), edits: 0,
                    columns: columns))
        }
        let rows = sums.reduce(0) { $0 + Int($1.baseRows) }
        let tiers = (0..<Int.random(in: 0...9, using: &random)).map { _ in
            EditTier(
                reference: BlockReference(
                    file: random.next(), offset: random.next(), length: random.next(),
                    hash: random.next()), level: Int.random(in: 0...5, using: &random))
        }
        let bound = (0..<Int.random(in: 1...20, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
        var slice = Slice(
            file: UInt64.random(in: 0...UInt64.max, using: &random),
            rowGroup: Int.random(in: 0...9, using: &random),
            firstRow: Int.random(in: 0...70_000, using: &random), count: rows,
            lowerBound: first ? [] : bound, pages: sums)
        slice.tiers = tiers
        return slice
    }

    /// A tier of a slice of up to 400 rows.
    private static func tier(seed: Int) -> [Edit] {
        var random = SeededGenerator(seed: UInt64(seed))
        let rows = Int.random(in: 0...400, using: &random)
        var edits: [Edit] = []
        for position in 0...rows where Int.random(in: 0..<4, using: &random) == 0 {
            if Int.random(in: 0..<4, using: &random) == 0 {
                edits.append(Edit(.clear, at: UInt32(position)))
                continue
            }
            let runRow = {
                (random: inout SeededGenerator) in
                RunRow(
                    file: UInt64.random(in: 1...5, using: &random) << 33,
                    row: UInt32.random(in: 0...UInt32.max, using: &random))
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                edits.append(Edit(.insert, at: UInt32(position), row: runRow(&random)))
            }
            if position == rows { break }
            switch Int.random(in: 0..<3, using: &random) {
            case 0: edits.append(Edit(.delete, at: UInt32(position)))
            case 1: edits.append(Edit(.replace, at: UInt32(position), row: runRow(&random)))
            default: break
            }
        }
        return edits
    }

    private static func slices(seed: Int) -> [Slice] {
        var random = SeededGenerator(seed: UInt64(seed))
        return (0..<Int.random(in: 1...6, using: &random)).map { slice(&random, first: $0 == 0) }
    }

    private static func blocks(seed: Int) -> [BlockDescriptor] {
        var random = SeededGenerator(seed: UInt64(seed))
        return slices(seed: seed).map {
            BlockDescriptor(
                reference: BlockReference(
                    file: random.next(), offset: random.next(), length: random.next(),
                    hash: random.next()),
                lowerBound: $0.lowerBound, sums: measure.sums(ofSlice: $0.pages))
        }
    }

    private static func same(_ a: Slice, _ b: Slice) -> Bool {
        a.file == b.file && a.rowGroup == b.rowGroup && a.firstRow == b.firstRow
            && a.count == b.count && a.lowerBound == b.lowerBound && a.pages == b.pages
            && a.tiers == b.tiers
    }

    private static func encodeBlock(_ slices: [Slice]) -> ByteBuffer {
        IndexCodec.encodeBlock(
            slices, sums: slices.map { measure.sums(ofSlice: $0.pages) }, schema: schema)
    }

    private static func readBlock(_ content: ByteBuffer) throws(Failure) -> [Slice] {
        var reader = try IndexReader(content, tag: "B", schema: schema, name: "x")
        let directory = try reader.blockDirectory()
        var slices: [Slice] = []
        for entry in directory {
            var reader = try IndexReader(content, tag: "B", schema: schema, name: "x")
            slices.append(try reader.body(at: entry.offset))
        }
        return slices
    }

    private static func readTier(_ content: ByteBuffer) throws(Failure) -> [Edit] {
        var reader = try IndexReader(content, tag: "E", schema: schema, name: "x")
        return try reader.tier()
    }

    @Test(arguments: 0..<100) func `blocks, tiers and roots read as they were written`(seed: Int)
        throws
    {
        let slices = Self.slices(seed: seed)
        let read = try Self.readBlock(Self.encodeBlock(slices))
        #expect(read.count == slices.count)
        for (a, b) in zip(read, slices) { #expect(Self.same(a, b), "seed \(seed)") }
        let tier = Self.tier(seed: seed)
        #expect(try Self.readTier(IndexCodec.encodeTier(tier)) == tier)
        let blocks = Self.blocks(seed: seed)
        var reader = try IndexReader(
            IndexCodec.encodeRoot(blocks, schema: Self.schema), tag: "R", schema: Self.schema,
            name: "x")
        for (a, b) in zip(try reader.root(), blocks) {
            #expect(a.reference == b.reference && a.lowerBound == b.lowerBound && a.sums == b.sums)
        }
    }

    /// Reads an object as a snapshot does, from a file whose checksums are as the root says.
    private func open(_ bytes: [UInt8], _ reference: BlockReference) throws -> [UInt8] {
        let file = MemoryObject(name: "idx")
        let buffer = ByteBuffer()
        buffer.append(bytes)
        file.append(buffer)
        return try IndexCodec.open(reference, in: file).array
    }

    @Test func `a cut or flipped object never passes its checksum`() throws {
        let content = Self.encodeBlock(Self.slices(seed: 5))
        let object = try IndexCodec.seal(content, level: 1)
        let bytes = object.array
        let reference = BlockReference(
            file: 1, offset: 0, length: UInt64(bytes.count), hash: Checksum.xxh3(object))
        #expect(try open(bytes, reference) == content.array)
        for length in 0..<bytes.count {
            #expect(Self.isCorrupt { try open(Array(bytes[..<length]), reference) })
        }
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(Self.isCorrupt { try open(damaged, reference) })
        }
        let beyond = BlockReference(
            file: 1, offset: .max, length: UInt64(bytes.count), hash: reference.hash)
        #expect(Self.isCorrupt { try open(bytes, beyond) })
    }

    @Test func `a few bytes don't come to much in memory, and none such are written`() throws {
        let content = ByteBuffer(capacity: 64 << 20)
        content.append(byte: 0, repeated: 64 << 20)
        let small = ByteBuffer()
        small.append(fixed: UInt32(content.count))
        try content.withBytes { try Zstd.compress($0, level: 3, into: small) }
        #expect(small.count < 33_000)
        func place(_ object: ByteBuffer) -> BlockReference {
            BlockReference(
                file: 1, offset: 0, length: UInt64(object.count), hash: Checksum.xxh3(object))
        }
        #expect(Self.isCorrupt { try open(small.array, place(small)) })
        let sealed = try IndexCodec.seal(content, level: 3)
        #expect(try open(sealed.array, place(sealed)) == content.array)
    }

    /// Damage that a checksum doesn't show: a wrong writer. Reading throws or answers something; it
    /// never traps, and what it answers can be added up.
    @Test(arguments: 0..<40) func `damaged content never traps`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let contents = [
            Self.encodeBlock(Self.slices(seed: seed)).array,
            IndexCodec.encodeRoot(Self.blocks(seed: seed), schema: Self.schema).array,
            IndexCodec.encodeTier(Self.tier(seed: seed)).array,
        ]
        for content in contents {
            for length in 0..<min(content.count, 400) { Self.readAny(Array(content[..<length])) }
            for _ in 0..<500 {
                var damaged = content
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let index = Int.random(in: 0..<damaged.count, using: &random)
                    damaged[index] =
                        Bool.random(using: &random)
                        ? [0, 0x7F, 0x80, 0xFF].randomElement(using: &random)!
                        : damaged[index] ^ 1 << UInt8.random(in: 0..<8, using: &random)
                }
                Self.readAny(damaged)
            }
        }
    }

    private static func readAny(_ bytes: [UInt8]) {
        let buffer = ByteBuffer()
        buffer.append(bytes)
        if let slices = try? readBlock(buffer) {
            for slice in slices {
                #expect(slice.sums.baseRows == UInt64(slice.count))
                for page in slice.pages.indices { _ = slice.edits(ofPage: page) }
                _ = encodeBlock([slice])
            }
        }
        if let tier = try? readTier(buffer) {
            _ = [Edit].merging([tier, tier])
            _ = IndexCodec.encodeTier(tier)
        }
        if var reader = try? IndexReader(buffer, tag: "R", schema: schema, name: "x"),
            let blocks = try? reader.root()
        {
            _ = blocks.reduce(into: SliceSums()) { $0 += $1.sums }
        }
    }

    static func isCorrupt(_ body: () throws -> some Any) -> Bool {
        do {
            _ = try body()
            return false
        } catch {
            return (error as? Failure)?.code == .corrupt
        }
    }
}
