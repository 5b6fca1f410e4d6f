/// Writes text at an address that has room for it: numbers, dates and CSV fields, without tables
/// and without a call for a single byte.
///
/// Every method needs `room` bytes, and may touch all of them; but for those that write bytes, which
/// say what they need.
struct TextWriter {
    /// Enough for any number or time with its separator.
    static let room = 96

    var next: UnsafeMutableRawPointer

    @inline(__always)
    init(_ next: UnsafeMutableRawPointer) { self.next = next }

    @inline(__always)
    mutating func byte(_ byte: UInt8) {
        next.storeBytes(of: byte, as: UInt8.self)
        next += 1
    }

    /// The first `count` bytes of a little-endian word.
    @inline(__always)
    mutating func word(_ word: UInt64, count: Int) {
        next.storeBytes(of: word, as: UInt64.self)
        next += count
    }

    /// A text of at most `room` bytes.
    mutating func text(_ text: StaticString) {
        next.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        next += text.utf8CodeUnitCount
    }

    // MARK: Whole numbers

    private static let zeros: UInt64 = 0x3030_3030_3030_3030

    /// The eight digits of a number below 10⁸, a byte each, the first one lowest.
    @inline(__always)
    private static func eightDigits(_ value: UInt64) -> UInt64 {
        // Halves of four, quarters of two, then single digits, each step in all lanes at once.
        let quads = value / 10_000 | (value % 10_000) << 32
        let hundreds = (quads &* 10_486) >> 20 & 0x0000_007F_0000_007F
        let pairs = hundreds | (quads &- hundreds &* 100) << 16
        let tens = (pairs &* 103) >> 10 & 0x000F_000F_000F_000F
        return tens | (pairs &- tens &* 10) << 8
    }

    /// `value` below 10⁸ without zeros in front.
    @inline(__always)
    private mutating func upToEight(_ value: UInt64) {
        let digits = Self.eightDigits(value)
        let skipped = min(digits.trailingZeroBitCount & ~7, 56)
        word((digits | Self.zeros) >> UInt64(skipped), count: 8 - skipped / 8)
    }

    @inline(__always)
    private mutating func allEight(_ value: UInt64) {
        word(Self.eightDigits(value) | Self.zeros, count: 8)
    }

    @inline(__always)
    mutating func decimal(_ value: UInt64) {
        if value < 100_000_000 { upToEight(value) } else { longDecimal(value) }
    }

    private mutating func longDecimal(_ value: UInt64) {
        let (head, tail) = value.quotientAndRemainder(dividingBy: 100_000_000)
        if head < 100_000_000 {
            upToEight(head)
        } else {
            upToEight(head / 100_000_000)
            allEight(head % 100_000_000)
        }
        allEight(tail)
    }

    @inline(__always)
    mutating func decimal(_ value: Int64) {
        if value < 0 { byte(UInt8(ascii: "-")) }
        decimal(value.magnitude)
    }

    /// Two digits of a number below 100.
    @inline(__always)
    mutating func pair(_ value: UInt64) {
        let tens = (value &* 103) >> 10
        let digits = UInt16(truncatingIfNeeded: tens | (value &- tens &* 10) << 8 | 0x3030)
        next.storeBytes(of: digits, as: UInt16.self)
        next += 2
    }

    /// `value` / 10^`scale` without zeros at the end; YDB's ±10³⁵ and 10³⁵+1 as `inf` and `nan`.
    mutating func decimal(_ value: Int128, scale: Int) {
        let infinite: Int128 = 100_000_000_000_000_000 * 1_000_000_000_000_000_000
        if value.magnitude >= infinite.magnitude {
            if value == infinite { text("inf") } else { text(value == -infinite ? "-inf" : "nan") }
            return
        }
        if value < 0 { byte(UInt8(ascii: "-")) }
        let (high, low) = value.magnitude.quotientAndRemainder(
            dividingBy: 1_000_000_000_000_000_000)
        // 36 digits in a row, then those that count are moved to where they belong.
        var digits = TextWriter(next + 40)
        let start = digits.next
        digits.eighteen(UInt64(high))
        digits.eighteen(UInt64(low))
        var first = 36 - max(scale + 1, Self.length(UInt64(high), UInt64(low)))
        while first < 36 - scale {
            byte(start.load(fromByteOffset: first, as: UInt8.self))
            first += 1
        }
        var end = 36
        while end > first, start.load(fromByteOffset: end - 1, as: UInt8.self) == 48 { end -= 1 }
        if end > first {
            byte(UInt8(ascii: "."))
            while first < end {
                byte(start.load(fromByteOffset: first, as: UInt8.self))
                first += 1
            }
        }
    }

    private mutating func eighteen(_ value: UInt64) {
        let (head, tail) = value.quotientAndRemainder(dividingBy: 10_000_000_000_000_000)
        pair(head)
        allEight(tail / 100_000_000)
        allEight(tail % 100_000_000)
    }

    /// Decimal digits of high × 10¹⁸ + low.
    private static func length(_ high: UInt64, _ low: UInt64) -> Int {
        var length = high == 0 ? 0 : 18
        var rest = high == 0 ? low : high
        while rest > 0 {
            length += 1
            rest /= 10
        }
        return length
    }

    // MARK: Floating point

    /// The shortest decimal that reads back as the same number, in the form of Python's `repr`:
    /// `5.0`, `1e+16`, `1e-05`, `-0.0`, `inf`, `nan`.
    @inline(__always)
    mutating func python(_ value: Double) {
        if let size = special(value) { python(ShortestDecimal(size)) }
    }

    @inline(__always)
    mutating func python(_ value: Float) {
        if let size = special(value) { python(ShortestDecimal(size)) }
    }

    /// Writes the sign, and what has no digits; else answers the number without its sign.
    @inline(__always)
    private mutating func special<T: BinaryFloatingPoint>(_ value: T) -> T? {
        if value.isNaN {
            text("nan")
            return nil
        }
        if value.sign == .minus { byte(UInt8(ascii: "-")) }
        if value.isInfinite || value == 0 {
            text(value == 0 ? "0.0" : "inf")
            return nil
        }
        return value.magnitude
    }

    private mutating func python(_ number: ShortestDecimal) {
        let start = next
        // One byte is left free for the point.
        next += 1
        decimal(number.digits)
        let length = next - start - 1
        let point = length + number.exponent
        if point > 16 || point < -3 {
            move(1, from: start + 1, to: start)
            if length > 1 { start.storeBytes(of: 46, toByteOffset: 1, as: UInt8.self) }
            if length == 1 { next -= 1 }
            byte(UInt8(ascii: "e"))
            byte(point > 0 ? UInt8(ascii: "+") : UInt8(ascii: "-"))
            let exponent = UInt64((point - 1).magnitude)
            if exponent < 100 { pair(exponent) } else { decimal(exponent) }
        } else if point <= 0 {
            // The digits go behind "0." and some zeros.
            let first = (start + 1).loadUnaligned(as: UInt64.self)
            let second = (start + 9).loadUnaligned(as: UInt64.self)
            let last = (start + 17).load(as: UInt8.self)
            next = start
            word(0x3030_3030_3030_2E30, count: 2 - point)
            let end = next + length
            word(first, count: 8)
            word(second, count: 8)
            byte(last)
            next = end
        } else if number.exponent >= 0 {
            move(length, from: start + 1, to: start)
            next = start + length
            word(Self.zeros, count: 8)
            word(Self.zeros, count: 8)
            next = start + point
            word(0x302E, count: 2)
        } else {
            move(point, from: start + 1, to: start)
            start.storeBytes(of: 46, toByteOffset: point, as: UInt8.self)
        }
    }

    /// Moves a few bytes one place down.
    @inline(__always)
    private func move(
        _ count: Int, from source: UnsafeMutableRawPointer, to target: UnsafeMutableRawPointer
    ) {
        for index in 0..<count {
            target.storeBytes(
                of: source.load(fromByteOffset: index, as: UInt8.self), toByteOffset: index,
                as: UInt8.self)
        }
    }

    // MARK: Time

    /// `2026-11-21`, from days since 1970 in the proleptic Gregorian calendar.
    mutating func days(_ days: Int64) {
        // Howard Hinnant's civil_from_days, in eras of 400 years that begin in March.
        let shifted = days + 719_468
        let (era, dayOfEra) = Self.floor(shifted, by: 146_097)
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let year = Int64(yearOfEra) + era * 400 + (month >= 10 ? 1 : 0)
        if year < 0 { byte(UInt8(ascii: "-")) }
        let size = year.magnitude
        if size < 10_000 {
            pair(size / 100)
            pair(size % 100)
        } else {
            decimal(size)
        }
        byte(UInt8(ascii: "-"))
        pair(month < 10 ? month + 3 : month - 9)
        byte(UInt8(ascii: "-"))
        pair(day)
    }

    /// `2026-11-21T10:00:00`, from seconds since 1970.
    @inline(__always)
    mutating func seconds(_ seconds: Int64) {
        let (days, rest) = Self.floor(seconds, by: 86_400)
        self.days(days)
        byte(UInt8(ascii: "T"))
        pair(rest / 3600)
        byte(UInt8(ascii: ":"))
        pair(rest / 60 % 60)
        byte(UInt8(ascii: ":"))
        pair(rest % 60)
    }

    /// `2026-11-21T10:00:00.000000`, from microseconds since 1970.
    mutating func microseconds(_ microseconds: Int64) {
        let (seconds, rest) = Self.floor(microseconds, by: 1_000_000)
        self.seconds(seconds)
        byte(UInt8(ascii: "."))
        pair(rest / 10_000)
        pair(rest / 100 % 100)
        pair(rest % 100)
    }

    /// Quotient rounded down, and the rest; for any number, the smallest one included.
    @inline(__always)
    private static func floor(_ value: Int64, by divisor: Int64) -> (Int64, UInt64) {
        let (quotient, rest) = value.quotientAndRemainder(dividingBy: divisor)
        return rest < 0 ? (quotient - 1, UInt64(rest + divisor)) : (quotient, UInt64(rest))
    }

    // MARK: Bytes

    /// Two hexadecimal digits a byte. Needs room for them.
    mutating func hex(_ bytes: UnsafeRawBufferPointer) {
        @inline(__always)
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }
        for byte in bytes {
            self.byte(digit(byte >> 4))
            self.byte(digit(byte & 15))
        }
    }

    /// `5b99a330-04ef-4f1a-9b64-ba6d5f44eafe`, from 16 bytes.
    mutating func uuid(_ bytes: UnsafeRawBufferPointer) {
        for index in 0..<16 {
            if index == 4 || index == 6 || index == 8 || index == 10 { byte(UInt8(ascii: "-")) }
            hex(UnsafeRawBufferPointer(rebasing: bytes[index..<index + 1]))
        }
    }
}
