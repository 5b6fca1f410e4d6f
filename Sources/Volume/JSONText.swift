import Bytes

/// JSON made to be read: members on lines of their own, in the order given.
package enum JSONText {
    case text(String)
    case number(UInt64)
    case bool(Bool)
    case null
    case array([JSONText])
    case object([(String, JSONText)])

    /// Ends in a newline.
    package var document: [UInt8] {
        let output = ByteBuffer(capacity: 1024)
        write(to: output, indent: 0)
        output.append(byte: UInt8(ascii: "\n"))
        return output.array
    }

    package static func optional(_ text: String?) -> JSONText { text.map { .text($0) } ?? .null }

    private func write(to output: ByteBuffer, indent: Int) {
        switch self {
        case .text(let text): Self.write(text, to: output)
        case .number(let number): output.append(decimal: number)
        case .bool(let value): output.append(value ? "true" : "false")
        case .null: output.append("null")
        case .array(let elements):
            Self.group("[", "]", elements, to: output, indent: indent) { element, indent in
                element.write(to: output, indent: indent)
            }
        case .object(let members):
            Self.group("{", "}", members, to: output, indent: indent) { member, indent in
                Self.write(member.0, to: output)
                output.append(": ")
                member.1.write(to: output, indent: indent)
            }
        }
    }

    private static func group<T>(
        _ open: String, _ close: String, _ elements: [T], to output: ByteBuffer, indent: Int,
        _ write: (T, Int) -> Void
    ) {
        output.append(open)
        for (index, element) in elements.enumerated() {
            output.append(index == 0 ? "\n" : ",\n")
            output.append(byte: UInt8(ascii: " "), repeated: (indent + 1) * 2)
            write(element, indent + 1)
        }
        if !elements.isEmpty {
            output.append("\n")
            output.append(byte: UInt8(ascii: " "), repeated: indent * 2)
        }
        output.append(close)
    }

    private static func write(_ text: String, to output: ByteBuffer) {
        let isPlain = text.utf8.allSatisfy {
            (0x20..<0x7F).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        if isPlain {
            output.append(byte: UInt8(ascii: "\""))
            output.append(text)
            return output.append(byte: UInt8(ascii: "\""))
        }
        var plain = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": plain += "\\\(scalar)"
            case "\n": plain += "\\n"
            case "\t": plain += "\\t"
            default: plain.unicodeScalars.append(scalar)
            }
        }
        output.append("\"")
        output.append(PathText.shown(json: plain).escapingUnprintable)
        output.append("\"")
    }
}
