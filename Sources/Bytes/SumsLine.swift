/// A line of `SHA256SUMS`, as sha256sum writes and reads it: a backslash in a name is doubled, and told
/// by one in front.
package struct SumsLine {
    package var sum: String
    package var name: String

    private static let sumDigits = 64
    private static let gap = "  "

    package init(_ sum: String, _ name: String) {
        self.sum = sum
        self.name = name
    }

    /// With its end.
    package var text: String {
        let doubled = name.replacingBytes("\\", with: "\\\\")
        let mark = doubled.utf8.count > name.utf8.count ? "\\" : ""
        return "\(mark)\(sum)\(Self.gap)\(doubled)\n"
    }

    /// From a line without its end; nil if it is none.
    package init?(_ line: Substring) {
        let isEscaped = line.utf8.first == UInt8(ascii: "\\")
        let line = line.utf8.dropFirst(isEscaped ? 1 : 0)
        let rest = line.dropFirst(Self.sumDigits)
        guard rest.starts(with: Self.gap.utf8), rest.count > Self.gap.utf8.count else { return nil }
        let name = String(Substring(rest.dropFirst(Self.gap.utf8.count)))
        sum = String(Substring(line.prefix(Self.sumDigits)))
        self.name = isEscaped ? name.replacingBytes("\\\\", with: "\\") : name
    }

    /// Bytes of the text of a name, whatever the sum.
    package static func byteCount(_ name: String) -> Int {
        SumsLine("", name).text.utf8.count + sumDigits
    }
}

extension [UInt8] {
    /// The bytes that pairs of hexadecimal digits, in ASCII and in any case, stand for; nil if these are none.
    package init?(hex digits: some Sequence<UInt8>) {
        let values = digits.map { Character(Unicode.Scalar($0)).hexDigitValue }
        guard values.count % 2 == 0, !values.contains(nil) else { return nil }
        self = stride(from: 0, to: values.count, by: 2).map {
            UInt8(values[$0]! << 4 | values[$0 + 1]!)
        }
    }
}

extension String {
    /// Two digits a byte.
    package init(hex bytes: some Sequence<UInt8>) {
        let text = ByteBuffer(capacity: 64)
        text.append(hex: Array(bytes))
        self = String(decoding: text.array, as: UTF8.self)
    }
}
