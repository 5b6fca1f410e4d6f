/// Bodies of Parquet data pages, version 1: definition levels and values of one flat column.
///
/// ```
/// optional column   u32 length | levels (RLE/bit-packed hybrid, one bit each: 1 = has a value)
/// values            of the rows that have one: fixed: width bytes; variable: u32 length | bytes;
///                   one byte wide (Bool): bits, lowest first; or `DeltaCodec`'s form of integers
/// ```
/// Source: Parquet's format description, "Encodings".
package enum PageCodec {
    /// How values are written; the raw values are Parquet's.
    package enum Encoding: Int, Sendable {
        case plain = 0
        /// DELTA_BINARY_PACKED, for integers of 4 and 8 bytes.
        case delta = 5
    }

    /// Appends the page body of all rows of `vector`.
    package static func encode(
        _ vector: ColumnVector, optional: Bool, as encoding: Encoding = .plain,
        into output: ByteBuffer
    ) {
        precondition(optional || vector.nullCount == 0)
        if optional { encodeLevels(vector, into: output) }
        switch encoding {
        case .plain: encodePlain(vector, into: output)
        case .delta where vector.nullCount == 0:
            vector.withPacked { encodeDelta($0, vector.layout, into: output) }
        case .delta:
            Scratch.with { plain in
                encodePlain(vector, into: plain)
                plain.withBytes { encodeDelta($0, vector.layout, into: output) }
            }
        }
    }

    private static func encodeDelta(
        _ values: UnsafeRawBufferPointer, _ layout: ColumnVector.Layout, into output: ByteBuffer
    ) {
        // There is a first byte even where there is no value.
        let source = values.baseAddress ?? UnsafeRawPointer(output.base)
        switch layout {
        case .fixed(4): DeltaCodec.encode(Int32.self, source, count: values.count / 4, into: output)
        case .fixed(8): DeltaCodec.encode(Int64.self, source, count: values.count / 8, into: output)
        default: preconditionFailure("only integers of 4 and 8 bytes have differences")
        }
    }

    private static func encodePlain(_ vector: ColumnVector, into output: ByteBuffer) {
        switch vector.layout {
        case .variable:
            vector.withPacked { output.append($0) }
        case .fixed(1):
            var bits: UInt8 = 0
            var used: UInt8 = 0
            for row in 0..<vector.count where !vector.isNull(row) {
                if vector.value(row, as: UInt8.self) != 0 { bits |= 1 << used }
                used += 1
                if used == 8 {
                    output.append(byte: bits)
                    bits = 0
                    used = 0
                }
            }
            if used > 0 { output.append(byte: bits) }
        case .fixed(let width):
            if vector.nullCount == 0 {
                vector.withPacked { output.append($0) }
            } else {
                output.append(room: width * vector.count) { room in
                    switch width {
                    case 4: pack(UInt32.self, vector, room)
                    case 8: pack(UInt64.self, vector, room)
                    default: pack(UInt128.self, vector, room)
                    }
                }
            }
        }
    }

    /// Writes the values of the rows that have one; answers their bytes.
    @inline(__always)
    private static func pack<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ vector: ColumnVector, _ room: UnsafeMutableRawBufferPointer
    ) -> Int {
        let size = MemoryLayout<T>.size
        let source = vector.address
        let marks = vector.marks.base
        precondition(room.count == size * vector.count && vector.marks.count == vector.count)
        guard let target = room.baseAddress else { return 0 }
        var written = 0
        for row in 0..<vector.count {
            // Each is written; the next one lies over it if it has no value.
            let value = source.loadUnaligned(fromByteOffset: row * size, as: T.self)
            target.storeBytes(of: value, toByteOffset: written, as: T.self)
            written += Int(marks.load(fromByteOffset: row, as: UInt8.self)) * size
        }
        return written
    }

    /// Exactly the bytes that `encode` appends for an optional column of so many rows and NULLs,
    /// `valueBytes` being those of variable values.
    package static func bodyBytes(
        rows: UInt64, nulls: UInt64, layout: ColumnVector.Layout, valueBytes: UInt64
    ) -> UInt64 {
        let groups = (rows + 7) / 8
        let levels =
            nulls == 0 || nulls == rows
            ? Varint.length(rows << 1) + 1 : Varint.length(groups << 1 | 1) + groups
        let values =
            switch layout {
            case .variable: 4 * (rows - nulls) + valueBytes
            case .fixed(1): (rows - nulls + 7) / 8
            case .fixed(let width): UInt64(width) * (rows - nulls)
            }
        return 4 + levels + values
    }

    /// Appends what `encode` puts in front of the values of an optional column.
    package static func encodeLevels(_ vector: ColumnVector, into output: ByteBuffer) {
        let rows = vector.count
        if vector.nullCount == 0 || vector.nullCount == rows {
            encodeLevels(of: rows, present: vector.nullCount == 0, into: output)
        } else {
            let start = output.count
            output.append(fixed: UInt32(0))
            let groups = (rows + 7) / 8
            Varint.append(UInt64(groups) << 1 | 1, to: output)
            for group in 0..<groups {
                var bits: UInt8 = 0
                for bit in 0..<min(8, rows - group * 8) where !vector.isNull(group * 8 + bit) {
                    bits |= 1 << UInt8(bit)
                }
                output.append(byte: bits)
            }
            output.replace(at: start, with: UInt32(output.count - start - 4))
        }
    }

    /// The levels of so many rows that all have a value, or all have none.
    static func encodeLevels(of rows: Int, present: Bool, into output: ByteBuffer) {
        output.append(fixed: UInt32(Varint.length(UInt64(rows) << 1) + 1))
        Varint.append(UInt64(rows) << 1, to: output)
        output.append(byte: present ? 1 : 0)
    }

    /// More than any page has: a column of so many rows would be all NULL in a few bytes.
    package static let maxRows = 1 << 20

    /// The column of a page body of `rows` rows. Takes over `body`.
    package static func decode(
        _ body: ByteBuffer, rows: Int, layout: ColumnVector.Layout, optional: Bool,
        as encoding: Encoding = .plain
    ) throws(Failure) -> ColumnVector {
        let damaged = Failure(.corrupt, "a page doesn't hold the rows that its header promises")
        guard rows >= 0, rows <= maxRows else { throw damaged }
        var position = 0
        var nulls = 0
        var present: ByteBuffer?
        if optional {
            guard body.count >= 4 else { throw damaged }
            let length = Int(body.load(at: 0, as: UInt32.self))
            position = 4 + length
            guard position <= body.count else { throw damaged }
            if !hasAll(body, 4..<position, rows: rows) {
                let levels = ByteBuffer(capacity: rows + 8)
                guard let valid = decodeLevels(body, 4..<position, rows: rows, into: levels)
                else { throw damaged }
                nulls = rows - valid
                present = levels
            }
        }
        let marks = nulls > 0 ? present : nil
        var body = body
        if encoding == .delta {
            let count = rows - nulls
            let plain: ByteBuffer? =
                switch layout {
                case .fixed(4): DeltaCodec.decode(Int32.self, body, from: position, count: count)
                case .fixed(8): DeltaCodec.decode(Int64.self, body, from: position, count: count)
                default: nil
                }
            guard let plain else { throw damaged }
            body = plain
            position = 0
        }
        let column: ColumnVector? =
            switch layout {
            case .variable:
                decodeVariable(body, from: position, rows: rows, nulls: nulls, present: marks)
            case .fixed(1):
                decodeBits(body, from: position, rows: rows, nulls: nulls, present: marks)
            case .fixed(let width):
                decodeFixed(
                    body, from: position, rows: rows, width: width, nulls: nulls, present: marks)
            }
        guard let column else { throw damaged }
        return column
    }

    /// True if the levels are one run that says that every row has a value, as most pages have it.
    private static func hasAll(_ body: ByteBuffer, _ range: Range<Int>, rows: Int) -> Bool {
        var position = range.lowerBound
        guard let header = Varint.read(body, at: &position, end: range.upperBound) else {
            return false
        }
        return header & 1 == 0 && header >> 1 >= UInt64(rows) && position < range.upperBound
            && body.load(at: position, as: UInt8.self) == 1
    }

    /// Appends the body that `encode` makes of the column in a page that is stored PLAIN: what it holds,
    /// as it is. Answers false, with nothing appended, if rows are NULL.
    ///
    /// - Parameter compressed: a zstd frame of `size` bytes.
    package static func append(
        stored compressed: UnsafeRawBufferPointer, size: Int, rows: Int, optional: Bool,
        into output: ByteBuffer
    ) throws -> Bool {
        let start = output.count
        encodeLevels(of: rows, present: true, into: output)
        let levels = output.count - start
        if optional {
            output.count = start
            try Zstd.decompress(compressed, size: size, into: output)
            let position = start + 4
            guard size >= levels, output.load(at: start, as: UInt32.self) == UInt32(levels - 4),
                hasAll(output, position..<start + levels, rows: rows)
            else {
                output.count = start
                return false
            }
        } else {
            try Zstd.decompress(compressed, size: size, into: output)
        }
        return true
    }

    /// Fills one byte a row, 1 = has a value; answers how many have one, nil if the levels are damaged.
    private static func decodeLevels(
        _ body: ByteBuffer, _ range: Range<Int>, rows: Int, into present: ByteBuffer
    ) -> Int? {
        var position = range.lowerBound
        var valid = 0
        while present.count < rows {
            guard let header = Varint.read(body, at: &position, end: range.upperBound) else {
                return nil
            }
            if header & 1 == 0 {
                let run = min(header >> 1, UInt64(rows - present.count))
                guard run > 0, position < range.upperBound else { return nil }
                let level = body.load(at: position, as: UInt8.self)
                position += 1
                guard level <= 1 else { return nil }
                present.append(byte: level, repeated: Int(run))
                valid += Int(level) * Int(run)
            } else {
                let groups = header >> 1
                guard groups > 0, groups <= UInt64(range.upperBound - position) else { return nil }
                for index in position..<position + Int(groups) {
                    // Each bit into a byte of its own: spread, masked, and made 1.
                    let bits = UInt64(body.load(at: index, as: UInt8.self))
                    let spread = bits &* 0x0101_0101_0101_0101 & 0x8040_2010_0804_0201
                    let levels = (spread &+ 0x7F7F_7F7F_7F7F_7F7F) >> 7 & 0x0101_0101_0101_0101
                    let used = min(8, rows - present.count)
                    let counted = used == 8 ? levels : levels & (1 << UInt64(used * 8) - 1)
                    present.append(fixed: counted)
                    present.count -= 8 - used
                    valid += counted.nonzeroBitCount
                }
                position += Int(groups)
            }
        }
        return valid
    }

    private static func decodeVariable(
        _ body: ByteBuffer, from start: Int, rows: Int, nulls: Int, present: ByteBuffer?
    ) -> ColumnVector? {
        let end = body.count
        guard (end - start) / 4 >= rows - nulls else { return nil }
        let marks = ByteBuffer(capacity: max(rows * 4, 4))
        let base = UnsafeRawPointer(body.base)
        var position = start
        marks.append(room: rows * 4) { room in
            let starts = room.baseAddress!.assumingMemoryBound(to: UInt32.self)
            for row in 0..<rows {
                if let present, present.base.load(fromByteOffset: row, as: UInt8.self) == 0 {
                    starts[row] = ColumnVector.null
                    continue
                }
                guard end - position >= 4 else { return 0 }
                let length = Int(base.loadUnaligned(fromByteOffset: position, as: UInt32.self))
                position += 4
                guard length <= end - position else { return 0 }
                starts[row] = UInt32(truncatingIfNeeded: position)
                position += length
            }
            return rows * 4
        }
        guard marks.count == rows * 4, position == end, end < UInt32.max else { return nil }
        return ColumnVector(
            .variable, count: rows, nullCount: nulls, values: body, origin: start, marks: marks)
    }

    private static func decodeFixed(
        _ body: ByteBuffer, from start: Int, rows: Int, width: Int, nulls: Int,
        present: ByteBuffer?
    ) -> ColumnVector? {
        guard body.count - start == (rows - nulls) * width else { return nil }
        guard let present else {
            return ColumnVector(
                .fixed(width), count: rows, nullCount: 0, values: body, origin: start,
                marks: ByteBuffer(capacity: 1))
        }
        let values = ByteBuffer(capacity: max(rows * width, 1))
        let source = UnsafeRawPointer(body.base) + start
        values.append(room: rows * width) { room in
            switch width {
            case 4: spread(UInt32.self, source, present, rows, room)
            case 8: spread(UInt64.self, source, present, rows, room)
            default: spread(UInt128.self, source, present, rows, room)
            }
            return rows * width
        }
        return ColumnVector(
            .fixed(width), count: rows, nullCount: nulls, values: values, origin: 0, marks: present)
    }

    /// Puts values to the rows that have one, zero to the others.
    @inline(__always)
    private static func spread<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type, _ source: UnsafeRawPointer, _ present: ByteBuffer, _ rows: Int,
        _ room: UnsafeMutableRawBufferPointer
    ) {
        let marks = present.base
        var next = source
        for row in 0..<rows {
            var value: T = 0
            if marks.load(fromByteOffset: row, as: UInt8.self) != 0 {
                value = next.loadUnaligned(as: T.self)
                next += MemoryLayout<T>.size
            }
            room.storeBytes(of: value, toByteOffset: row * MemoryLayout<T>.size, as: T.self)
        }
    }

    private static func decodeBits(
        _ body: ByteBuffer, from start: Int, rows: Int, nulls: Int, present: ByteBuffer?
    ) -> ColumnVector? {
        guard body.count - start == (rows - nulls + 7) / 8 else { return nil }
        let values = ByteBuffer(capacity: max(rows, 1))
        var index = 0
        for row in 0..<rows {
            if let present, present.base.load(fromByteOffset: row, as: UInt8.self) == 0 {
                values.append(byte: 0)
            } else {
                let byte = body.load(at: start + index / 8, as: UInt8.self)
                values.append(byte: byte >> UInt8(index % 8) & 1)
                index += 1
            }
        }
        return ColumnVector(
            .fixed(1), count: rows, nullCount: nulls, values: values, origin: 0,
            marks: present ?? ByteBuffer(capacity: 1))
    }
}

/// Unsigned LEB128 integers of up to 64 bits.
package enum Varint {
    @inline(__always)
    package static func append(_ value: UInt64, to output: ByteBuffer) {
        var rest = value
        output.reserve(10)
        while rest >= 0x80 {
            output.append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        output.append(byte: UInt8(truncatingIfNeeded: rest))
    }

    /// How many bytes `append` makes of a number.
    package static func length(_ value: UInt64) -> UInt64 {
        UInt64(max(1, (70 - value.leadingZeroBitCount) / 7))
    }

    /// Reads one and moves `position` behind it; nil if it is cut off at `end` or too long.
    @inline(__always)
    package static func read(_ buffer: ByteBuffer, at position: inout Int, end: Int) -> UInt64? {
        precondition(end <= buffer.count)
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while position < end, shift < 64 {
            let byte = buffer.base.load(fromByteOffset: position, as: UInt8.self)
            position += 1
            result |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return result }
            shift += 7
        }
        return nil
    }
}
