import Bytes

/// Values read back from what they look like as CSV.
package enum ValueText {
    /// A value as a field of CSV.
    package static func field(of values: ColumnVector, _ row: Int, _ type: ColumnType) -> String {
        let line = ByteBuffer(capacity: 64)
        CSVRenderer(TableSchema(column: Column(id: 1, name: "", type: type))).render(
            RowBatch(columns: [values]), row..<row + 1, into: line)
        return String(decoding: line.array.dropLast(), as: UTF8.self)
    }

    /// The same of a column that may hold literals: what their values look like in a plain one.
    static func field(of values: ColumnVector, _ row: Int, in column: Column) -> String {
        guard column.isLiteral, !values.isNull(row) else {
            return field(of: values, row, column.type)
        }
        let shown = ColumnVector(.variable)
        shown.append(bytes: LiteralValue(values.bytes(row)).shown)
        return field(of: shown, 0, .utf8)
    }

    /// A field of CSV without its quotes; nil for NULL, which is nothing.
    static func content(ofField field: String) -> String? {
        if field.isEmpty { return nil }
        guard field.utf8.first == UInt8(ascii: "\""), field.utf8.last == UInt8(ascii: "\""),
            field.utf8.count > 1
        else { return field }
        return String(Substring(field.utf8.dropFirst().dropLast()))
            .replacingBytes("\"\"", with: "\"")
    }

    /// Appends the value that a text stands for; false, and nothing is appended, if no value of the
    /// type looks like that.
    static func append(_ text: String, _ type: ColumnType, to column: ColumnVector) -> Bool {
        func append<T: BitwiseCopyable>(_ value: T?) -> Bool {
            guard let value else { return false }
            column.append(value)
            return true
        }
        switch type {
        case .bool: return append(text == "true" ? UInt8(1) : text == "false" ? 0 : nil)
        case .int8: return append(Int8(text).map(Int32.init))
        case .int16: return append(Int16(text).map(Int32.init))
        case .int32: return append(Int32(text))
        case .uint8: return append(UInt8(text).map(UInt32.init))
        case .uint16: return append(UInt16(text).map(UInt32.init))
        case .uint32: return append(UInt32(text))
        case .int64, .interval, .interval64: return append(Int64(text))
        case .uint64: return append(UInt64(text))
        case .float: return append(Float(text))
        case .double: return append(Double(text))
        case .decimal(_, let scale): return append(decimal(text, scale: scale)?.bigEndian)
        case .date: return append(date(text).flatMap { UInt32(exactly: $0) })
        case .date32: return append(date(text).flatMap { Int32(exactly: $0) })
        case .datetime:
            return append(time(text, digits: 0).flatMap { UInt32(exactly: $0) })
        case .datetime64: return append(time(text, digits: 0))
        case .timestamp, .timestamp64: return append(time(text, digits: 6))
        case .uuid:
            guard let bytes = uuid(text) else { return false }
            column.append(bytes: bytes)
            return true
        case .string, .yson:
            guard let bytes = bytes(text) else { return false }
            column.append(bytes: bytes)
            return true
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg:
            column.append(text: text)
            return true
        }
    }

    /// What `\x` and hexadecimal digits stand for, else the text's own bytes.
    private static func bytes(_ text: String) -> [UInt8]? {
        text.hasPrefix("\\x") ? [UInt8](hex: text.utf8.dropFirst(2)) : [UInt8](text.utf8)
    }

    private static func uuid(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [8, 4, 4, 4, 12] else { return nil }
        return [UInt8](hex: parts.joined().utf8)
    }

    private static func decimal(_ text: String, scale: Int) -> Int128? {
        let infinite: Int128 = 100_000_000_000_000_000 * 1_000_000_000_000_000_000
        switch text {
        case "inf": return infinite
        case "-inf": return -infinite
        case "nan": return infinite + 1
        default: break
        }
        let isNegative = text.hasPrefix("-")
        let parts = text.dropFirst(isNegative ? 1 : 0).split(
            separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? parts[1] : ""
        guard let whole = parts.first, !whole.isEmpty, whole.utf8.count <= 36,
            fraction.utf8.count <= scale, isDigits(whole), isDigits(fraction),
            let value = Int128(
                whole + fraction + String(repeating: "0", count: scale - fraction.utf8.count)),
            value < infinite
        else { return nil }
        return isNegative ? -value : value
    }

    private static func isDigits(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { (48...57).contains($0) }
    }

    /// Days since 1970.
    private static func date(_ text: String) -> Int64? {
        let isNegative = text.hasPrefix("-")
        let parts = text.dropFirst(isNegative ? 1 : 0).split(
            separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty && isDigits($0) }),
            parts[0].utf8.count <= 7, let size = Int64(parts[0]), let month = Int64(parts[1]),
            let day = Int64(parts[2]), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        // Howard Hinnant's days_from_civil, in eras of 400 years that begin in March.
        let year = (isNegative ? -size : size) - (month <= 2 ? 1 : 0)
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Since 1970, in units of which 10 to the power of `digits` make a second.
    private static func time(_ text: String, digits: Int) -> Int64? {
        guard text.hasSuffix("Z"), let mark = text.firstIndex(of: "T"),
            let days = date(String(text[..<mark]))
        else { return nil }
        let clock = text[text.index(after: mark)...].dropLast()
        let parts = clock.split(separator: ".", omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? parts[1] : ""
        let fields = (parts.first ?? "").split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, fraction.utf8.count == digits, isDigits(fraction),
            fields.count == 3, fields.allSatisfy({ $0.utf8.count == 2 && isDigits($0) }),
            let hour = Int64(fields[0]), let minute = Int64(fields[1]),
            let second = Int64(fields[2]), hour < 24, minute < 60, second < 60
        else { return nil }
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second
        let (scaled, overflow) = seconds.multipliedReportingOverflow(
            by: digits == 6 ? 1_000_000 : 1)
        let (time, carried) = scaled.addingReportingOverflow(Int64(fraction) ?? 0)
        return overflow || carried ? nil : time
    }
}
