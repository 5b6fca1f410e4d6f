import Bytes

/// The index format, byte by byte. Integers of a fixed size are little-endian; `v` is a LEB128.
///
/// ```
/// index file   "YDBFSIX1" | objects, one after another, each referred to by (file, offset, length,
///              XXH3 of these bytes) from an entry of the log or from another object
/// object       u32 length of the content | zstd frame of the content
///
/// root         u8 1 | u8 tag 'R' | u16 0
///              series of slices
///              u32 number of blocks, then for each:
///                u64 file | u64 offset | u64 length | u64 XXH3
///                u64 sum, for each series of slices
///                u32 length of lower bound | lower bound (a normalized key; empty = −∞)
///
/// block        u8 1 | u8 tag 'B' | u16 0
///              series of slices | series of pages
///              u32 number of slices, then for each:
///                u32 offset of its body in the content | u64 sum, for each series of slices
///              bodies
///
/// body         v file | v row group | v first row | v rows
///              v length of lower bound | lower bound
///              v number of pages, then for each series of pages: v number for each page
///              v number of tiers, oldest first (newer ones override older ones, position by
///              position), each: v level | v file | v offset | v length | u64 XXH3
///
/// tier         u8 1 | u8 tag 'E' | u16 0
///              v number of runs | v file number of each
///              v number of edits, then for each:
///                v position − previous position, × 4 + kind (0 delete, 1 replace, 2 insert,
///                  3 nothing: alone at its position)
///                if replace or insert: v run | v zigzag(row − previous row of this run)
///
/// series       u32 how many, then for each: u32 what it counts | u32 id of its column, or 0
///
/// what         of pages, and added up of slices and blocks:
///                1 base rows · 2 rows · 3 CSV bytes · 4 edits
///                6 NULLs of the column · 7 bytes of its values, if they are of variable length
///                9 bytes as lines of a dump · 10 what these have more with the hidden rowid in front
///              of slices and blocks alone:
///                5 slices that have rows · 8 bytes of the column's pages as Parquet, with headers
///              A reader skips others. An index that lacks 3, one of 8, or 9 or 10 has no sizes as
///              CSV, as Parquet, or as a dump; one that lacks another of these is refused.
/// ```
package enum IndexCodec {
    static let magic = "YDBFSIX1"
    /// More than any real block has; beyond it the content is damaged.
    private static let maxContentBytes = 1 << 30

    // MARK: Objects

    package static func seal(_ content: ByteBuffer, level: Int) throws -> ByteBuffer {
        guard content.count <= maxContentBytes else {
            throw Failure(
                .unsupported,
                "the table's index would have objects of \(content.count) bytes: its keys are too long"
            )
        }
        let object = ByteBuffer(capacity: content.count / 2 + 64)
        object.append(fixed: UInt32(content.count))
        try content.withBytes { try Zstd.compressModestly($0, level: level, into: object) }
        return object
    }

    /// Reads and checks an object, answers its content.
    package static func open(_ reference: BlockReference, in file: any RandomAccess) throws
        -> ByteBuffer
    {
        let (end, overflow) = reference.offset.addingReportingOverflow(reference.length)
        guard reference.length >= 4, reference.length <= UInt64(maxContentBytes), !overflow,
            end <= file.sizeBytes
        else {
            throw Failure(.corrupt, "index \(file.name): an object of impossible size")
        }
        let object = ByteBuffer(capacity: Int(reference.length))
        try file.read(at: reference.offset, count: Int(reference.length), into: object)
        guard Checksum.xxh3(object) == reference.hash else {
            throw Failure(
                .corrupt, "index \(file.name) is damaged at byte \(reference.offset): checksum")
        }
        let size = Int(object.load(at: 0, as: UInt32.self))
        guard size <= maxContentBytes, Zstd.isModest(size: size, compressed: object.count) else {
            throw Failure(.corrupt, "index \(file.name): an object of impossible size")
        }
        do {
            return try object.withBytes {
                try Zstd.decompress($0.from(4), size: size)
            }
        } catch let failure as Failure {
            throw Failure(failure.code, "index \(file.name) is damaged: \(failure.message)")
        }
    }

    // MARK: Writing

    /// - Parameter lacking: formats whose sizes aren't known.
    package static func encodeRoot(
        _ blocks: [BlockDescriptor], schema: TableSchema, lacking: Set<SizedFormat> = []
    ) -> ByteBuffer {
        let output = ByteBuffer()
        let series = Series.ofSlices(schema, lacking: lacking)
        writeHead("R", to: output)
        write(series, schema, to: output)
        output.append(fixed: UInt32(blocks.count))
        for block in blocks {
            output.append(fixed: block.reference.file)
            output.append(fixed: block.reference.offset)
            output.append(fixed: block.reference.length)
            output.append(fixed: block.reference.hash)
            for series in series { output.append(fixed: block.sums[series]) }
            output.append(fixed: UInt32(block.lowerBound.count))
            output.append(block.lowerBound)
        }
        return output
    }

    /// `sums` are those of each slice, as `RowMeasure` has them.
    package static func encodeBlock(
        _ slices: [Slice], sums: [SliceSums], schema: TableSchema, lacking: Set<SizedFormat> = []
    ) -> ByteBuffer {
        precondition(slices.count == sums.count)
        let output = ByteBuffer(capacity: 1 << 16)
        let series = (
            ofSlices: Series.ofSlices(schema, lacking: lacking),
            ofPages: Series.ofPages(schema, lacking: lacking)
        )
        writeHead("B", to: output)
        write(series.ofSlices, schema, to: output)
        write(series.ofPages, schema, to: output)
        output.append(fixed: UInt32(slices.count))
        var entries: [Int] = []
        for sums in sums {
            entries.append(output.count)
            output.append(fixed: UInt32(0))
            for series in series.ofSlices { output.append(fixed: sums[series]) }
        }
        for (slice, entry) in zip(slices, entries) {
            output.replace(at: entry, with: UInt32(output.count))
            writeBody(slice, series.ofPages, to: output)
        }
        return output
    }

    private static func writeHead(_ tag: String, to output: ByteBuffer) {
        output.append(byte: 1)
        output.append(tag)
        output.append(fixed: UInt16(0))
    }

    private static func write(_ series: [Series], _ schema: TableSchema, to output: ByteBuffer) {
        output.append(fixed: UInt32(series.count))
        for series in series {
            let (id, column) = series.name(schema)
            output.append(fixed: id)
            output.append(fixed: column)
        }
    }

    private static func writeBody(
        _ slice: Slice, _ series: [Series], to output: ByteBuffer
    ) {
        for number in [
            slice.file, UInt64(slice.rowGroup), UInt64(slice.firstRow), UInt64(slice.count),
        ] {
            Varint.append(number, to: output)
        }
        Varint.append(UInt64(slice.lowerBound.count), to: output)
        output.append(slice.lowerBound)
        Varint.append(UInt64(slice.pages.count), to: output)
        for series in series {
            for page in slice.pages { Varint.append(page[series], to: output) }
        }
        Varint.append(UInt64(slice.tiers.count), to: output)
        for tier in slice.tiers {
            let reference = tier.reference
            for number in [
                UInt64(tier.level), reference.file, reference.offset, reference.length,
            ] {
                Varint.append(number, to: output)
            }
            output.append(fixed: reference.hash)
        }
    }

    package static func encodeTier(_ edits: [Edit]) -> ByteBuffer {
        let output = ByteBuffer(capacity: 64 + edits.count * 6)
        writeHead("E", to: output)
        let files = Set(edits.lazy.filter(\.kind.hasRow).map(\.row.file)).sorted()
        let runs = Dictionary(uniqueKeysWithValues: zip(files, files.indices))
        Varint.append(UInt64(files.count), to: output)
        for file in files { Varint.append(file, to: output) }
        Varint.append(UInt64(edits.count), to: output)
        var position: UInt32 = 0
        var rows = [Int64](repeating: 0, count: runs.count)
        for edit in edits {
            let step = UInt64(edit.position - position)
            Varint.append(step << 2 | UInt64(edit.kind.rawValue), to: output)
            position = edit.position
            if !edit.kind.hasRow { continue }
            let run = runs[edit.row.file]!
            Varint.append(UInt64(run), to: output)
            let delta = Int64(edit.row.row) - rows[run]
            Varint.append(UInt64(bitPattern: delta << 1 ^ delta >> 63), to: output)
            rows[run] = Int64(edit.row.row)
        }
        return output
    }
}

/// Reads a root, a block or a tier that may be damaged in ways that its checksum doesn't show.
package struct IndexReader {
    private let content: ByteBuffer
    private var position = 0
    private let name: String
    private let schema: TableSchema
    /// What the file's numbers are, in its order; nil: skipped.
    private var ofSlices: [Series?] = []
    private var ofPages: [Series?] = []
    /// The formats whose sizes the index doesn't hold.
    private(set) var lacking: Set<SizedFormat> = []

    package init(
        _ content: ByteBuffer, tag: Character, schema: TableSchema, name: String
    ) throws(Failure) {
        self.content = content
        self.schema = schema
        self.name = name
        guard content.count >= 4, content.load(at: 0, as: UInt8.self) == 1 else {
            throw Failure(
                .unsupported, "index \(name) is of a newer format: a newer ydbfs is needed")
        }
        guard content.load(at: 1, as: UInt8.self) == tag.asciiValue else { throw damaged }
        position = 4
        if tag == "E" { return }
        ofSlices = try series(of: Series.ofSlices(schema))
        if tag == "B" { ofPages = try series(of: Series.ofPages(schema)) }
    }

    /// Reads which series there are, of those that are `needed`.
    private mutating func series(of needed: [Series]) throws(Failure) -> [Series?] {
        var named: [UInt64: Series] = [:]
        for series in needed {
            let (id, column) = series.name(schema)
            named[UInt64(id) << 32 | UInt64(column)] = series
        }
        var found: [Series?] = []
        for _ in 0..<(try count(max: 1 << 20)) {
            let id = try fixed(UInt32.self)
            let column = try fixed(UInt32.self)
            found.append(named.removeValue(forKey: UInt64(id) << 32 | UInt64(column)))
        }
        lacking.formUnion(named.values.compactMap(\.format))
        guard named.values.allSatisfy({ $0.format != nil }) else {
            throw Failure(.corrupt, "index \(name) isn't one of a table with these columns")
        }
        return found
    }

    var damaged: Failure { Failure(.corrupt, "index \(name) is damaged") }

    private mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type
    ) throws(Failure) -> T {
        guard position + MemoryLayout<T>.size <= content.count else { throw damaged }
        defer { position += MemoryLayout<T>.size }
        return content.load(at: position, as: type)
    }

    private mutating func count(max: Int) throws(Failure) -> Int {
        let value = Int(try fixed(UInt32.self))
        guard value <= max, value <= content.count else { throw damaged }
        return value
    }

    private mutating func varint() throws(Failure) -> UInt64 {
        guard let value = Varint.read(content, at: &position, end: content.count) else {
            throw damaged
        }
        return value
    }

    /// A number that counts rows or names a position: small enough to add up.
    private mutating func size() throws(Failure) -> Int {
        let value = try varint()
        guard value < 1 << 48 else { throw damaged }
        return Int(value)
    }

    private mutating func bytes(_ length: Int) throws(Failure) -> [UInt8] {
        guard length <= content.count - position else { throw damaged }
        defer { position += length }
        return content.withBytes { [UInt8]($0[position..<position + length]) }
    }

    private mutating func sums() throws(Failure) -> SliceSums {
        var sums = SliceSums()
        sums.fill(schema.visibleColumns.count)
        sums.pages.fill(schema.visibleColumns.count)
        for series in ofSlices {
            let value = try fixed(UInt64.self)
            if let series { sums[series] = value }
        }
        return sums
    }

    package mutating func root() throws(Failure) -> [BlockDescriptor] {
        var blocks: [BlockDescriptor] = []
        for _ in 0..<(try count(max: 1 << 28)) {
            let reference = BlockReference(
                file: try fixed(UInt64.self), offset: try fixed(UInt64.self),
                length: try fixed(UInt64.self), hash: try fixed(UInt64.self))
            let sums = try sums()
            let bound = try bytes(count(max: 1 << 30))
            blocks.append(BlockDescriptor(reference: reference, lowerBound: bound, sums: sums))
        }
        guard !blocks.isEmpty else { throw damaged }
        try checkTotals(blocks.lazy.map(\.sums))
        return blocks
    }

    /// Checks that numbers from a file can be added up, over all columns, and multiplied by a value's
    /// width. Those who do so later rely on it.
    private func checkTotals(_ sums: some Sequence<SliceSums>) throws(Failure) {
        for case let series? in ofSlices {
            var total: UInt64 = 0
            for sum in sums { try add(sum[series], to: &total) }
        }
    }

    private func add(_ value: UInt64, to total: inout UInt64) throws(Failure) {
        guard value < 1 << 50, total + value < 1 << 50 else { throw damaged }
        total += value
    }

    /// The directory of a block: for each slice where its body begins, and its sums.
    package mutating func blockDirectory() throws(Failure) -> [(offset: Int, sums: SliceSums)] {
        var slices: [(offset: Int, sums: SliceSums)] = []
        for _ in 0..<(try count(max: 1 << 20)) {
            let offset = try count(max: content.count)
            slices.append((offset, try sums()))
        }
        guard !slices.isEmpty else { throw damaged }
        try checkTotals(slices.lazy.map(\.sums))
        return slices
    }

    /// The lower bound of the slice whose body begins at `offset`.
    mutating func lowerBound(at offset: Int) throws(Failure) -> [UInt8] {
        position = offset
        for _ in 0..<4 { _ = try varint() }
        return try bytes(size())
    }

    /// A slice without its edits.
    package mutating func body(at offset: Int) throws(Failure) -> Slice {
        position = offset
        var slice = Slice(
            file: try varint(), rowGroup: try size(), firstRow: try size(), count: try size(),
            lowerBound: [], pages: [])
        slice.lowerBound = try bytes(size())
        let pages = try size()
        guard pages > 0, pages <= (content.count - position) / ofPages.count,
            pages <= Self.maxNumbers / ofPages.count
        else { throw damaged }
        var empty = PageSums()
        empty.fill(schema.visibleColumns.count)
        slice.pages = [PageSums](repeating: empty, count: pages)
        for series in ofPages {
            var total: UInt64 = 0
            for page in 0..<pages {
                let value = UInt64(try size())
                try add(value, to: &total)
                if let series { slice.pages[page][series] = value }
            }
        }
        guard slice.pages.allSatisfy({ page in page.columns.allSatisfy { $0.nulls <= page.rows } })
        else { throw damaged }
        for _ in 0..<(try size()) {
            let level = try size()
            let reference = BlockReference(
                file: try varint(), offset: try varint(), length: try varint(),
                hash: try fixed(UInt64.self))
            slice.tiers.append(EditTier(reference: reference, level: level))
        }
        guard slice.sums.baseRows == UInt64(slice.count), slice.count <= Self.maxRows else {
            throw damaged
        }
        return slice
    }

    /// More than the pages of any slice have, and more rows than it has: in memory numbers take many
    /// times as much as here.
    private static let maxNumbers = 1 << 23
    private static let maxRows = 1 << 22

    package mutating func tier() throws(Failure) -> [Edit] {
        var runs: [UInt64] = []
        for _ in 0..<(try size()) { runs.append(try varint()) }
        let count = try size()
        guard count <= content.count - self.position else { throw damaged }
        var edits: [Edit] = []
        edits.reserveCapacity(min(count, Self.maxRows))
        var position: UInt64 = 0
        var isTaken = false
        var rows = [Int64](repeating: 0, count: runs.count)
        for _ in 0..<count {
            let head = try varint()
            if head >> 2 > 0 { isTaken = false }
            position += head >> 2
            // Nothing follows what concerns the base row at a position.
            guard position <= Self.maxRows, !isTaken,
                let kind = Edit.Kind(rawValue: UInt8(head & 3))
            else { throw damaged }
            isTaken = kind != .insert
            var edit = Edit(kind, at: UInt32(position))
            if kind.hasRow {
                let run = try size()
                let raw = try varint()
                guard run < runs.count else { throw damaged }
                let delta = Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
                let (row, overflow) = rows[run].addingReportingOverflow(delta)
                guard !overflow, (0...Int64(UInt32.max)).contains(row) else { throw damaged }
                rows[run] = row
                edit.row = RunRow(file: runs[run], row: UInt32(row))
            }
            edits.append(edit)
        }
        return edits
    }
}
