import Bytes
import Repository

/// How a table that was left out is told, to people and to programs, a line each.
extension NotBackedUp {
    /// For people.
    package var line: String { oneLine("\(path): \(reason)") }

    /// For programs: one word that is the path (blanks, control bytes and `%` percent-encoded), a
    /// blank, and the reason.
    package var record: String {
        let word = ByteBuffer()
        for byte in path.utf8 {
            if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "%") {
                word.append("%")
                word.append(hex: [byte])
            } else {
                word.append(byte: byte)
            }
        }
        return "\(String(decoding: word.array, as: UTF8.self)) \(oneLine(reason))"
    }

    /// From what `record` says; nil if it can't be that.
    package init?(record: some StringProtocol) {
        guard let blank = record.firstIndex(of: " ") else { return nil }
        var bytes: [UInt8] = []
        var word = Array(record[..<blank].utf8)[...]
        while let byte = word.popFirst() {
            if byte == UInt8(ascii: "%"),
                let code = UInt8(String(decoding: word.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(code)
                word = word.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        self.init(
            path: String(decoding: bytes, as: UTF8.self),
            reason: String(record[record.index(after: blank)...]))
    }
}

extension [NotBackedUp] {
    /// A line for each, and one for those that are counted but not named.
    package func lines(of count: UInt64) -> [String] {
        let rest = count - Swift.min(count, UInt64(self.count))
        return map(\.line) + (rest > 0 ? ["… and \(rest) more"] : [])
    }
}

extension BackupPoint {
    /// Why there is no such table.
    package func missing(_ path: String) -> Failure {
        let refused = notBackedUp.first { $0.path.hasSameBytes(as: path) }
        let reason = refused.map { ": it wasn't backed up: \($0.reason)" } ?? ""
        return Failure(.notFound, "\(name) has no table \(path)\(reason)")
    }

    /// A table that isn't in the point, as told by what is made of the point.
    package func lacks(_ table: NotBackedUp) -> NotBackedUp {
        NotBackedUp(path: table.path, reason: "it isn't in \(name): \(table.reason)")
    }
}
