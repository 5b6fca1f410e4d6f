import Bytes
import Repository
import Tables

/// A file of a point's folder, for copying the point out without a mount.
package struct PointFile: Sendable {
    /// Below the point's folder.
    package var path: String
    /// The table that it is of; nil for what concerns all.
    package var table: String?
    /// Nil for texts.
    package var format: RowFormat?
    package var bytes: UInt64
    let node: any TreeNode
}

extension Volume {
    /// The files of a point's dump, directories left out, and what isn't in it.
    package func dump(
        of collection: CollectionState, _ point: BackupPoint
    ) throws(Errno) -> (files: [PointFile], leftOut: [NotBackedUp]) {
        let shown = try tree.collection(collection.id)
        let all = shown.state.tables(at: point.sequence)
        let paths = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0.path) })
        var files: [PointFile] = []
        func add(_ directory: any TreeNode, _ path: String, _ table: String?) throws(Errno) {
            for (name, node) in try directory.children() {
                switch node.kind {
                case .directory:
                    let id = (node as? DumpedTable)?.table
                    try add(node, path + name + "/", id.flatMap { paths[$0] } ?? table)
                default:
                    files.append(
                        PointFile(
                            path: path + name, table: table, bytes: try node.appearance().bytes,
                            node: node))
                }
            }
        }
        let place = PointPlace(tree, shown, point.sequence)
        try add(TableDirectory(DumpScope(place)), "", nil)
        let leftOut = DumpedPoint(all).leftOut
        return (files, leftOut.map { NotBackedUp(path: $0.table.path, reason: $0.reason) })
    }

    /// The files of a point as a mount shows them, directories left out.
    package func files(
        of collection: CollectionState, _ point: BackupPoint
    ) throws(Errno) -> [PointFile] {
        let shown = try tree.collection(collection.id)
        let listing = try tree.listing(shown, point.sequence)
        let scope = PointScope(PointPlace(tree, shown, point.sequence))
        var files: [PointFile] = []
        for directory in listing.directories {
            for (name, item) in directory.items {
                let node: any TreeNode
                switch item {
                case .directory: continue
                // A copy gets its own, of what it has.
                case .fixed(PointSums.name): continue
                case .fixed(let name): node = scope.file(named: name, in: 0)
                case .table(let kind, let table): node = scope.file(kind, of: table)
                }
                var file = PointFile(path: name, bytes: try node.appearance().bytes, node: node)
                if case .table(let kind, let table) = item {
                    file.path = listing.paths[table.id]?[kind] ?? name
                    file.table = table.path
                    file.format = kind.format
                }
                files.append(file)
            }
        }
        return files
    }

    /// Opens such a file: a handle to be read and released.
    package func open(_ file: PointFile, caller: Caller) throws(Errno) -> UInt64 {
        add(try file.node.open(caller).file)
    }
}
