import Bytes
import Crypto
import Foundation
import TestSupport

/// A repository as bytes in memory, to be changed and put to disk as often as wanted; checksums of
/// changed records are put right again by this, made without the code under test.
struct StoredFiles {
    enum Kind: String, CaseIterable, Sendable {
        case descriptor, define, point, drop, condemn, catalogEntry, catalog, index, rows
        case start, end, check, capture
    }

    /// By path below the location.
    var files: [String: [UInt8]] = [:]

    init(_ location: String) {
        for name in FileManager.default.enumerator(atPath: location)?.compactMap({ $0 as? String })
            ?? []
        {
            var isDirectory: ObjCBool = false
            let path = "\(location)/\(name)"
            if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory),
                !isDirectory.boolValue, let bytes = FileManager.default.contents(atPath: path)
            {
                files[name] = Array(bytes)
            }
        }
    }

    func write(to location: String) throws {
        try? FileManager.default.removeItem(atPath: location)
        for (name, bytes) in files {
            let path = "\(location)/\(name)"
            try FileManager.default.createDirectory(
                atPath: Self.folder(path),
                withIntermediateDirectories: true)
            try Data(bytes).write(to: URL(filePath: path))
        }
    }

    static func folder(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    /// The catalog that the last entry of that kind names.
    var newestCatalog: String? {
        let text = names(.catalogEntry).last.map(json) ?? ""
        return names(.catalog).first { text.contains($0.split(separator: "/").last!) }
    }

    /// Names of all files of a kind, in order.
    func names(_ kind: Kind) -> [String] {
        files.keys.sorted().filter { self.kind($0) == kind }
    }

    private func kind(_ name: String) -> Kind? {
        let parts = name.split(separator: "/")
        if name == "repository.json" { return .descriptor }
        if name.hasSuffix(".parquet") { return .rows }
        if name.hasSuffix(".idx") { return .index }
        if name.hasSuffix(".cat") { return .catalog }
        if name.hasSuffix("/capture") { return .capture }
        if parts.count == 2, parts[0] == "operations", name.hasSuffix(".json") {
            return name.hasSuffix(".end.json") ? .end : .start
        }
        if parts.count == 4, parts[2] == "checks" { return .check }
        guard parts.count == 4, parts[2] == "log" else { return nil }
        let text = String(decoding: files[name]!, as: UTF8.self)
        for (word, kind) in [
            ("define", Kind.define), ("point", .point), ("dropPoints", .drop),
            ("condemn", .condemn), ("catalog", .catalogEntry),
        ] where text.contains("\"kind\":\"\(word)\",") { return kind }
        return nil
    }

    // MARK: Putting checksums right

    static let trailerBytes = 77

    static func sha256(_ bytes: some Sequence<UInt8>) -> String {
        SHA256.hash(data: Array(bytes)).map { String(format: "%02x", $0) }.joined()
    }

    /// JSON of a record without its trailer.
    func json(_ name: String) -> String {
        String(decoding: files[name]!.dropLast(Self.trailerBytes), as: UTF8.self) + "}"
    }

    static func seal(_ json: String) -> [UInt8] {
        let body = Array(json.utf8.dropLast())
        return body + Array(",\"sha256\":\"\(sha256(body))\"}".utf8)
    }

    /// Puts a record there; if it is an entry of a log, those behind it follow it.
    mutating func put(_ json: String, as name: String) {
        let before = hash(name)
        files[name] = Self.seal(json)
        if name.contains("/log/") { chain(behind: name, before, hash(name)) }
    }

    private func hash(_ name: String) -> String {
        String(decoding: files[name]!.suffix(66).dropLast(2), as: UTF8.self)
    }

    private mutating func chain(behind name: String, _ old: String, _ new: String) {
        var changes = [(old, new)]
        for later in files.keys.sorted() where later.contains("/log/") && later > name {
            var text = json(later)
            for (old, new) in changes { text = text.replacing(old, with: new) }
            let before = hash(later)
            files[later] = Self.seal(text)
            changes.append((before, hash(later)))
        }
    }

    /// Puts a catalog's content there, and lets the entry that names it name that.
    mutating func put(catalog content: [UInt8], as name: String) throws {
        let file = ByteBuffer()
        file.append("YDBFSCT4")
        file.append(fixed: UInt64(content.count))
        try content.withUnsafeBytes { try Zstd.compress($0, level: 1, into: file) }
        let (old, new) = (files[name]!, file.array)
        files[name] = new
        for entry in self.names(.catalogEntry) {
            let text = json(entry)
            guard text.contains(Self.sha256(old)) else { continue }
            put(
                text.replacing(Self.sha256(old), with: Self.sha256(new))
                    .replacing("\"bytes\":\(old.count)", with: "\"bytes\":\(new.count)"),
                as: entry)
        }
    }

    func catalogContent(_ name: String) throws -> [UInt8] {
        let bytes = files[name]!
        let size = bytes[8..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
        return try bytes[16...].withUnsafeBytes {
            try Zstd.decompress($0, size: size).array
        }
    }

    /// Puts right the hash at the end of what a cut kept.
    mutating func sealCapture(_ name: String) {
        let content = files[name]!.dropLast(32)
        files[name] = content + Array(SHA256.hash(data: Array(content)))
    }
}

/// Changes to records that leave them JSON.
enum RecordDamage {
    static let numbers = [
        "0", "-1", "1", "2", "1000000000000000", "1000000000000001", "9007199254740992",
        "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551615",
        "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "4294967295",
        "2147483648", "1073741823", "253402300799999999", "253402300800000000", "1e3", "1.5",
    ]
    static let values = [
        "null", "true", "[]", "{}", "\"\"", "\"/\"", "\"..\"", "\"\\u0000\"",
        String(repeating: "[", count: 500) + String(repeating: "]", count: 500),
        "\"\(String(repeating: "a/", count: 5000))\"",
    ]

    /// A record with one number or value replaced, one member left out, or one twice.
    static func changed(_ json: String, _ random: inout SeededGenerator) throws -> String {
        var bytes = Array(json.utf8)
        let tokens = tokens(bytes)
        switch random.below(10) {
        case 0..<6:
            let wanted = tokens.filter { $0.isNumber }
            guard let token = wanted.randomElement(using: &random) else { break }
            bytes.replaceSubrange(token.range, with: Array(random.pick(numbers).utf8))
        case 6..<8:
            let token = random.pick(tokens)
            bytes.replaceSubrange(token.range, with: Array(random.pick(values).utf8))
        case 8:
            let token = random.pick(tokens)
            // The name of a member may be taken for another's.
            bytes.replaceSubrange(token.range, with: bytes[random.pick(tokens).range])
        default:
            let members = bytes.indices.filter { bytes[$0] == UInt8(ascii: ",") }
            guard members.count > 1 else { break }
            let first = random.below(members.count - 1)
            bytes.removeSubrange(members[first]..<members[first + 1])
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private struct Token {
        var range: Range<Int>
        var isNumber: Bool
    }

    /// Numbers and texts, names of members among them.
    private static func tokens(_ bytes: [UInt8]) -> [Token] {
        var tokens: [Token] = []
        var index = 0
        while index < bytes.count {
            let start = index
            if bytes[index] == UInt8(ascii: "\"") {
                index += 1
                while bytes[index] != UInt8(ascii: "\"") {
                    index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                index += 1
                tokens.append(Token(range: start..<index, isNumber: false))
            } else if (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index]) {
                while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index]) { index += 1 }
                tokens.append(Token(range: start..<index, isNumber: true))
            } else {
                index += 1
            }
        }
        return tokens
    }
}
