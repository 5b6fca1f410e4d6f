import CXXHash

/// The sum of the XXH3-128 of rows, made without a call for a single value.
///
/// A row is hashed as, for each column that isn't NULL, `head | u64 length | value`.
package struct RowSum: Sendable {
    /// For each column that counts, in this order: its index, and the bytes that stand before a value.
    private let columns: [(index: Int, head: [UInt8])]

    package init(columns: [(index: Int, head: [UInt8])]) { self.columns = columns }

    /// Where one column's values lie while rows are hashed.
    private struct Cell {
        let values: UnsafeRawPointer
        let marks: UnsafeRawPointer
        /// 0 for variable values.
        let width: Int
        let hasNulls: Bool
        let head: UnsafeRawPointer
        let headBytes: Int

        /// The value of a row; nil if it is NULL.
        @inline(__always)
        func value(_ row: Int) -> UnsafeRawBufferPointer? {
            if width == 0 {
                let start = marks.load(fromByteOffset: row * 4, as: UInt32.self)
                if start == ColumnVector.null { return nil }
                let address = values + Int(start)
                let length = Int((address - 4).loadUnaligned(as: UInt32.self))
                return UnsafeRawBufferPointer(start: address, count: length)
            }
            if hasNulls, marks.load(fromByteOffset: row, as: UInt8.self) == 0 { return nil }
            return UnsafeRawBufferPointer(start: values + row * width, count: width)
        }
    }

    /// Larger values are hashed where they lie.
    private static let largeBytes = 1 << 20

    /// The sum, modulo 2¹²⁸, over some rows of all the table's columns.
    package func callAsFunction(_ table: [ColumnVector], _ rows: Range<Int>) -> UInt128 {
        precondition(rows.lowerBound >= 0)
        let headBytes = columns.reduce(0) { $0 + $1.head.count }
        return withUnsafeTemporaryAllocation(byteCount: headBytes + 1, alignment: 1) { heads in
            withUnsafeTemporaryAllocation(of: Cell.self, capacity: columns.count) { cells in
                var head = heads.baseAddress!
                for (number, column) in columns.enumerated() {
                    let vector = table[column.index]
                    precondition(rows.upperBound <= vector.count)
                    column.head.withUnsafeBytes {
                        head.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
                    }
                    var width = 0
                    if case .fixed(let bytes) = vector.layout { width = bytes }
                    cells[number] = Cell(
                        values: vector.address, marks: vector.marks.base, width: width,
                        hasNulls: vector.nullCount > 0, head: head, headBytes: column.head.count)
                    head += column.head.count
                }
                return withExtendedLifetime(table) {
                    Scratch.with { Self.sum(UnsafeBufferPointer(cells), rows, $0) }
                }
            }
        }
    }

    private static func sum(
        _ cells: UnsafeBufferPointer<Cell>, _ rows: Range<Int>, _ scratch: ByteBuffer
    ) -> UInt128 {
        var sum: UInt128 = 0
        for row in rows {
            scratch.removeAll()
            var isLarge = false
            for cell in cells {
                guard let value = cell.value(row) else { continue }
                if value.count > largeBytes {
                    isLarge = true
                    break
                }
                let size = cell.headBytes + 8 + value.count
                scratch.reserve(size)
                let target = scratch.base + scratch.count
                target.copyMemory(from: cell.head, byteCount: cell.headBytes)
                (target + cell.headBytes).storeBytes(of: UInt64(value.count), as: UInt64.self)
                (target + cell.headBytes + 8).copyMemory(
                    from: value.baseAddress!, byteCount: value.count)
                scratch.count += size
            }
            let hash =
                isLarge ? Self.hash(ofLarge: row, cells) : XXH3_128bits(scratch.base, scratch.count)
            sum &+= UInt128(hash.high64) << 64 | UInt128(hash.low64)
        }
        return sum
    }
    /// The same bytes piece by piece.
    @inline(never)
    private static func hash(
        ofLarge row: Int, _ cells: UnsafeBufferPointer<Cell>
    ) -> XXH128_hash_t {
        let state = XXH3_createState()
        defer { XXH3_freeState(state) }
        XXH3_128bits_reset(state)
        for cell in cells {
            guard let value = cell.value(row) else { continue }
            var length = UInt64(value.count)
            XXH3_128bits_update(state, cell.head, cell.headBytes)
            XXH3_128bits_update(state, &length, 8)
            XXH3_128bits_update(state, value.baseAddress, value.count)
        }
        return XXH3_128bits_digest(state)
    }
}
