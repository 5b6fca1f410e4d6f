import Bytes

/// Where a backup writes: row files under new numbers, and one index file for all its tables.
package protocol FileFactory: AnyObject {
    /// Begins a row file; slices and edits refer to it by `number`.
    func createRowFile() throws -> (number: UInt64, sink: any ByteSink)
    /// The row file is complete.
    func finishRowFile(_ number: UInt64, rows: UInt64) throws
    /// The index file, begun at first use.
    func indexFile() throws -> (number: UInt64, sink: any ByteSink)
    /// Called now and then while rows are processed; throws to stop the backup.
    func progress(rows: UInt64) throws
}

/// What a backup made of one table.
package struct TableResult: Sendable {
    package var snapshot: BlockReference
    package var sums: PageSums
    /// Exact bytes of the table's files, by format.
    package var sizes: [String: UInt64]
    package var contentHash: ContentHash
    package var inserted: UInt64 = 0
    package var updated: UInt64 = 0
    package var deleted: UInt64 = 0
    package var upkeep = Upkeep()

    /// Rows that differ from the parent's.
    package var changes: UInt64 { inserted + updated + deleted }
}

/// Writes blocks and the root of a snapshot into the index file, slices in key order.
final class SnapshotBuilder {
    private let files: any FileFactory
    private let schema: TableSchema
    private let limits: FormatLimits
    private let measure: RowMeasure
    /// Formats whose sizes aren't known, neither of blocks that are taken over.
    let lacking: Set<SizedFormat>
    private var blocks: [BlockDescriptor] = []
    private var pending: [Slice] = []

    init(
        _ files: any FileFactory, schema: TableSchema, limits: FormatLimits,
        lacking: Set<SizedFormat> = []
    ) {
        self.lacking = lacking
        self.files = files
        self.schema = schema
        self.limits = limits
        measure = RowMeasure(schema, lacking: lacking)
    }

    var isEmpty: Bool { blocks.isEmpty && pending.isEmpty }

    /// Takes over a block that didn't change.
    func append(_ block: BlockDescriptor) throws {
        try endBlock()
        blocks.append(block)
    }

    func append(_ slice: Slice) throws {
        pending.append(slice)
        if pending.count >= limits.blockSlices { try endBlock() }
    }

    func endBlock() throws {
        if pending.isEmpty { return }
        let sums = pending.map { measure.sums(ofSlice: $0.pages) }
        let block = IndexCodec.encodeBlock(
            pending, sums: sums, schema: schema, lacking: lacking)
        blocks.append(
            BlockDescriptor(
                reference: try write(block), lowerBound: pending[0].lowerBound,
                sums: sums.reduce(into: SliceSums()) { $0 += $1 }))
        pending = []
    }

    /// Stores a slice's edits, which were `old` before. Tiers of equal age are merged.
    ///
    /// - Parameter old: nil if positions aren't the same as before.
    func store(
        _ edits: [Edit], of slice: inout Slice, old: [Edit]?, parent: Snapshot,
        _ upkeep: inout Upkeep
    ) throws {
        defer { slice.edits = [] }
        var tier = old?.difference(to: edits) ?? edits
        if edits.isEmpty {
            slice.tiers = []
        } else if old == nil || tier.count * 2 > edits.count {
            let level = slice.tiers.first?.level ?? 0
            slice.tiers = [try write(edits, level: level)]
        } else if !tier.isEmpty {
            var level = 0
            while case let equal = slice.tiers.suffix(limits.equalTiers - 1),
                equal.count == limits.equalTiers - 1, equal.allSatisfy({ $0.level == level })
            {
                for older in equal.reversed() {
                    tier = try parent.pool.tier(older, schema: schema).overridden(by: tier)
                }
                slice.tiers.removeLast(equal.count)
                level += 1
                upkeep.tiersMerged += 1
            }
            slice.tiers.append(try write(slice.tiers.isEmpty ? edits : tier, level: level))
        }
    }

    private func write(_ tier: [Edit], level: Int) throws -> EditTier {
        EditTier(reference: try write(IndexCodec.encodeTier(tier)), level: level)
    }

    private func write(_ content: ByteBuffer) throws -> BlockReference {
        let object = try IndexCodec.seal(content, level: limits.compressionLevel)
        let (number, sink) = try files.indexFile()
        if sink.position == 0 {
            let magic = ByteBuffer()
            magic.append(IndexCodec.magic)
            try sink.append(magic)
        }
        let reference = BlockReference(
            file: number, offset: sink.position, length: UInt64(object.count),
            hash: Checksum.xxh3(object))
        try sink.append(object)
        return reference
    }

    /// Writes the root.
    func finish() throws -> (snapshot: BlockReference, sums: SliceSums) {
        try endBlock()
        precondition(!blocks.isEmpty && blocks[0].lowerBound.isEmpty)
        let sums = blocks.reduce(into: SliceSums()) { $0 += $1.sums }
        let root = IndexCodec.encodeRoot(blocks, schema: schema, lacking: lacking)
        return (try write(root), sums)
    }
}

/// Writes whole tables: every row of a cursor, in key order.
package enum FullWriter {
    /// The columns of a full's row files.
    static func storedColumns(_ schema: TableSchema) -> [StoredColumn] {
        schema.columns.map {
            StoredColumn(name: $0.name, type: $0.type, fieldID: Int($0.id), optional: true)
        }
    }

    /// Writes all rows of `cursor`. Throws `Misfit` and `Failure`s of the cursor as they are, and
    /// `Failure(.corrupt)` if rows don't come in strictly increasing key order.
    package static func write(
        _ cursor: any RowCursor, schema: TableSchema, table: String, files: any FileFactory,
        limits: FormatLimits
    ) throws -> TableResult {
        let builder = SnapshotBuilder(files, schema: schema, limits: limits)
        let writer = SliceWriter(
            schema, RowMeasure(schema), kind: .full, table: table, files: files, limits: limits,
            progress: { try files.progress(rows: $0) })
        defer { writer.close() }
        writer.begin(lowerBound: [])
        while true {
            let batch = writer.emptyPage()
            let more = try cursor.next(
                into: batch, maxRows: limits.pageRows, maxBytes: limits.pageBytes)
            try writer.append(batch)
            for slice in writer.finished() { try builder.append(slice) }
            if !more { break }
        }
        try writer.finish()
        for slice in writer.finished() { try builder.append(slice) }
        if builder.isEmpty { try builder.append(Slice.empty) }
        let (snapshot, totals) = try builder.finish()
        let sums = totals.pages
        return TableResult(
            snapshot: snapshot, sums: sums,
            sizes: RowFormat.sizes(totals, schema),
            contentHash: writer.hash, inserted: sums.rows)
    }
}
