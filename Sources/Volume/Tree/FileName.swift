import Bytes
import Repository

/// Names of files for names of tables and collections, which may be anything.
///
/// Of each component control bytes, `%`, `.` and `..` are percent-encoded; what is too long or
/// taken gets `~` and a hash of the true name.
package enum FileName {
    /// Linux's limit.
    private static let maxBytes = 255

    /// One component, with room for `suffix` (`.csv`), and not in `taken`.
    package static func component(
        _ name: String, suffix: String = "", taken: (String) -> Bool = { _ in false }
    ) -> String {
        let encoded = encode(name)
        if encoded.utf8.count + suffix.utf8.count <= maxBytes, !taken(encoded + suffix) {
            return encoded + suffix
        }
        let hash = "~" + String(Checksum.xxh3(name), radix: 16)
        var kept = encoded.utf8.count
        while true {
            let room = maxBytes - suffix.utf8.count - hash.utf8.count
            kept = min(kept, room)
            let candidate = whole(encoded, upTo: kept) + hash + suffix
            if !taken(candidate) { return candidate }
            kept -= 1
        }
    }

    /// At most `count` bytes of `text`, no character cut in two.
    private static func whole(_ text: String, upTo count: Int) -> String {
        var end = text.utf8.index(text.startIndex, offsetBy: count)
        while end.samePosition(in: text.unicodeScalars) == nil {
            end = text.utf8.index(before: end)
        }
        return String(text[..<end])
    }

    private static func encode(_ name: String) -> String {
        if name.isEmpty { return "%" }
        if name == "." { return "%2E" }
        if name == ".." { return "%2E%2E" }
        guard name.utf8.contains(where: isEncoded) else { return name }
        let output = ByteBuffer()
        for byte in name.utf8 {
            if isEncoded(byte) {
                let digits = String(byte, radix: 16, uppercase: true)
                output.append(digits.utf8.count == 1 ? "%0" : "%")
                output.append(digits)
            } else {
                output.append(byte: byte)
            }
        }
        return String(decoding: output.array, as: UTF8.self)
    }

    private static func isEncoded(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == 0x7F || byte == UInt8(ascii: "%") || byte == UInt8(ascii: "/")
    }
}
