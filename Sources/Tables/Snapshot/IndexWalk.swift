import Bytes

/// Goes through the index of snapshots, without reading a row: which files they refer to, and that
/// every object of their indexes is whole.
///
/// Snapshots of one table share most of their objects: each is looked at once.
package final class IndexWalk {
    private let pool: FilePool
    private var blocks: [BlockReference: Set<UInt64>] = [:]
    private var tiers: [BlockReference: Set<UInt64>] = [:]
    private let progress: () throws -> Void

    /// `progress` is called for every block; it may throw to end the walk.
    package init(_ pool: FilePool, progress: @escaping () throws -> Void) {
        self.pool = pool
        self.progress = progress
    }

    /// The numbers of all files that a snapshot refers to: indexes, row files, runs.
    package func files(of root: BlockReference, schema: TableSchema) throws -> Set<UInt64> {
        var files: Set = [root.file]
        for block in try pool.root(root, schema: schema).blocks {
            files.formUnion(try self.files(ofBlock: block.reference, schema))
        }
        return files
    }

    private func files(ofBlock block: BlockReference, _ schema: TableSchema) throws -> Set<UInt64> {
        if let known = blocks[block] { return known }
        try progress()
        var files: Set = [block.file]
        let content = try pool.block(block, schema: schema)
        for index in content.slices.indices {
            let slice = try content.slice(index)
            if slice.file != 0 { files.insert(slice.file) }
            for tier in slice.tiers { files.formUnion(try self.files(ofTier: tier, schema)) }
        }
        blocks[block] = files
        return files
    }

    private func files(ofTier tier: EditTier, _ schema: TableSchema) throws -> Set<UInt64> {
        if let known = tiers[tier.reference] { return known }
        var files: Set = [tier.reference.file]
        for edit in try pool.tier(tier, schema: schema) where edit.kind.hasRow {
            files.insert(edit.row.file)
        }
        tiers[tier.reference] = files
        return files
    }
}
