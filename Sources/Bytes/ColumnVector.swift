/// Values of one column, with NULLs, in row order: what a source fills, a page stores and a
/// renderer reads.
///
/// ```
/// fixed     values: count × width bytes, zero at a NULL     marks: one byte a row, 0 = NULL;
///                                                           empty as long as there is no NULL
/// variable  values: u32 length | bytes, one after another   marks: u32 start of each row's bytes;
///                                                           0xFFFFFFFF = NULL
/// ```
/// Variable values lie as in Parquet's PLAIN encoding, so that a page is stored and decoded without
/// touching single values. Not thread-safe while it grows; immutable vectors may be shared.
package final class ColumnVector: @unchecked Sendable {
    package enum Layout: Sendable, Equatable {
        /// 1, 4, 8 or 16 bytes a value.
        case fixed(Int)
        case variable
    }

    package let layout: Layout
    @exclusivity(unchecked)
    package private(set) var count = 0
    @exclusivity(unchecked)
    package private(set) var nullCount = 0
    @usableFromInline package let values: ByteBuffer
    /// Where the values begin in `values`; 0 unless memory of others was taken over.
    @exclusivity(unchecked)
    private var origin: Int
    @usableFromInline package let marks: ByteBuffer

    @usableFromInline package static var null: UInt32 { .max }

    /// Variable values are fewer bytes: places are told in 32 bits.
    package static var maxBytes: Int { Int(null) }

    package init(_ layout: Layout) {
        self.layout = layout
        values = ByteBuffer(capacity: 1024)
        origin = 0
        marks = ByteBuffer(capacity: 256)
    }

    /// Takes over decoded parts: `values` and `marks` as documented above.
    init(
        _ layout: Layout, count: Int, nullCount: Int, values: ByteBuffer, origin: Int,
        marks: ByteBuffer
    ) {
        self.layout = layout
        self.count = count
        self.nullCount = nullCount
        self.values = values
        self.origin = origin
        self.marks = marks
    }

    /// The rows of another vector from `row` on. They stay where they are: the other one is given up.
    package init(tail other: ColumnVector, from row: Int) {
        precondition(row >= 0 && row <= other.count)
        layout = other.layout
        count = other.count - row
        nullCount = other.nullCount(in: row..<other.count)
        values = other.values
        marks = ByteBuffer(capacity: max(count * 4, 4))
        switch layout {
        case .fixed(let width):
            origin = other.origin + row * width
            if nullCount > 0 { marks.append(other.marks, from: row, count: count) }
        case .variable:
            origin = other.valueStart(from: row)
            marks.append(other.marks, from: row * 4, count: count * 4)
        }
    }

    package func removeAll() {
        count = 0
        nullCount = 0
        origin = 0
        values.removeAll()
        marks.removeAll()
    }

    /// Bytes of values and marks.
    package var byteCount: Int { values.count - origin + marks.count }

    /// Bytes of a row, about.
    package func byteCount(ofRow row: Int) -> Int { withBytes(row) { $0.count + 4 } }

    /// Bytes of memory that it holds.
    package var memoryBytes: Int { values.capacity + marks.capacity + 320 }

    /// Takes the rows of a vector of the same layout, which gets those that there were: nothing is
    /// copied.
    package func exchange(with other: ColumnVector) {
        precondition(layout == other.layout)
        swap(&origin, &other.origin)
        swap(&count, &other.count)
        swap(&nullCount, &other.nullCount)
        values.exchange(with: other.values)
        marks.exchange(with: other.marks)
    }

    // MARK: Appending

    package func appendNull() {
        switch layout {
        case .fixed(let width):
            if nullCount == 0 { marks.append(byte: 1, repeated: count) }
            marks.append(byte: 0)
            values.append(byte: 0, repeated: width)
        case .variable:
            marks.append(fixed: Self.null)
        }
        nullCount += 1
        count += 1
    }

    package func append<T: BitwiseCopyable>(_ value: T) {
        precondition(layout == .fixed(MemoryLayout<T>.size))
        if nullCount > 0 { marks.append(byte: 1) }
        values.append(fixed: value)
        count += 1
    }

    /// A variable value, or the bytes of a fixed one.
    package func append(bytes: UnsafeRawBufferPointer) {
        if layout == .variable {
            values.append(fixed: UInt32(bytes.count))
            marks.append(fixed: UInt32(values.count))
        } else {
            precondition(layout == .fixed(bytes.count))
            if nullCount > 0 { marks.append(byte: 1) }
        }
        values.append(bytes)
        count += 1
    }

    /// A variable value behind its length, as they lie in `values`.
    @inline(__always)
    func append(sized bytes: UnsafeRawBufferPointer) {
        precondition(layout == .variable && bytes.count >= 4)
        marks.append(fixed: UInt32(values.count + 4))
        values.append(bytes)
        count += 1
    }

    /// A value of so many bytes that `fill` writes.
    func append<E: Error>(
        room length: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        if layout == .variable { values.append(fixed: UInt32(length)) }
        let start = values.count
        try values.append(room: length) { room throws(E) in
            try fill(room)
            return length
        }
        if layout == .variable {
            marks.append(fixed: UInt32(start))
        } else {
            precondition(layout == .fixed(length))
            if nullCount > 0 { marks.append(byte: 1) }
        }
        count += 1
    }

    package func append(bytes: [UInt8]) { bytes.withUnsafeBytes { append(bytes: $0) } }

    package func append(text: String) {
        var text = text
        text.withUTF8 { append(bytes: UnsafeRawBufferPointer($0)) }
    }

    /// A UUID's text, from the 16 bytes of a row of another vector.
    package func append(uuidText other: ColumnVector, row: Int) {
        precondition(layout == .variable)
        values.append(fixed: UInt32(36))
        marks.append(fixed: UInt32(values.count))
        other.withBytes(row) { bytes in
            precondition(bytes.count == 16)
            values.append(room: 36) { room in
                var writer = TextWriter(room.baseAddress!)
                writer.uuid(bytes)
                return 36
            }
        }
        count += 1
    }

    /// Copies one row of a vector of the same layout.
    package func append(_ other: ColumnVector, row: Int) {
        if other.isNull(row) {
            appendNull()
        } else {
            other.withBytes(row) { append(bytes: $0) }
        }
    }

    /// Copies consecutive rows of a vector of the same layout.
    package func append(_ other: ColumnVector, rows: Range<Int>) {
        precondition(layout == other.layout && rows.lowerBound >= 0)
        precondition(rows.upperBound <= other.count)
        if rows.isEmpty { return }
        let nulls = other.nullCount(in: rows)
        switch layout {
        case .fixed(let width):
            if nulls > 0 {
                if nullCount == 0 { marks.append(byte: 1, repeated: count) }
                marks.append(other.marks, from: rows.lowerBound, count: rows.count)
            } else if nullCount > 0 {
                marks.append(byte: 1, repeated: rows.count)
            }
            values.append(
                other.values, from: other.origin + rows.lowerBound * width,
                count: rows.count * width)
        case .variable:
            // Values lie one after another, so that only their places are moved.
            let starts = UnsafeRawPointer(other.marks.base).assumingMemoryBound(to: UInt32.self)
            let first = other.valueStart(from: rows.lowerBound)
            let end = other.valueStart(from: rows.upperBound)
            let shift = UInt32(values.count) &- UInt32(first)
            values.append(other.values, from: first, count: end - first)
            precondition(values.count < Self.null)
            marks.append(room: rows.count * 4) { room in
                let target = room.baseAddress!
                for (number, row) in rows.enumerated() {
                    let start = starts[row]
                    let moved = start == Self.null ? Self.null : start &+ shift
                    (target + number * 4).storeBytes(of: moved, as: UInt32.self)
                }
                return rows.count * 4
            }
        }
        count += rows.count
        nullCount += nulls
    }

    /// Where in `values` the first variable value of a row or of those behind it begins, its length
    /// included.
    private func valueStart(from row: Int) -> Int {
        for row in row..<count {
            let start = marks.base.load(fromByteOffset: row * 4, as: UInt32.self)
            if start != Self.null { return Int(start) - 4 }
        }
        return values.count
    }

    // MARK: Measuring

    package func nullCount(in rows: Range<Int>) -> Int {
        if nullCount == 0 { return 0 }
        if rows.count == count { return nullCount }
        return rows.reduce(0) { $0 + (isNull($1) ? 1 : 0) }
    }

    /// Bytes of the variable values of some rows.
    package func valueBytes(in rows: Range<Int>) -> Int {
        precondition(layout == .variable)
        if rows.count == count { return values.count - origin - 4 * (count - nullCount) }
        return rows.reduce(0) { sum, row in sum + withBytes(row) { $0.count } }
    }

    // MARK: Reading

    @inline(__always)
    package func isNull(_ row: Int) -> Bool {
        if layout == .variable {
            return marks.base.load(fromByteOffset: checked(row) * 4, as: UInt32.self) == Self.null
        }
        return nullCount > 0 && marks.base.load(fromByteOffset: checked(row), as: UInt8.self) == 0
    }

    /// A fixed value; zero where it is NULL.
    @inline(__always)
    package func value<T: BitwiseCopyable>(_ row: Int, as type: T.Type) -> T {
        precondition(layout == .fixed(MemoryLayout<T>.size))
        return values.base.loadUnaligned(
            fromByteOffset: origin + checked(row) * MemoryLayout<T>.size, as: type)
    }

    /// The bytes of a value: as stored for a fixed one, empty for NULL. Valid during the call.
    @inline(__always)
    package func withBytes<R, E: Error>(
        _ row: Int, _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        switch layout {
        case .fixed(let width):
            return try body(
                UnsafeRawBufferPointer(
                    start: values.base + origin + checked(row) * width, count: width))
        case .variable:
            let start = marks.base.load(fromByteOffset: checked(row) * 4, as: UInt32.self)
            if start == Self.null { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
            let address = values.base + Int(start)
            let length = (address - 4).loadUnaligned(as: UInt32.self)
            return try body(UnsafeRawBufferPointer(start: address, count: Int(length)))
        }
    }

    /// Where the first fixed value lies; what `marks` of variable ones count from.
    var address: UnsafeRawPointer {
        UnsafeRawPointer(values.base) + (layout == .variable ? 0 : origin)
    }

    /// All values, one after another, as they lie in memory.
    package func withPacked<R, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: values.base + origin, count: values.count - origin))
    }

    package func bytes(_ row: Int) -> [UInt8] { withBytes(row) { [UInt8]($0) } }

    @inline(__always)
    private func checked(_ row: Int) -> Int {
        precondition(row >= 0 && row < count)
        return row
    }

    /// `identical` for every column of two rows.
    package static func identical(
        _ a: [ColumnVector], _ i: Int, _ b: [ColumnVector], _ j: Int
    ) -> Bool {
        precondition(a.count == b.count)
        for column in a.indices where !identical(a[column], i, b[column], j) { return false }
        return true
    }

    /// `identical` for consecutive rows of two vectors of the same layout, all at once.
    package static func identical(
        _ a: ColumnVector, _ rows: Range<Int>, _ b: ColumnVector, from start: Int
    ) -> Bool {
        precondition(a.layout == b.layout && rows.lowerBound >= 0 && start >= 0)
        precondition(rows.upperBound <= a.count && start + rows.count <= b.count)
        let left: Range<Int>
        let right: Range<Int>
        switch a.layout {
        case .fixed(let width):
            left = a.origin + rows.lowerBound * width..<a.origin + rows.upperBound * width
            right = b.origin + start * width..<b.origin + (start + rows.count) * width
        case .variable:
            left = a.valueStart(from: rows.lowerBound)..<a.valueStart(from: rows.upperBound)
            right = b.valueStart(from: start)..<b.valueStart(from: start + rows.count)
        }
        guard left.count == right.count, a.values.compare(left, b.values, right) == 0 else {
            return false
        }
        if a.nullCount == 0, b.nullCount == 0 { return true }
        return rows.allSatisfy { a.isNull($0) == b.isNull($0 - rows.lowerBound + start) }
    }

    /// Same storage, NULLs and bytes: equality of values bit for bit, so that -0.0 differs from 0.0.
    package static func identical(_ a: ColumnVector, _ i: Int, _ b: ColumnVector, _ j: Int) -> Bool
    {
        if a.isNull(i) || b.isNull(j) { return a.isNull(i) && b.isNull(j) }
        return a.withBytes(i) { left in
            b.withBytes(j) { right in
                left.count == right.count && ByteOrder.compare(left, right) == 0
            }
        }
    }
}
