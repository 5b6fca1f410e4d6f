/// How the values of one column are written in CSV.
package enum CSVKind: UInt8, Sendable {
    case int32, uint32, int64, uint64, double, text, binary
    /// By the caller.
    case other
}

extension ByteBuffer {
    /// One column, reduced to what the inner loop needs.
    private struct Field {
        var kind: CSVKind
        var values: UnsafeRawPointer
        /// Starts of variable values; of fixed ones a byte a row, nil if none is NULL.
        var marks: UnsafeRawPointer?
        var column: ColumnVector
    }

    /// Appends rows as CSV lines. `other` appends a value of a column of kind `other`, by the
    /// column's index; it isn't asked for NULLs.
    ///
    /// The hot loop of every read: it works on raw pointers, reserves room once for all numbers of a
    /// row and once for each text.
    package func append(
        csvRows rows: Range<Int>, of columns: [ColumnVector], kinds: [CSVKind],
        other: (_ column: Int, _ row: Int) -> Void
    ) {
        precondition(columns.count == kinds.count)
        precondition(columns.allSatisfy { rows.lowerBound >= 0 && rows.upperBound <= $0.count })
        let fields = zip(columns, kinds).map { column, kind in
            Field(
                kind: kind, values: column.valueBase,
                marks: column.layout == .variable || column.nullCount > 0
                    ? UnsafeRawPointer(column.marks.base) : nil,
                column: column)
        }
        let roomForNumbers = columns.count * 33 + 1
        fields.withUnsafeBufferPointer { fields in
            for row in rows {
                reserve(roomForNumbers)
                for index in 0..<fields.count {
                    if index > 0 { put(UInt8(ascii: ",")) }
                    append(csv: fields[index], index, row, other)
                    // What isn't a whole number may have used up the room of what follows.
                    if fields[index].kind.rawValue >= CSVKind.double.rawValue {
                        reserve(roomForNumbers)
                    }
                }
                put(UInt8(ascii: "\n"))
            }
        }
        withExtendedLifetime(columns) {}
    }

    @inline(__always)
    private func put(_ byte: UInt8) {
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    @inline(__always)
    private func append(
        csv field: borrowing Field, _ index: Int, _ row: Int,
        _ other: (_ column: Int, _ row: Int) -> Void
    ) {
        switch field.kind {
        case .text, .binary:
            let start = field.marks!.load(fromByteOffset: row * 4, as: UInt32.self)
            if start == ColumnVector.null { return }
            let address = field.values + Int(start)
            let bytes = UnsafeRawBufferPointer(
                start: address, count: Int((address - 4).loadUnaligned(as: UInt32.self)))
            if field.kind == .text { append(csvField: bytes) } else { append(csvBinary: bytes) }
            return
        case .other:
            if !field.column.isNull(row) { other(index, row) }
            return
        default: break
        }
        if let marks = field.marks, marks.load(fromByteOffset: row, as: UInt8.self) == 0 { return }
        switch field.kind {
        case .int64:
            put(signed: field.values.loadUnaligned(fromByteOffset: row * 8, as: Int64.self))
        case .uint64:
            put(decimal: field.values.loadUnaligned(fromByteOffset: row * 8, as: UInt64.self))
        case .int32:
            put(signed: Int64(field.values.loadUnaligned(fromByteOffset: row * 4, as: Int32.self)))
        case .uint32:
            put(
                decimal: UInt64(
                    field.values.loadUnaligned(fromByteOffset: row * 4, as: UInt32.self)))
        default:
            put(double: field.values.loadUnaligned(fromByteOffset: row * 8, as: Double.self))
        }
    }

    // MARK: Numbers, where room was reserved before

    /// Two decimal digits of 0…99, one after another.
    private static var digitPairs: UnsafePointer<UInt8> {
        let pairs: StaticString =
            """
            00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748\
            4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798\
            99
            """
        return pairs.utf8Start
    }

    @inline(__always)
    func put(signed value: Int64) {
        if value < 0 { put(UInt8(ascii: "-")) }
        put(decimal: value.magnitude)
    }

    @inline(__always)
    private static func digits(_ value: UInt64) -> Int {
        if value < 10 { return 1 }
        // log10(2) = 1233/4096; the guess is right or one too small.
        let guess = ((64 - value.leadingZeroBitCount) * 1233) >> 12
        return guess + (value >= powersOfTen[guess] ? 1 : 0)
    }

    private static let powersOfTen: [20 of UInt64] = [
        1, 10, 100, 1000, 10000, 100000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000,
        10_000_000_000, 100_000_000_000, 1_000_000_000_000, 10_000_000_000_000,
        100_000_000_000_000, 1_000_000_000_000_000, 10_000_000_000_000_000,
        100_000_000_000_000_000, 1_000_000_000_000_000_000, 10_000_000_000_000_000_000,
    ]

    @inline(__always)
    func put(decimal value: UInt64) {
        let length = Self.digits(value)
        put(digits: value, length: length, at: count)
        count += length
    }

    /// Writes exactly `length` digits, zeros in front, at a place with room.
    @inline(__always)
    private func put(digits value: UInt64, length: Int, at place: Int) {
        let pairs = Self.digitPairs
        var rest = value
        var position = base + place + length
        var left = length
        while left >= 2 {
            let pair = pairs + Int(rest % 100) * 2
            rest /= 100
            position -= 2
            position.storeBytes(
                of: UnsafeRawPointer(pair).loadUnaligned(as: UInt16.self), as: UInt16.self)
            left -= 2
        }
        if left == 1 {
            (position - 1).storeBytes(of: UInt8(48 + rest % 10), as: UInt8.self)
        }
    }

    /// As `append(python:)`. Most numbers are short decimals: one whose product with a power of ten
    /// is a whole number below 10¹⁵ that, divided again, gives the number back, has these digits, and
    /// no other of 15 digits or fewer reads back as it.
    @inline(__always)
    func put(double value: Double) {
        let size = value.magnitude
        if size < 1e15, size >= 1e-3 || value == 0 {
            if putShort(size, isNegative: value.sign == .minus, 2, 100) { return }
            if putShort(size, isNegative: value.sign == .minus, 6, 1e6) { return }
            if putShort(size, isNegative: value.sign == .minus, 10, 1e10) { return }
        }
        append(python: value)
    }

    @inline(__always)
    private func putShort(_ size: Double, isNegative: Bool, _ decimals: Int, _ power: Double)
        -> Bool
    {
        let scaled = (size * power).rounded(.toNearestOrEven)
        guard scaled < 1e15, scaled / power == size else { return false }
        if isNegative { put(UInt8(ascii: "-")) }
        var whole = UInt64(scaled)
        var fraction = decimals
        while fraction > 1, whole % 10 == 0 {
            whole /= 10
            fraction -= 1
        }
        let divisor = Self.powersOfTen[fraction]
        put(decimal: whole / divisor)
        put(UInt8(ascii: "."))
        put(digits: whole % divisor, length: fraction, at: count)
        count += fraction
        return true
    }
}
