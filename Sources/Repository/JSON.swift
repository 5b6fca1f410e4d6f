import Bytes
import Glibc

/// A value with a JSON form.
///
/// Our own reader and writer instead of Foundation's: a mount reads the whole log, and this is some
/// twenty times as fast, shares repeated values, and writes members in the order of the code.
/// Unknown members are skipped; a missing or malformed one throws.
protocol JSONValue {
    init(json: inout JSONReader) throws
    func write(json: inout JSONWriter)
}

struct JSONReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    /// Values that occur again and again, by their bytes.
    let shared: SharedValues

    init(_ bytes: ArraySlice<UInt8>, shared: SharedValues = SharedValues()) {
        self.bytes = bytes
        self.shared = shared
        position = bytes.startIndex
    }

    func broken(_ what: String) -> Failure {
        Failure(.corrupt, "byte \(position - bytes.startIndex): \(what)")
    }

    // MARK: Structure

    private mutating func peek() throws -> UInt8 {
        while position < bytes.endIndex {
            let byte = bytes[position]
            guard byte == 32 || (9...13).contains(byte) else { return byte }
            position += 1
        }
        throw broken("the text ends too early")
    }

    private mutating func take(_ byte: UInt8) throws -> Bool {
        guard try peek() == byte else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ scalar: Unicode.Scalar) throws {
        guard try take(UInt8(ascii: scalar)) else { throw broken("expected \(scalar)") }
    }

    /// Calls `body` for each member, which reads or skips its value.
    mutating func object(_ body: (String, inout JSONReader) throws -> Void) throws {
        try expect("{")
        if try take(UInt8(ascii: "}")) { return }
        repeat {
            let name = try string()
            try expect(":")
            try body(name, &self)
        } while try take(UInt8(ascii: ","))
        try expect("}")
    }

    /// The members of an object, to be read by name. The reader goes on behind it.
    mutating func members() throws -> JSONMembers {
        var found: [(name: Range<Int>, value: Int)] = []
        try expect("{")
        if try !take(UInt8(ascii: "}")) {
            repeat {
                let name = try stringRange().range
                try expect(":")
                _ = try peek()
                found.append((name, position))
                try skip()
            } while try take(UInt8(ascii: ","))
            try expect("}")
        }
        return JSONMembers(reader: self, found: found)
    }

    fileprivate func has(_ name: String, at range: Range<Int>) -> Bool {
        bytes[range].elementsEqual(name.utf8)
    }

    fileprivate func at(_ position: Int) -> JSONReader {
        var reader = self
        reader.position = position
        return reader
    }

    mutating func array<T: JSONValue>(of type: T.Type) throws -> [T] {
        var elements: [T] = []
        try expect("[")
        if try take(UInt8(ascii: "]")) { return [] }
        repeat { elements.append(try T(json: &self)) } while try take(UInt8(ascii: ","))
        try expect("]")
        return elements
    }

    /// Nested deeper than anything of ours is, or will be.
    private static let maxDepth = 64

    mutating func skip() throws {
        var depth = 0
        repeat {
            if depth > Self.maxDepth { throw broken("it is nested too deeply") }
            switch try peek() {
            case UInt8(ascii: "\""): _ = try stringRange()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                position += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                position += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { throw broken("expected a value") }
                position += 1
            default: _ = try word()
            }
        } while depth > 0
        if depth < 0 { throw broken("expected a value") }
    }

    /// The end of the text, with nothing behind.
    func expectEnd() throws {
        if position != bytes.endIndex { throw broken("something follows the end") }
    }

    /// A value that `make` reads, or the one read from the same bytes before.
    mutating func sharing<T>(
        _ pool: SharedPool<T>, _ make: (inout JSONReader) throws -> T
    ) throws -> T {
        _ = try peek()
        let start = position
        try skip()
        let text = JSONText(bytes: bytes[start..<position])
        if let known = pool.values[text] { return known }
        position = start
        let value = try make(&self)
        // A copy, or the whole entry would be kept for it.
        pool.values[JSONText(bytes: ArraySlice(Array(text.bytes)))] = value
        return value
    }

    // MARK: Values

    private mutating func word() throws -> ArraySlice<UInt8> {
        _ = try peek()
        let start = position
        while position < bytes.endIndex {
            switch bytes[position] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "+"),
                UInt8(ascii: "."):
                position += 1
                continue
            default: break
            }
            break
        }
        if position == start { throw broken("expected a value") }
        return bytes[start..<position]
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        let word = try word()
        var digits = word
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        guard !digits.isEmpty else { throw broken("expected an integer") }
        var value: T = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else {
                throw broken("expected an integer")
            }
            let step = T(truncatingIfNeeded: digit - UInt8(ascii: "0"))
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, carry) =
                isNegative
                ? scaled.subtractingReportingOverflow(step)
                : scaled.addingReportingOverflow(step)
            if overflow || carry { throw broken("an integer out of range") }
            value = next
        }
        return value
    }

    mutating func boolean() throws -> Bool {
        let word = try word()
        if word.elementsEqual("true".utf8) { return true }
        if word.elementsEqual("false".utf8) { return false }
        throw broken("expected true or false")
    }

    /// The bytes between the quotes, and whether there are escapes among them.
    private mutating func stringRange() throws -> (range: Range<Int>, hasEscapes: Bool) {
        try expect("\"")
        let start = position
        var hasEscapes = false
        while position < bytes.endIndex {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return (start..<position - 1, hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                position += 2
            case 0..<0x20: throw broken("a control character in a string")
            default: position += 1
            }
        }
        position = bytes.endIndex
        throw broken("a string without end")
    }

    mutating func string() throws -> String {
        let (range, hasEscapes) = try stringRange()
        let text = hasEscapes ? try unescaped(bytes[range])[...] : bytes[range]
        // `decoding` repairs, but is many times as fast as `validating`.
        let string = text.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
        guard string.utf8.elementsEqual(text) else { throw broken("a string that is no UTF-8") }
        return string
    }

    private func unescaped(_ text: ArraySlice<UInt8>) throws -> [UInt8] {
        var result: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                result.append(byte)
                continue
            }
            switch rest.popFirst() {
            case UInt8(ascii: "n"): result.append(10)
            case UInt8(ascii: "t"): result.append(9)
            case UInt8(ascii: "r"): result.append(13)
            case UInt8(ascii: "b"): result.append(8)
            case UInt8(ascii: "f"): result.append(12)
            case UInt8(ascii: "u"):
                result.append(contentsOf: String(try escapedScalar(&rest)).utf8)
            case .some(let quoted) where [34, 47, 92].contains(quoted): result.append(quoted)
            default: throw broken("an unknown escape in a string")
            }
        }
        return result
    }

    /// What stands behind `\u`: four digits, or a pair of surrogates.
    private func escapedScalar(_ rest: inout ArraySlice<UInt8>) throws -> Unicode.Scalar {
        func unit() throws -> UInt32 {
            let digits = rest.prefix(4)
            rest = rest.dropFirst(4)
            guard digits.count == 4, let text = String(validating: digits, as: UTF8.self),
                !text.hasPrefix("+"), let value = UInt32(text, radix: 16)
            else { throw broken("expected four hexadecimal digits") }
            return value
        }
        var value = try unit()
        if (0xD800..<0xDC00).contains(value) {
            guard rest.starts(with: "\\u".utf8) else { throw broken("half a surrogate pair") }
            rest = rest.dropFirst(2)
            let low = try unit()
            guard (0xDC00..<0xE000).contains(low) else { throw broken("half a surrogate pair") }
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(value) else { throw broken("half a surrogate pair") }
        return scalar
    }

    /// A member that must be there.
    func required<T>(_ value: T?, key name: String) throws -> T {
        guard let value else { throw broken("\(name) is missing") }
        return value
    }
}

/// Where the members of an object are. Those that nobody asks for are ignored: a later version may
/// have written them.
struct JSONMembers {
    fileprivate let reader: JSONReader
    fileprivate let found: [(name: Range<Int>, value: Int)]

    /// A member that must be there.
    func callAsFunction<T: JSONValue>(_ name: String) throws -> T {
        try reader.required(optional(name), key: name)
    }

    func callAsFunction<T>(
        _ name: String, _ read: (inout JSONReader) throws -> T
    ) throws -> T {
        try reader.required(optional(name, read), key: name)
    }

    func optional<T: JSONValue>(_ name: String) throws -> T? {
        try optional(name) { try T(json: &$0) }
    }

    func optional<T>(_ name: String, _ read: (inout JSONReader) throws -> T) throws -> T? {
        guard let member = found.last(where: { reader.has(name, at: $0.name) }) else { return nil }
        var value = reader.at(member.value)
        return try read(&value)
    }
}

/// Values by the text that they were read from.
final class SharedPool<T> {
    fileprivate var values: [JSONText: T] = [:]
}

/// Bytes as a key, hashed and compared in one go instead of one by one.
private struct JSONText: Hashable {
    let bytes: ArraySlice<UInt8>

    func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    static func == (a: JSONText, b: JSONText) -> Bool {
        a.bytes.withUnsafeBytes { left in
            b.bytes.withUnsafeBytes { right in
                left.count == right.count
                    && (left.isEmpty
                        || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0)
            }
        }
    }
}

extension String: JSONValue {
    init(json: inout JSONReader) throws { self = try json.string() }
    func write(json: inout JSONWriter) { json.string(self) }
}

extension Bool: JSONValue {
    init(json: inout JSONReader) throws { self = try json.boolean() }
    func write(json: inout JSONWriter) { json.raw(self ? "true" : "false") }
}

extension JSONValue where Self: FixedWidthInteger {
    init(json: inout JSONReader) throws { self = try json.integer(Self.self) }
    func write(json: inout JSONWriter) { json.raw(String(self)) }
}

extension Int: JSONValue {}
extension Int64: JSONValue {}
extension UInt32: JSONValue {}
extension UInt64: JSONValue {}

extension JSONValue where Self: RawRepresentable, RawValue == String {
    init(json: inout JSONReader) throws {
        let text = try json.string()
        guard let value = Self(rawValue: text) else {
            throw json.broken("unknown word \(Bounds.quoted(text))")
        }
        self = value
    }

    func write(json: inout JSONWriter) { json.string(rawValue) }
}

extension Array: JSONValue where Element: JSONValue {
    init(json: inout JSONReader) throws { self = try json.array(of: Element.self) }
    func write(json: inout JSONWriter) { json.array(self) }
}

extension Dictionary: JSONValue where Key == String, Value: JSONValue {
    init(json: inout JSONReader) throws {
        self = [:]
        try json.object { name, json in self[name] = try Value(json: &json) }
    }

    /// By name, so that equal values have equal bytes.
    func write(json: inout JSONWriter) {
        json.object { json in
            for (name, value) in sorted(by: { $0.key < $1.key }) { json.member(name, value) }
        }
    }
}
