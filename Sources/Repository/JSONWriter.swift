struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    /// Whether a comma must stand before the next member or element.
    private var needsComma = false

    private mutating func separate() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
    }

    private mutating func group(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void
    ) {
        bytes.append(UInt8(ascii: open))
        needsComma = false
        body(&self)
        bytes.append(UInt8(ascii: close))
        needsComma = true
    }

    mutating func object(_ body: (inout JSONWriter) -> Void) { group("{", "}", body) }

    mutating func array<S: Sequence>(_ elements: S) where S.Element: JSONValue {
        group("[", "]") { json in
            for element in elements {
                json.separate()
                element.write(json: &json)
            }
        }
    }

    mutating func member<T: JSONValue>(_ name: String, _ value: T) {
        separate()
        string(name)
        bytes.append(UInt8(ascii: ":"))
        value.write(json: &self)
        needsComma = true
    }

    /// Left out when nil.
    mutating func member<T: JSONValue>(_ name: String, _ value: T?) {
        if let value { member(name, value) }
    }

    mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func string(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20: raw(byte == 10 ? "\\n" : "\\u00" + hex(UInt64(byte)).suffix(2))
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
