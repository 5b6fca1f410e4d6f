extension ColumnVector {
    /// Bytes of rows in a column of CSV, without separators and without what stands for NULL: as many as
    /// `append(csv:)` writes, without writing them.
    package func byteCount(_ rows: Range<Int>, as form: CSVForm) -> UInt64 {
        precondition(rows.lowerBound >= 0 && rows.upperBound <= count)
        return withExtendedLifetime(self) {
            CSVRows.Cell(self, form, separator: 0, .nothing).byteCount(rows)
        }
    }
}

extension CSVRows.Cell {
    /// Bytes of values, without separators.
    fileprivate func byteCount(_ rows: Range<Int>) -> UInt64 {
        switch form {
        case .text: texts(rows) { TextWriter.fieldLength($0) }
        case .bytes: texts(rows) { TextWriter.binaryLength($0) }
        case .escaped: texts(rows) { TextWriter.escapedLength($0) + 2 }
        case .escapedNumber: texts(rows) { TextWriter.numberLength($0) }
        case .int64: sum(rows, of: Int64.self) { TextWriter.length($0) }
        case .int32: sum(rows, of: Int32.self) { TextWriter.length(Int64($0)) }
        case .uint64: sum(rows, of: UInt64.self) { TextWriter.length($0) }
        case .uint32: sum(rows, of: UInt32.self) { TextWriter.length(UInt64($0)) }
        case .bool: sum(rows, of: UInt8.self) { $0 != 0 ? 4 : 5 }
        case .bit: sum(rows) { _ in 1 }
        case .uuid: sum(rows) { _ in 36 }
        case .dateTime:
            sum(rows) { value($0, as: UInt32.self) < Self.days ? 27 : writtenLength($0) }
        case .secondsTime: sum(rows) { _ in 27 }
        case .float, .double, .decimal, .date, .unsignedDate, .seconds, .unsignedSeconds,
            .microseconds:
            sum(rows) { writtenLength($0) }
        }
    }

    /// Days from 1970 to the year 10000, which has a digit more.
    private static var days: UInt32 { 2_932_897 }

    /// Adds up a number of each row that isn't NULL.
    @inline(__always)
    private func sum(_ rows: Range<Int>, _ length: (Int) -> Int) -> UInt64 {
        var sum = 0
        for row in rows
        where !hasNulls || marks.load(fromByteOffset: row, as: UInt8.self) != 0 {
            sum += length(row)
        }
        return UInt64(sum)
    }

    @inline(__always)
    private func sum<T: BitwiseCopyable>(
        _ rows: Range<Int>, of type: T.Type, _ length: (T) -> Int
    ) -> UInt64 {
        sum(rows) { length(value($0, as: type)) }
    }

    @inline(__always)
    private func texts(_ rows: Range<Int>, _ length: (UnsafeRawBufferPointer) -> Int) -> UInt64 {
        var sum = 0
        for row in rows {
            if let bytes = bytes(row) { sum += length(bytes) }
        }
        return UInt64(sum)
    }

    /// Writes the value aside: what it comes to can't be told in a simpler way.
    private func writtenLength(_ row: Int) -> Int {
        withUnsafeTemporaryAllocation(byteCount: TextWriter.room, alignment: 8) { memory in
            var writer = TextWriter(memory.baseAddress!)
            write(row, to: &writer)
            return writer.next - memory.baseAddress!
        }
    }
}

extension TextWriter {
    /// Digits of a number.
    @inline(__always)
    static func length(_ value: UInt64) -> Int {
        var (rest, length) = (value, 1)
        while rest >= 10_000 {
            rest /= 10_000
            length += 4
        }
        return length + (rest >= 10 ? 1 : 0) + (rest >= 100 ? 1 : 0) + (rest >= 1000 ? 1 : 0)
    }

    @inline(__always)
    static func length(_ value: Int64) -> Int { length(value.magnitude) + (value < 0 ? 1 : 0) }

    /// What `field` writes.
    @inline(__always)
    static func fieldLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = bytes.count
        guard let source = bytes.baseAddress, count > 0 else { return 2 }
        var special: UInt64 = 0
        if count >= 8 {
            var index = 0
            while index + 8 <= count {
                special |= specials(source.loadUnaligned(fromByteOffset: index, as: UInt64.self))
                index += 8
            }
            special |= specials(source.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self))
        } else {
            for byte in bytes { special |= specials(UInt64(byte)) }
            if isEndMark(bytes) { special = .max }
        }
        let space = UInt8(ascii: " ")
        if special & 0x8080_8080_8080_8080 == 0, bytes[0] != space, bytes[count - 1] != space {
            return count
        }
        return count + 2 + bytes.count { $0 == UInt8(ascii: "\"") }
    }

    /// What `binary` writes.
    static func binaryLength(_ bytes: UnsafeRawBufferPointer) -> Int {
        isPlain(bytes) ? fieldLength(bytes) : 2 + 2 * bytes.count
    }
}
