/// How the values of a column look as CSV.
package enum CSVForm: Sendable, Hashable {
    case bool
    case int32, uint32, int64, uint64
    case float, double
    /// 16 bytes, big-endian, scaled.
    case decimal(scale: Int)
    /// Days, seconds and microseconds since 1970.
    case date, unsignedDate, seconds, unsignedSeconds, microseconds
    case uuid
    /// As it is.
    case text
    /// As it is if it is UTF-8 and doesn't begin with `\x`, else `\x` and hexadecimal digits.
    case bytes

    // What YDB's dumps have instead.

    /// `1` and `0`.
    case bit
    /// Days and seconds since 1970 as times with microseconds.
    case dateTime, secondsTime
    /// In quotes, with `%` and two digits for all but a few bytes.
    case escaped
    /// The same, and without quotes if it is a plain number.
    case escapedNumber
}

/// How NULL looks as CSV.
package enum CSVNull: Sendable {
    case nothing
    /// `null`, as in YDB's dumps.
    case word

    package var bytes: Int { self == .word ? 4 : 0 }

    /// The word's bytes, the first one lowest.
    fileprivate var text: UInt64 { 0x6C6C_756E }
}

/// Columns to be written as CSV, looked at once: where their values lie.
package final class CSVRows {
    struct Cell {
        let form: CSVForm
        let values: UnsafeRawPointer
        let marks: UnsafeRawPointer
        let hasNulls: Bool
        let separator: UInt8
        let null: CSVNull
    }

    private let columns: [ColumnVector]
    private let count: Int
    let cells: UnsafeMutableBufferPointer<Cell>

    package init(_ columns: [ColumnVector], forms: [CSVForm], null: CSVNull = .nothing) {
        precondition(columns.count == forms.count && !columns.isEmpty)
        self.columns = columns
        count = columns[0].count
        cells = .allocate(capacity: columns.count)
        for index in columns.indices {
            let column = columns[index]
            precondition(column.count == count)
            cells.initializeElement(
                at: index,
                to: Cell(
                    column, forms[index],
                    separator: UInt8(ascii: index + 1 == columns.count ? "\n" : ","), null))
        }
    }

    deinit { cells.deallocate() }

    func check(_ rows: Range<Int>) {
        precondition(rows.lowerBound >= 0 && rows.upperBound <= count)
    }
}

extension CSVRows.Cell {
    init(_ column: ColumnVector, _ form: CSVForm, separator: UInt8, _ null: CSVNull) {
        self.form = form
        values = column.address
        marks = UnsafeRawPointer(column.marks.base)
        hasNulls = column.layout == .variable || column.nullCount > 0
        self.separator = separator
        self.null = null
    }

    /// A value of variable length; nil if it is NULL.
    @inline(__always)
    func bytes(_ row: Int) -> UnsafeRawBufferPointer? {
        let start = marks.load(fromByteOffset: row * 4, as: UInt32.self)
        if start == ColumnVector.null { return nil }
        let address = values + Int(start)
        return UnsafeRawBufferPointer(
            start: address, count: Int((address - 4).loadUnaligned(as: UInt32.self)))
    }

    /// A value of a fixed size.
    @inline(__always)
    func value<T: BitwiseCopyable>(_ row: Int, as type: T.Type) -> T {
        values.loadUnaligned(fromByteOffset: row * MemoryLayout<T>.size, as: type)
    }

    /// Writes a value of a fixed size.
    @inline(__always)
    func write(_ row: Int, to writer: inout TextWriter) {
        @inline(__always)
        func value<T: BitwiseCopyable>(_ type: T.Type) -> T { self.value(row, as: type) }
        switch form {
        case .int64: writer.decimal(value(Int64.self))
        case .double: writer.python(value(Double.self))
        case .uint64: writer.decimal(value(UInt64.self))
        case .int32: writer.decimal(Int64(value(Int32.self)))
        case .uint32: writer.decimal(UInt64(value(UInt32.self)))
        case .float: writer.python(value(Float.self))
        case .bool: writer.text(value(UInt8.self) != 0 ? "true" : "false")
        case .bit: writer.byte(UInt8(ascii: value(UInt8.self) != 0 ? "1" : "0"))
        case .dateTime:
            writer.days(Int64(value(UInt32.self)))
            writer.text("T00:00:00.000000Z")
        case .secondsTime:
            writer.seconds(Int64(value(UInt32.self)))
            writer.text(".000000Z")
        case .date: writer.days(Int64(value(Int32.self)))
        case .unsignedDate: writer.days(Int64(value(UInt32.self)))
        case .seconds:
            writer.seconds(value(Int64.self))
            writer.byte(UInt8(ascii: "Z"))
        case .unsignedSeconds:
            writer.seconds(Int64(value(UInt32.self)))
            writer.byte(UInt8(ascii: "Z"))
        case .microseconds:
            writer.microseconds(value(Int64.self))
            writer.byte(UInt8(ascii: "Z"))
        case .decimal(let scale):
            writer.decimal(Int128(bigEndian: value(Int128.self)), scale: scale)
        case .uuid:
            writer.uuid(UnsafeRawBufferPointer(start: values + row * 16, count: 16))
        case .text, .bytes, .escaped, .escapedNumber: preconditionFailure("written above")
        }
    }
}

extension ByteBuffer {
    private typealias Cell = CSVRows.Cell

    /// Appends rows as CSV lines: `,` between fields and LF behind.
    ///
    /// Lines are written row by row from cursors on the stack; memory is checked once a field. The
    /// columns mustn't have grown since `source` was made.
    package func append(csv source: CSVRows, _ rows: Range<Int>) {
        source.check(rows)
        withExtendedLifetime(source) { append(csvRows: rows, UnsafeBufferPointer(source.cells)) }
    }

    /// As above, rows that lie piece by piece in several sources.
    package func append(csv sources: [CSVRows], _ pieces: [RowPiece]) {
        for piece in pieces { sources[piece.source].check(piece.rows) }
        withExtendedLifetime(sources) {
            let cells = sources.map { UnsafeBufferPointer($0.cells) }
            for piece in pieces { append(csvRows: piece.rows, cells[piece.source]) }
        }
    }

    private func append(csvRows rows: Range<Int>, _ cells: UnsafeBufferPointer<Cell>) {
        var writer = TextWriter(base + count)
        var limit = base + capacity
        for row in rows {
            for cell in cells {
                if limit - writer.next < TextWriter.room {
                    makeRoom(TextWriter.room, &writer, &limit)
                }
                switch cell.form {
                case .escaped, .escapedNumber:
                    guard let bytes = cell.bytes(row) else {
                        writer.null(cell.null)
                        break
                    }
                    let room = TextWriter.escapedRoom(bytes.count) + 1
                    if limit - writer.next < room { makeRoom(room, &writer, &limit) }
                    writer.escaped(bytes, isNumber: cell.form == .escapedNumber)
                case .text, .bytes:
                    guard let bytes = cell.bytes(row) else {
                        writer.null(cell.null)
                        break
                    }
                    let room = TextWriter.fieldRoom(bytes.count) + 1
                    if limit - writer.next < room { makeRoom(room, &writer, &limit) }
                    if cell.form == .text { writer.field(bytes) } else { writer.binary(bytes) }
                default:
                    if !cell.hasNulls || cell.marks.load(fromByteOffset: row, as: UInt8.self) != 0 {
                        cell.write(row, to: &writer)
                    } else {
                        writer.null(cell.null)
                    }
                }
                writer.byte(cell.separator)
            }
        }
        count = writer.next - base
    }

    @inline(never)
    private func makeRoom(
        _ room: Int, _ writer: inout TextWriter, _ limit: inout UnsafeMutableRawPointer
    ) {
        count = writer.next - base
        reserve(room)
        writer = TextWriter(base + count)
        limit = base + capacity
    }
}

extension TextWriter {
    @inline(__always)
    mutating func null(_ null: CSVNull) { word(null.text, count: null.bytes) }

    /// What `field` and `binary` need for so many bytes.
    @inline(__always)
    static func fieldRoom(_ count: Int) -> Int { 2 * count + 16 }

    /// A CSV field, quoted if it is empty, holds a comma, a quote, CR or LF, begins or ends with a
    /// space, or is what `isEndMark` means. Copies while it looks, eight bytes at a time, and begins
    /// again if it must quote.
    @inline(__always)
    mutating func field(_ bytes: UnsafeRawBufferPointer) {
        let count = bytes.count
        guard let source = bytes.baseAddress, count > 0 else {
            text("\"\"")
            return
        }
        var special: UInt64 = 0
        if count >= 8 {
            var index = 0
            while index + 8 <= count {
                special |= copyWord(source, index)
                index += 8
            }
            if index < count { special |= copyWord(source, count - 8) }
        } else if count >= 4 {
            let first = source.loadUnaligned(as: UInt32.self)
            let last = source.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)
            special = Self.specials(UInt64(first) | UInt64(last) << 32)
            next.storeBytes(of: first, as: UInt32.self)
            next.storeBytes(of: last, toByteOffset: count - 4, as: UInt32.self)
        } else {
            for index in 0..<count {
                let byte = source.load(fromByteOffset: index, as: UInt8.self)
                special |= Self.specials(UInt64(byte))
                next.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
            }
            if Self.isEndMark(bytes) { special = .max }
        }
        let space = UInt8(ascii: " ")
        if special & 0x8080_8080_8080_8080 != 0 || source.load(as: UInt8.self) == space
            || source.load(fromByteOffset: count - 1, as: UInt8.self) == space
        {
            quoted(bytes)
        } else {
            next += count
        }
    }

    /// Whether a field is `\.`: alone on a line it would end PostgreSQL's COPY, unless it is quoted.
    @inline(__always)
    static func isEndMark(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == 2 && bytes[0] == 0x5C && bytes[1] == 0x2E
    }

    @inline(__always)
    private func copyWord(_ source: UnsafeRawPointer, _ index: Int) -> UInt64 {
        let word = source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        next.storeBytes(of: word, toByteOffset: index, as: UInt64.self)
        return Self.specials(word)
    }

    /// Has the top bit of some byte set iff a byte is a comma, a quote, CR or LF.
    @inline(__always)
    static func specials(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ 0x2222_2222_2222_2222
        let comma = word ^ 0x2C2C_2C2C_2C2C_2C2C
        let lineFeed = word ^ 0x0A0A_0A0A_0A0A_0A0A
        let carriageReturn = word ^ 0x0D0D_0D0D_0D0D_0D0D
        return ((quote &- ones) & ~quote) | ((comma &- ones) & ~comma)
            | ((lineFeed &- ones) & ~lineFeed) | ((carriageReturn &- ones) & ~carriageReturn)
    }

    @inline(never)
    private mutating func quoted(_ bytes: UnsafeRawBufferPointer) {
        let quote = UInt8(ascii: "\"")
        byte(quote)
        for byte in bytes {
            if byte == quote { self.byte(quote) }
            self.byte(byte)
        }
        byte(quote)
    }

    /// Bytes as a CSV field: as they are if they are UTF-8 and don't begin with `\x`, else `\x` and
    /// hexadecimal digits.
    mutating func binary(_ bytes: UnsafeRawBufferPointer) {
        if Self.isPlain(bytes) {
            field(bytes)
        } else {
            byte(0x5C)
            byte(0x78)
            hex(bytes)
        }
    }

    /// Whether bytes stand in a CSV field as they are.
    static func isPlain(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let looksEscaped = bytes.count >= 2 && bytes[0] == 0x5C && bytes[1] == 0x78
        return !looksEscaped && UTF8Check.isValid(bytes)
    }
}

/// Whether bytes are text.
enum UTF8Check {
    /// True if the bytes are well-formed UTF-8. ASCII passes eight bytes at a time.
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            if index + 8 <= bytes.count {
                let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                if word & 0x8080_8080_8080_8080 == 0 {
                    index += 8
                    continue
                }
            }
            guard let length = characterLength(bytes, index) else { return false }
            index += length
        }
        return true
    }

    /// Bytes of the character at `index`; nil if it isn't one. Source: the Unicode Standard, table
    /// 3-7, "Well-Formed UTF-8 Byte Sequences".
    private static func characterLength(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> Int? {
        let (length, second): (Int, ClosedRange<UInt8>)
        switch bytes[index] {
        case 0x00...0x7F: return 1
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: return nil
        }
        guard index + length <= bytes.count, second.contains(bytes[index + 1]) else { return nil }
        for next in index + 2..<max(index + length, index + 2) where bytes[next] & 0xC0 != 0x80 {
            return nil
        }
        return length
    }
}
