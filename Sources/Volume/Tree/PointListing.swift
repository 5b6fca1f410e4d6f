import Bytes
import Repository

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
        case table(TableFile.Kind, Table)
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
    let paths: [UInt32: [TableFile.Kind: String]]
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
        var paths: [UInt32: [TableFile.Kind: String]] = [:]
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

    private static func files(of table: Table, _ formats: Set<TableFormat>) -> [TableFile.Kind] {
        TableFile.Kind.allCases.filter { kind in
            guard let format = kind.format else { return true }
            return formats.contains(format) && table.sizes[format.rawValue] != nil
        }
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
