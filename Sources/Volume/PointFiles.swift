import Bytes
import Repository

/// A file of a point's folder, for copying the point out without a mount.
package struct PointFile: Sendable {
    /// Below the point's folder.
    package var path: String
    /// The table that it is of; nil for what concerns all.
    package var table: String?
    /// Nil for texts.
    package var format: TableFormat?
    package var inode: Inode
    package var bytes: UInt64
}

extension Volume {
    /// The files of a point as a mount shows them, directories left out.
    package func files(
        of collection: CollectionState, _ point: BackupPoint
    ) throws(Errno) -> [PointFile] {
        let number = current { state in
            state.collections.first { $0.value.state.id == collection.id }?.value.pointNumber
        }
        guard let number else { throw .noEntry }
        let listing = try listing(try shown(number), point.sequence)
        var files: [PointFile] = []
        for directory in listing.directories {
            for (name, item) in directory.items {
                guard let node = fileNode(item, number, point.sequence), let inode = node.inode
                else { continue }
                var file = PointFile(path: name, inode: inode, bytes: 0)
                if case .table(let kind, let table) = item {
                    file.path = listing.paths[table.id]?[kind] ?? name
                    file.table = table.path
                    file.format = kind == .csv ? .csv : kind == .parquet ? .parquet : nil
                }
                file.bytes = try entry(of: inode).attributes.sizeBytes
                files.append(file)
            }
        }
        return files
    }

    private func fileNode(
        _ item: PointListing.Item, _ number: UInt64, _ sequence: UInt64
    ) -> Node? {
        switch item {
        case .manifest: .manifest(collection: number, sequence: sequence)
        case .table(let file, let table):
            .tableFile(file, collection: number, sequence: sequence, table: UInt64(table.id))
        case .directory: nil
        }
    }
}
