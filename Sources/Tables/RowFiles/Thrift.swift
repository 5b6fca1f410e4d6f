import Bytes

/// Writes Thrift's compact protocol, the part that Parquet's headers and footers need.
///
/// A field begins with `(id delta << 4) | type`; integers are zigzag varints; a struct ends with 0.
/// Source: parquet.thrift and Thrift's compact protocol description.
struct ThriftWriter {
    enum Kind: UInt8 {
        case yes = 1
        case no, byte, int16, int32, int64, double, binary, list, set, map, structure
    }

    let output: ByteBuffer
    private var lastFields: [Int16] = []
    private var lastField: Int16 = 0

    init(into output: ByteBuffer) { self.output = output }

    mutating func field(_ id: Int16, _ kind: Kind) {
        let delta = id - lastField
        precondition((1...15).contains(delta))
        output.append(byte: UInt8(delta) << 4 | kind.rawValue)
        lastField = id
    }

    mutating func int32(_ id: Int16, _ value: Int) {
        field(id, .int32)
        varint(value)
    }

    mutating func int64(_ id: Int16, _ value: Int) {
        field(id, .int64)
        varint(value)
    }

    /// A number that takes as many bytes whatever it is: 5, or 9 for up to 62 bits. Overlong varints
    /// are as good as short ones to every reader.
    mutating func padded32(_ id: Int16, _ value: Int) { padded(id, .int32, value, bytes: 5) }

    mutating func padded64(_ id: Int16, _ value: Int) { padded(id, .int64, value, bytes: 9) }

    private mutating func padded(_ id: Int16, _ kind: Kind, _ value: Int, bytes: Int) {
        precondition(value >= 0 && value < 1 << 62)
        field(id, kind)
        var rest = UInt64(value) << 1
        for _ in 1..<bytes {
            output.append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        precondition(rest < 0x80)
        output.append(byte: UInt8(rest))
    }

    mutating func bool(_ id: Int16, _ value: Bool) { field(id, value ? .yes : .no) }

    mutating func byte(_ id: Int16, _ value: UInt8) {
        field(id, .byte)
        output.append(byte: value)
    }

    mutating func text(_ id: Int16, _ value: String) {
        field(id, .binary)
        text(value)
    }

    mutating func binary(_ id: Int16, _ value: [UInt8]) {
        field(id, .binary)
        Varint.append(UInt64(value.count), to: output)
        output.append(value)
    }

    /// An element of a list.
    func text(_ value: String) {
        Varint.append(UInt64(value.utf8.count), to: output)
        output.append(value)
    }

    /// An element of a list.
    func varint(_ value: Int) {
        let value = Int64(value)
        Varint.append(UInt64(bitPattern: value << 1 ^ value >> 63), to: output)
    }

    mutating func list(_ id: Int16, of kind: Kind, count: Int) {
        field(id, .list)
        if count < 15 {
            output.append(byte: UInt8(count) << 4 | kind.rawValue)
        } else {
            output.append(byte: 0xF0 | kind.rawValue)
            Varint.append(UInt64(count), to: output)
        }
    }

    /// Bytes of a list's head behind its field's.
    static func listHeadBytes(_ count: Int) -> Int {
        count < 15 ? 1 : 1 + Int(Varint.length(UInt64(count)))
    }

    mutating func structure(_ id: Int16, _ body: (inout ThriftWriter) -> Void) {
        field(id, .structure)
        element(body)
    }

    /// A struct on its own, or as an element of a list.
    mutating func element(_ body: (inout ThriftWriter) -> Void) {
        lastFields.append(lastField)
        lastField = 0
        body(&self)
        output.append(byte: 0)
        lastField = lastFields.removeLast()
    }
}

/// Reads Thrift's compact protocol from bytes that may be damaged: every step is checked.
package struct ThriftReader {
    private let input: ByteBuffer
    package private(set) var position: Int
    private let end: Int

    package init(_ input: ByteBuffer, from position: Int = 0) {
        self.input = input
        self.position = position
        end = input.count
    }

    private static let damaged = Failure(.corrupt, "a Parquet header is damaged")

    package mutating func unsigned() throws(Failure) -> UInt64 {
        guard let value = Varint.read(input, at: &position, end: end) else { throw Self.damaged }
        return value
    }

    package mutating func integer() throws(Failure) -> Int {
        let raw = try unsigned()
        return Int(Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1))
    }

    /// An integer that counts or locates something: never negative.
    package mutating func size() throws(Failure) -> Int {
        let value = try integer()
        guard value >= 0, value < 1 << 56 else { throw Self.damaged }
        return value
    }

    package mutating func octet() throws(Failure) -> UInt8 {
        guard position < end else { throw Self.damaged }
        position += 1
        return input.load(at: position - 1, as: UInt8.self)
    }

    package mutating func bytes() throws(Failure) -> [UInt8] {
        let count = try unsigned()
        guard count <= UInt64(end - position) else { throw Self.damaged }
        defer { position += Int(count) }
        return (position..<position + Int(count)).map { input.load(at: $0, as: UInt8.self) }
    }

    package mutating func text() throws(Failure) -> String {
        String(decoding: try bytes(), as: UTF8.self)
    }

    /// Calls `body` with each field's id; it reads the value and answers true, or leaves it to be
    /// skipped. Boolean values are given by `kind`.
    package mutating func structure(
        _ body: (inout ThriftReader, Int, UInt8) throws(Failure) -> Bool
    ) throws(Failure) {
        var id = 0
        while true {
            let header = try octet()
            if header == 0 { return }
            id = header >> 4 == 0 ? try integer() : id + Int(header >> 4)
            guard (0...32767).contains(id) else { throw Self.damaged }
            let kind = header & 15
            if try !body(&self, id, kind) { try skip(kind, depth: 0) }
        }
    }

    package mutating func list(
        _ body: (inout ThriftReader) throws(Failure) -> Void
    ) throws(Failure) {
        let header = try octet()
        let count = header >> 4 == 15 ? try unsigned() : UInt64(header >> 4)
        guard count <= UInt64(end - position) else { throw Self.damaged }
        for _ in 0..<count { try body(&self) }
    }

    private mutating func skip(_ kind: UInt8, depth: Int) throws(Failure) {
        guard depth < 16 else { throw Self.damaged }
        switch kind {
        case 1, 2: return
        case 3: _ = try octet()
        case 4, 5, 6: _ = try unsigned()
        case 7: for _ in 0..<8 { _ = try octet() }
        case 8: _ = try bytes()
        case 9, 10:
            let header = try octet()
            let count = header >> 4 == 15 ? try unsigned() : UInt64(header >> 4)
            guard count <= UInt64(end - position) else { throw Self.damaged }
            // A boolean in a list takes a byte, other than in a struct.
            for _ in 0..<count { try skip(header & 15 <= 2 ? 3 : header & 15, depth: depth + 1) }
        case 12:
            while true {
                let header = try octet()
                if header == 0 { return }
                if header >> 4 == 0 { _ = try integer() }
                try skip(header & 15, depth: depth + 1)
            }
        default: throw Self.damaged
        }
    }
}
