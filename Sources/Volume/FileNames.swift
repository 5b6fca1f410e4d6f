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

/// What a mount may show of tables; the raw values are words of `-o formats`.
package enum TableFormat: String, Sendable, CaseIterable {
    case csv, parquet
}

/// The files and directories of one backup point, and of all others that have the same tables.
/// Immutable, like the point.
final class PointListing: Sendable {
    typealias Table = (id: UInt32, path: String, sizes: [String: UInt64])

    enum Item: Sendable {
        case manifest
        case table(Node.TableFile, Table)
        /// Index in `directories`.
        case directory(Int)
    }

    struct Directory: Sendable {
        var parent: Int
        /// In the order of names.
        var items: [(name: String, item: Item)] = []
        var byName: [String: Int] = [:]
    }

    /// The first one is the point's own.
    let directories: [Directory]
    /// File names by table id, as paths below the point.
    let paths: [UInt32: [Node.TableFile: String]]
    private let tables: [Table]

    /// - Parameter formats: what is shown of each table, if its size is known; its SQL always is.
    init(_ tables: [Table], formats: Set<TableFormat>) {
        self.tables = tables
        var builder = Builder()
        builder.add("backup.json", .manifest, to: 0)
        // Directories first: that a table's file collides with one shows on the file.
        let places = tables.map { table in
            builder.directory(Self.components(table.path).dropLast().map(String.init))
        }
        var paths: [UInt32: [Node.TableFile: String]] = [:]
        for (table, place) in zip(tables, places) {
            let leaf = String(Self.components(table.path).last!)
            for file in Self.files(of: table, formats) {
                let name = builder.add(
                    leaf, suffix: file.suffix, .table(file, table), to: place.index)
                paths[table.id, default: [:]][file] = place.path + name
            }
        }
        self.paths = paths
        directories = builder.directories.map { directory in
            var sorted = directory
            sorted.items.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            sorted.byName = [:]
            for (index, item) in sorted.items.enumerated() { sorted.byName[item.name] = index }
            return sorted
        }
    }

    /// Of a path that has more than some the rest is one component.
    private static func components(_ path: String) -> [Substring] {
        let deepest = 64
        return path.split(
            separator: "/", maxSplits: deepest - 1, omittingEmptySubsequences: false)
    }

    private static func files(of table: Table, _ formats: Set<TableFormat>) -> [Node.TableFile] {
        var files: [Node.TableFile] = []
        if formats.contains(.csv), table.sizes[TableFormat.csv.rawValue] != nil {
            files.append(.csv)
        }
        files.append(.sql)
        if formats.contains(.parquet), table.sizes[TableFormat.parquet.rawValue] != nil {
            files.append(.parquet)
        }
        return files
    }

    /// Whether a point with these tables looks the same.
    func shows(_ others: [Table]) -> Bool {
        tables.count == others.count
            && zip(tables, others).allSatisfy {
                $0.id == $1.id && $0.path.utf8.elementsEqual($1.path.utf8)
                    && $0.sizes.keys == $1.sizes.keys
            }
    }

    func item(_ name: String, in directory: Int) -> Item? {
        guard directories.indices.contains(directory),
            let index = directories[directory].byName[name]
        else { return nil }
        let found = directories[directory].items[index]
        // Swift takes names for equal that look alike; a file system doesn't.
        return found.name.utf8.elementsEqual(name.utf8) ? found.item : nil
    }

    private struct Builder {
        var directories = [Directory(parent: 0)]
        private var known: [String: (index: Int, path: String)] = [:]

        @discardableResult
        mutating func add(
            _ name: String, suffix: String = "", _ item: Item, to directory: Int
        ) -> String {
            let name = FileName.component(name, suffix: suffix) {
                directories[directory].byName[$0] != nil
            }
            directories[directory].byName[name] = directories[directory].items.count
            directories[directory].items.append((name, item))
            return name
        }

        /// The directory of these components, made if it isn't there; its path ends in `/`.
        mutating func directory(_ components: [String]) -> (index: Int, path: String) {
            if components.isEmpty { return (0, "") }
            let key = components.joined(separator: "/")
            if let found = known[key] { return found }
            let parent = directory(Array(components.dropLast()))
            let index = directories.count
            directories.append(Directory(parent: parent.index))
            let name = add(components.last!, .directory(index), to: parent.index)
            known[key] = (index, parent.path + name + "/")
            return known[key]!
        }
    }
}
