import Bytes
import Engine
import Repository

/// Files named after tables, in the directories that the tables' paths ask for, and some of fixed
/// names. Immutable.
///
/// A `Leaf` says which of a table's files one is.
final class TableListing<Leaf: Hashable & Sendable>: Sendable {
    /// `sizes` by format.
    typealias Table = (id: UInt32, path: String, sizes: [String: UInt64])

    enum Item: Sendable {
        case fixed(String)
        case table(Leaf, Table)
        /// Index in `directories`.
        case directory(Int)
    }

    struct Directory: Sendable {
        var parent: Int
        /// In the order of names.
        var items: [(name: String, item: Item)] = []
        var byName: [String: Int] = [:]
    }

    /// The first one is the top.
    let directories: [Directory]
    /// File names by table id, as paths below the top.
    let paths: [UInt32: [Leaf: String]]
    private let tables: [Table]

    /// - Parameters:
    ///   - fixed: names in the top directory.
    ///   - inEach: names in every directory, the top too.
    ///   - isExact: whether names are what tables are called, which files can be called too.
    ///   - leaves: the files of a table, and what their names end in.
    init(
        _ tables: [Table], fixed: [String], inEach: [String] = [], isExact: Bool = false,
        leaves: (Table) -> [(leaf: Leaf, suffix: String)]
    ) {
        self.tables = tables
        var builder = Builder(isExact: isExact)
        for name in fixed { builder.add(name, .fixed(name), to: 0) }
        // Directories first: that a table's file collides with one shows on the file.
        let places = tables.map { table in
            builder.directory(Self.components(table.path).dropLast().map(String.init))
        }
        var paths: [UInt32: [Leaf: String]] = [:]
        for (table, place) in zip(tables, places) {
            let name = String(Self.components(table.path).last!)
            for (leaf, suffix) in leaves(table) {
                let name = builder.add(name, suffix: suffix, .table(leaf, table), to: place.index)
                paths[table.id, default: [:]][leaf] = place.path + name
            }
        }
        for index in builder.directories.indices {
            for name in inEach { builder.add(name, .fixed(name), to: index) }
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

    /// Whether these tables look the same.
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
        let isExact: Bool
        var directories = [Directory(parent: 0)]
        private var known: [String: (index: Int, path: String)] = [:]

        init(isExact: Bool) { self.isExact = isExact }

        @discardableResult
        mutating func add(
            _ name: String, suffix: String = "", _ item: Item, to directory: Int
        ) -> String {
            let name =
                isExact
                ? name + suffix
                : FileName.component(name, suffix: suffix) {
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

/// What a directory of files named after tables is about.
protocol TableScope: Sendable {
    associatedtype Leaf: Hashable & Sendable

    /// Of one of the listing's directories.
    func identity(_ directory: Int) -> FileIdentity
    /// Throws once what it is about is gone.
    func listing() throws(Errno) -> TableListing<Leaf>
    func modified() throws(Errno) -> Instant
    /// One of the fixed names, in one of the listing's directories.
    func file(named name: String, in directory: Int) -> any TreeNode
    func file(_ leaf: Leaf, of table: TableListing<Leaf>.Table) -> any TreeNode
    /// Of the top directory.
    func extendedAttributes() throws(Errno) -> [(name: String, value: String)]
}

extension TableScope {
    func extendedAttributes() throws(Errno) -> [(name: String, value: String)] { [] }
}

/// A directory of such a listing.
final class TableDirectory<Scope: TableScope>: TreeDirectory {
    let identity: FileIdentity
    private let scope: Scope
    private let index: Int

    init(_ scope: Scope, index: Int = 0) {
        self.scope = scope
        self.index = index
        identity = scope.identity(index)
    }

    func appearance() throws(Errno) -> Appearance {
        .directory(modified: try scope.modified(), isImmutable: index > 0)
    }

    func extendedAttributes() throws(Errno) -> [(name: String, value: String)] {
        index == 0 ? try scope.extendedAttributes() : []
    }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let listing = try scope.listing()
        guard listing.directories.indices.contains(index) else { throw .noEntry }
        return listing.directories[index].items.map { ($0.name, node($0.item)) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        guard let item = try scope.listing().item(name, in: index) else { throw .noEntry }
        return node(item)
    }

    private func node(_ item: TableListing<Scope.Leaf>.Item) -> any TreeNode {
        switch item {
        case .fixed(let name): scope.file(named: name, in: index)
        case .table(let leaf, let table): scope.file(leaf, of: table)
        case .directory(let index): TableDirectory(scope, index: index)
        }
    }
}
