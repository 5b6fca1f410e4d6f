import Bytes

/// Which files a snapshot needs, and how many of each row file's rows it shows.
final class SnapshotFiles: Sendable {
    let rows: [UInt64: UInt64]

    init(_ rows: [UInt64: UInt64]) { self.rows = rows }
}

extension Snapshot {
    /// By number: every file that reading this snapshot may need, with the rows that it shows of it
    /// (none of an index).
    ///
    /// Blocks are immutable and mostly the parent's, so that what each comes to is cached.
    package func files() throws -> [UInt64: UInt64] {
        var files = [reference.file: UInt64(0)]
        for block in try root().blocks {
            files.merge(try self.files(of: block).rows, uniquingKeysWith: +)
        }
        return files
    }

    /// The slices of a block that need some of these files, be it for one row, each with the sum of
    /// what those files are given as.
    func slices(
        of block: BlockDescriptor, needing wanted: [UInt64: UInt64]
    ) throws -> [(index: Int, sum: UInt64)] {
        if try wanted.isEmpty || files(of: block).rows.keys.allSatisfy({ wanted[$0] == nil }) {
            return []
        }
        return try sliceSums(of: block).indices.compactMap { index in
            let slice = try slice(index, of: block)
            var needed = Set(slice.edits.lazy.filter(\.kind.hasRow).map(\.row.file))
            needed.insert(slice.file)
            let sum = needed.reduce(0) { $0 &+ (wanted[$1] ?? 0) }
            return sum > 0 ? (index, sum) : nil
        }
    }

    private func files(of block: BlockDescriptor) throws -> SnapshotFiles {
        let place = block.reference
        return try pool.cache.value(pool.key(.blockFiles, place.file, place.offset)) {
            var rows = [place.file: UInt64(0)]
            for index in try sliceSums(of: block).indices {
                let slice = try slice(index, of: block)
                let hidden = slice.edits.count { $0.kind != .insert }
                if slice.file != 0 { rows[slice.file, default: 0] += UInt64(slice.count - hidden) }
                for tier in slice.tiers { rows[tier.reference.file, default: 0] += 0 }
                for edit in slice.edits where edit.kind.hasRow {
                    rows[edit.row.file, default: 0] += 1
                }
            }
            return (SnapshotFiles(rows), bytes: 256 + rows.count * 48)
        }
    }
}
