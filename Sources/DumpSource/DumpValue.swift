import Bytes
import Tables

/// Values as YDB's dumps write them: unquoted numbers, times and the like, and percent-encoded bytes in
/// quotes. Used by one thread.
package struct DumpValue {
    private let scratch = ByteBuffer(capacity: 1024)

    package init() {}

    /// Appends the value that a field holds, not `null`; false if the type has no such value.
    package func append(
        _ field: Span<UInt8>, _ type: ColumnType, to column: ColumnVector
    ) -> Bool {
        switch type {
        case .bool: Self.appendBool(field, to: column)
        case .int8: Self.append(Self.integer(field, as: Int8.self).map { Int32($0) }, to: column)
        case .int16: Self.append(Self.integer(field, as: Int16.self).map { Int32($0) }, to: column)
        case .int32, .date32: Self.append(Self.integer(field, as: Int32.self), to: column)
        case .int64, .interval, .datetime64, .timestamp64, .interval64:
            Self.append(Self.integer(field, as: Int64.self), to: column)
        case .uint8: Self.append(Self.integer(field, as: UInt8.self).map { UInt32($0) }, to: column)
        case .uint16:
            Self.append(Self.integer(field, as: UInt16.self).map { UInt32($0) }, to: column)
        case .uint32: Self.append(Self.integer(field, as: UInt32.self), to: column)
        case .uint64: Self.append(Self.integer(field, as: UInt64.self), to: column)
        case .float: Self.append(Self.floating(field).flatMap { Float($0) }, to: column)
        case .double: Self.append(Self.floating(field).flatMap { Double($0) }, to: column)
        case .decimal(let precision, let scale):
            Self.append(Self.decimal(field, precision, scale)?.bigEndian, to: column)
        case .date:
            Self.append(
                DumpTime(field).flatMap { $0.microsecondOfDay == 0 ? UInt16(exactly: $0.day) : nil }
                    .map { UInt32($0) }, to: column)
        case .datetime:
            Self.append(
                DumpTime(field).flatMap {
                    $0.microsecondOfDay % 1_000_000 == 0
                        ? UInt32(exactly: $0.day * 86_400 + $0.microsecondOfDay / 1_000_000) : nil
                }, to: column)
        case .timestamp:
            Self.append(
                DumpTime(field).flatMap {
                    UInt64(exactly: $0.day * 86_400_000_000 + $0.microsecondOfDay)
                }, to: column)
        case .uuid: Self.append(Self.uuid(field), to: column)
        case .string, .yson: appendQuoted(field, isText: false, to: column)
        case .utf8, .json, .jsonDocument, .pg, .tzDate, .tzDatetime, .tzTimestamp:
            appendQuoted(field, isText: true, to: column)
        case .dyNumber: appendPlain(field, to: column)
        }
    }

    private static func append<T: BitwiseCopyable>(_ value: T?, to column: ColumnVector) -> Bool {
        guard let value else { return false }
        column.append(value)
        return true
    }

    /// A number as text formats have it; false if it doesn't fit.
    static func append<T: FixedWidthInteger & BitwiseCopyable>(
        number: String, as type: T.Type, to column: ColumnVector
    ) -> Bool {
        append(T(number), to: column)
    }

    private static func appendBool(_ field: Span<UInt8>, to column: ColumnVector) -> Bool {
        if let number = integer(field, as: UInt64.self) {
            column.append(UInt8(number == 0 ? 0 : 1))
            return true
        }
        let isTrue = field.equals("true")
        guard isTrue || field.equals("false") else { return false }
        column.append(UInt8(isTrue ? 1 : 0))
        return true
    }

    // MARK: Numbers

    private static func integer<T: FixedWidthInteger>(_ field: Span<UInt8>, as type: T.Type) -> T? {
        var place = 0
        let isNegative = field.count > 0 && field[0] == UInt8(ascii: "-")
        if isNegative { place = 1 }
        guard place < field.count else { return nil }
        var value: T = 0
        while place < field.count {
            let digit = field[place] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            let (product, isLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, isLarger) =
                isNegative
                ? product.subtractingReportingOverflow(T(digit))
                : product.addingReportingOverflow(T(digit))
            if isLarge || isLarger { return nil }
            value = sum
            place += 1
        }
        return value
    }

    /// The text of a floating-point number, for the library to convert.
    private static func floating(_ field: Span<UInt8>) -> String? {
        let maxBytes = 400
        guard field.count > 0, field.count <= maxBytes else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(field.count)
        for index in field.indices {
            switch field[index] {
            case 0x30...0x39, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"),
                UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "i"), UInt8(ascii: "n"),
                UInt8(ascii: "f"), UInt8(ascii: "a"):
                bytes.append(field[index])
            default: return nil
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// 10³⁵: infinity; one more is no number.
    private static let infinity: Int128 = (0..<35).reduce(1) { product, _ in product * 10 }

    private static func decimal(_ field: Span<UInt8>, _ precision: Int, _ scale: Int) -> Int128? {
        var place = 0
        let isNegative = field.count > 0 && field[0] == UInt8(ascii: "-")
        if isNegative { place = 1 }
        let rest = field.extracting(place..<field.count)
        if rest.equals("inf") { return isNegative ? -infinity : infinity }
        if rest.equals("nan") { return infinity + 1 }
        var value: Int128 = 0
        var digits = 0
        // Digits behind the point; nil before it.
        var fraction: Int?
        for index in rest.indices {
            let byte = rest[index]
            if byte == UInt8(ascii: "."), fraction == nil {
                fraction = 0
                continue
            }
            let digit = byte &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            digits += 1
            if let behind = fraction {
                if behind == scale {
                    if digit != 0 { return nil }
                    continue
                }
                fraction = behind + 1
            }
            value = value * 10 + Int128(digit)
            if value >= infinity { return nil }
        }
        guard digits > 0 else { return nil }
        for _ in (fraction ?? 0)..<scale {
            value *= 10
            if value >= infinity { return nil }
        }
        var limit: Int128 = 1
        for _ in 0..<precision { limit *= 10 }
        guard value < limit else { return nil }
        return isNegative ? -value : value
    }

    // MARK: Uuid

    /// The 16 bytes in the order of the text, as a number in memory's order.
    private static func uuid(_ field: Span<UInt8>) -> UInt128? {
        let quote = UInt8(ascii: "\"")
        if field.count == 38, field[0] == quote, field[37] == quote {
            return uuid(field.extracting(1..<37))
        }
        guard field.count == 36 else { return nil }
        var value: UInt128 = 0
        for index in field.indices {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard field[index] == UInt8(ascii: "-") else { return nil }
            } else {
                guard let digit = hexDigit(field[index]) else { return nil }
                value = value << 4 | UInt128(digit)
            }
        }
        return value.bigEndian
    }

    /// The same of the number that YDB stores, whose first three groups lie the other way round.
    static func uuid(stored: UInt128) -> UInt128 {
        var value: UInt128 = 0
        for byte in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] {
            value = value << 8 | stored >> UInt128(8 * byte) & 0xFF
        }
        return value.bigEndian
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    // MARK: Text and bytes

    private func appendPlain(_ field: Span<UInt8>, to column: ColumnVector) -> Bool {
        guard field.count > 0 else { return false }
        if field[0] == UInt8(ascii: "\"") { return appendQuoted(field, isText: true, to: column) }
        scratch.removeAll()
        for index in field.indices { scratch.append(byte: field[index]) }
        return appendScratch(isText: true, to: column)
    }

    private func appendQuoted(_ field: Span<UInt8>, isText: Bool, to column: ColumnVector) -> Bool {
        scratch.removeAll()
        return Self.decode(field, into: scratch) && appendScratch(isText: isText, to: column)
    }

    private func appendScratch(isText: Bool, to column: ColumnVector) -> Bool {
        if isText, scratch.text(0..<scratch.count) == nil { return false }
        guard column.byteCount + scratch.count < ColumnVector.maxBytes - 8 else { return false }
        scratch.withBytes { column.append(bytes: $0) }
        return true
    }

    /// Decodes what stands between quotes; false if there are none.
    static func decode(_ field: Span<UInt8>, into bytes: ByteBuffer) -> Bool {
        let quote = UInt8(ascii: "\"")
        guard field.count >= 2, field[0] == quote, field[field.count - 1] == quote else {
            return false
        }
        bytes.reserve(field.count)
        var place = 1
        let end = field.count - 1
        while place < end {
            let byte = field[place]
            if byte == UInt8(ascii: "+") {
                bytes.append(byte: 0x20)
            } else if byte == UInt8(ascii: "%"), place + 2 < end,
                let high = hexDigit(field[place + 1]), let low = hexDigit(field[place + 2])
            {
                bytes.append(byte: high << 4 | low)
                place += 2
            } else if byte == quote {
                return false
            } else {
                bytes.append(byte: byte)
            }
            place += 1
        }
        return true
    }
}

/// A time in ISO 8601, UTC: `2019-03-11T16:30:44.314382Z`, or the beginning of that.
struct DumpTime {
    /// Days since 1970.
    let day: Int64
    let microsecondOfDay: Int64

    init?(_ text: Span<UInt8>) {
        var place = 0
        let (dash, colon) = (UInt8(ascii: "-"), UInt8(ascii: ":"))
        guard let year = text.digits(4, &place), text.pass(dash, &place),
            let month = text.digits(2, &place), text.pass(dash, &place),
            let date = text.digits(2, &place), (1...12).contains(month),
            date >= 1, date <= Self.daysInMonth(month, of: year)
        else { return nil }
        day = Self.days(year, month, date)
        var time: Int64 = 0
        if text.pass(UInt8(ascii: "T"), &place) || text.pass(0x20, &place) {
            guard let hour = text.digits(2, &place), hour < 24, text.pass(colon, &place),
                let minute = text.digits(2, &place), minute < 60
            else { return nil }
            time = hour * 3600 + minute * 60
            if text.pass(colon, &place) {
                guard let second = text.digits(2, &place), second < 60 else { return nil }
                time += second
            }
            time *= 1_000_000
            if text.pass(UInt8(ascii: "."), &place) {
                guard let fraction = Self.fraction(text, &place) else { return nil }
                time += fraction
            }
        }
        _ = text.pass(UInt8(ascii: "Z"), &place)
        guard place == text.count else { return nil }
        microsecondOfDay = time
    }

    /// Microseconds; nil if there are none, or if they aren't whole.
    private static func fraction(_ text: Span<UInt8>, _ place: inout Int) -> Int64? {
        guard place < text.count else { return nil }
        var unit: Int64 = 100_000
        var value: Int64 = 0
        while let digit = text.digits(1, &place) {
            guard unit > 0 || digit == 0 else { return nil }
            value += digit * unit
            unit /= 10
        }
        return value
    }

    private static func daysInMonth(_ month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    /// Days from 1970-01-01 to a date of the years 0 to 9999: those of the years that begin in March
    /// since the year −400, so that leap days come last.
    static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let years = (month <= 2 ? year - 1 : year) + 400
        let daysOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return years * 365 + years / 4 - years / 100 + years / 400 + daysOfYear - 865_565
    }
}

extension Span<UInt8> {
    /// Whether it is just this text.
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        for index in indices where self[index] != text.utf8Start[index] { return false }
        return true
    }

    /// So many decimal digits at `place`, which goes behind them; nil if they aren't there.
    fileprivate func digits(_ number: Int, _ place: inout Int) -> Int64? {
        guard count - place >= number else { return nil }
        var value: Int64 = 0
        for index in place..<place + number {
            let digit = self[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        place += number
        return value
    }

    /// Goes behind a byte if it stands at `place`.
    fileprivate func pass(_ byte: UInt8, _ place: inout Int) -> Bool {
        guard place < count, self[place] == byte else { return false }
        place += 1
        return true
    }
}
