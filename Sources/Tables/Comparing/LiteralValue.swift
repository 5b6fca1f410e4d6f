import Bytes

/// The value that a literal stands for, in a column that holds literals (`Column.isLiteral`).
///
/// One odd value makes a column one of literals. To who looks for a row, or compares two, all others
/// are what they were: so a literal's value looks like one of a plain column, and equals it.
enum LiteralValue {
    case integer(Int64)
    case real(Double)
    case text([UInt8])
    case blob([UInt8])
    /// Nothing that a plain column could hold, such as text that is not well-formed: the literal itself.
    case other([UInt8])

    init(_ literal: [UInt8]) {
        let (cast, end) = (Array("CAST(".utf8), Array(" AS TEXT)".utf8))
        if literal.first == UInt8(ascii: "'"), literal.count > 1 {
            self = .text(Self.unquoted(literal.dropFirst().dropLast()))
        } else if let bytes = Self.hexadecimal(literal[...]) {
            self = .blob(bytes)
        } else if literal.starts(with: cast), literal.suffix(end.count).elementsEqual(end),
            let bytes = Self.hexadecimal(literal.dropFirst(cast.count).dropLast(end.count))
        {
            self = .text(bytes)
        } else {
            let word = String(decoding: literal, as: UTF8.self)
            if let integer = Int64(word) {
                self = .integer(integer)
            } else if let real = Double(word) {
                self = .real(real)
            } else {
                self = .other(literal)
            }
        }
    }

    /// A plain column's value; nil if no literal stands for values of its type. The value isn't NULL.
    init?(_ values: ColumnVector, _ row: Int, _ type: ColumnType) {
        switch type {
        case .int64: self = .integer(values.value(row, as: Int64.self))
        case .double: self = .real(values.value(row, as: Double.self))
        case .utf8: self = .text(values.bytes(row))
        case .string: self = .blob(values.bytes(row))
        default: return nil
        }
    }

    /// Whether literals stand for values of a type.
    static func has(_ type: ColumnType) -> Bool {
        switch type {
        case .int64, .double, .utf8, .string: true
        default: false
        }
    }

    private static func unquoted(_ inner: ArraySlice<UInt8>) -> [UInt8] {
        let quote = UInt8(ascii: "'")
        var result: [UInt8] = []
        result.reserveCapacity(inner.count)
        var isSecond = false
        for byte in inner {
            isSecond = byte == quote && !isSecond
            if !isSecond { result.append(byte) }
        }
        return result
    }

    /// The bytes of `X'00FF'`.
    private static func hexadecimal(_ literal: ArraySlice<UInt8>) -> [UInt8]? {
        guard literal.starts(with: "X'".utf8), literal.last == UInt8(ascii: "'"),
            literal.count > 2
        else { return nil }
        let digits = String(decoding: literal.dropFirst(2).dropLast(), as: UTF8.self)
        return [UInt8](hex: digits.utf8)
    }

    /// Of a plain column that could hold it.
    var type: ColumnType {
        switch self {
        case .integer: .int64
        case .real: .double
        case .text, .other: .utf8
        case .blob: .string
        }
    }

    // MARK: Looks

    /// What it looks like in a plain column, as CSV without quotes.
    var shown: [UInt8] {
        switch self {
        case .integer(let value): return Array("\(value)".utf8)
        case .real(let value):
            let column = ColumnVector(.fixed(8))
            column.append(value)
            return Self.shown(column, .double)
        case .text(let bytes), .other(let bytes): return bytes
        case .blob(let bytes):
            let column = ColumnVector(.variable)
            column.append(bytes: bytes)
            return Self.shown(column, .string)
        }
    }

    private static func shown(_ column: ColumnVector, _ type: ColumnType) -> [UInt8] {
        let field = ValueText.field(of: column, 0, type)
        return Array((ValueText.content(ofField: field) ?? "").utf8)
    }

    /// For comparing with values of a plain column: what is equal is the same, and nothing else.
    func identity(beside plain: ColumnType) -> [UInt8] {
        switch self {
        case .integer(let value):
            // Integers among other numbers are stored as such.
            if plain == .double, let real = Double(exactly: value) {
                return LiteralValue.real(real).identity(beside: plain)
            }
            return [0] + shown
        case .real: return [1] + shown
        case .text: return [2] + shown
        case .blob(let bytes): return [3] + bytes
        case .other: return [4] + shown
        }
    }

    // MARK: Looking for one

    /// Whether who looks for a text means this: it looks so, or is that number, or these bytes.
    func isMeant(by text: [UInt8]) -> Bool {
        if shown == text { return true }
        switch self {
        case .integer, .real: return Self.group(shown) == Self.group(text)
        case .blob(let bytes): return Self.bytes(text) == bytes
        case .text, .other: return false
        }
    }

    /// What `\x` and hexadecimal digits stand for.
    private static func bytes(_ text: [UInt8]) -> [UInt8]? {
        guard text.starts(with: "\\x".utf8) else { return nil }
        let digits = String(decoding: text.dropFirst(2), as: UTF8.self)
        return [UInt8](hex: digits.utf8)
    }

    /// The same for all texts that may mean one value: what looks like a number by that number, bytes by
    /// themselves.
    static func group(_ text: [UInt8]) -> [UInt8] {
        let text = bytes(text) ?? text
        let marks = Array("+-.eE".utf8)
        guard let first = text.first, (48...57).contains(first) || marks.contains(first),
            text.count < 64, text.allSatisfy({ (48...57).contains($0) || marks.contains($0) })
        else { return text }
        let word = String(decoding: text, as: UTF8.self)
        if let integer = Int64(word) { return Array("\(integer)".utf8) }
        guard let real = Double(word) else { return text }
        return Array((Int64(exactly: real).map { "\($0)" } ?? "\(real)").utf8)
    }
}

extension LiteralValue {
    /// What there is of values that may be meant by one text.
    enum Kind { case null, number, text, blob, other }

    private var kind: Kind {
        switch self {
        case .integer, .real: .number
        case .text: .text
        case .blob: .blob
        case .other: .other
        }
    }

    /// Of what kind the values of a row's key are.
    static func kinds(ofKey rows: RowBatch, _ row: Int, _ schema: TableSchema) -> [Kind] {
        schema.lookupKey.map { index in
            let (values, column) = (rows.columns[index], schema.columns[index])
            if values.isNull(row) { return .null }
            if column.isLiteral { return LiteralValue(values.bytes(row)).kind }
            return LiteralValue(values, row, column.type)?.kind ?? .other
        }
    }
}

extension TableSchema {
    /// Values of `ofLookupKey`, whose columns are given, as they are looked for: literals by what may
    /// mean them.
    func groups(_ columns: [ColumnVector]) -> RowBatch {
        RowBatch(
            columns: zip(self.columns, columns).map { column, values in
                guard column.isLiteral else { return values }
                let groups = ColumnVector(.variable)
                for row in 0..<values.count {
                    if values.isNull(row) {
                        groups.appendNull()
                    } else {
                        groups.append(
                            bytes: LiteralValue.group(LiteralValue(values.bytes(row)).shown))
                    }
                }
                return groups
            })
    }
}
