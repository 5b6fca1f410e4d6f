import Bytes

/// One table at one backup point: its rows, and what they come to. Safe for concurrent use.
package final class Snapshot: Sendable {
    package let schema: TableSchema
    let pool: FilePool
    let reference: BlockReference

    package init(_ reference: BlockReference, schema: TableSchema, pool: FilePool) {
        self.reference = reference
        self.schema = schema
        self.pool = pool
    }

    func root() throws -> SnapshotRoot { try pool.root(reference, schema: schema) }

    static var contradiction: Failure {
        Failure(.corrupt, "the sums of a snapshot contradict each other")
    }

    /// Names something of this snapshot in the cache.
    func key(_ kind: FilePool.CacheKind, _ b: UInt64 = 0, _ c: UInt64 = 0) -> SharedCache.Key {
        pool.key(kind, reference.file << 40 ^ reference.offset, b, c)
    }

    /// A slice, with its edits.
    func slice(_ place: SlicePlace) throws -> DecodedSlice {
        try pool.slice(root().blocks[place.block].reference, place.slice, schema: schema)
    }

    /// A slice, without its edits.
    func bareSlice(_ place: SlicePlace) throws -> Slice {
        try bareSlice(place.slice, of: root().blocks[place.block])
    }

    /// The slice behind another one; nil behind the last.
    func place(after place: SlicePlace) throws -> SlicePlace? {
        let blocks = try root().blocks
        if try place.slice + 1 < sliceSums(of: blocks[place.block]).count {
            return SlicePlace(block: place.block, slice: place.slice + 1)
        }
        let next = place.block + 1
        return next < blocks.count ? SlicePlace(block: next, slice: 0) : nil
    }

    /// A slice of a block, without its edits.
    func bareSlice(_ index: Int, of block: BlockDescriptor) throws -> Slice {
        try pool.block(block.reference, schema: schema).slice(index)
    }

    /// A slice of a block, with its edits.
    func slice(_ index: Int, of block: BlockDescriptor) throws -> Slice {
        try pool.slice(block.reference, index, schema: schema).slice
    }

    func sliceSums(of block: BlockDescriptor) throws -> [SliceSums] {
        try pool.block(block.reference, schema: schema).slices.map(\.sums)
    }

    /// Where the key range of each slice of a block begins.
    func lowerBounds(of block: BlockDescriptor) throws -> [[UInt8]] {
        let content = try pool.block(block.reference, schema: schema)
        return try content.slices.indices.map { try content.lowerBound($0) }
    }

    /// All slices, in key order: for looking at what a point is made of.
    package func slices() throws -> [Slice] {
        try root().blocks.flatMap { block in
            try sliceSums(of: block).indices.map { try slice($0, of: block) }
        }
    }
}

/// Which slice of a snapshot.
package struct SlicePlace: Sendable, Hashable {
    var block: Int
    var slice: Int
}
