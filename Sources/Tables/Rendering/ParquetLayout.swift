import Bytes

/// Where the row groups and column chunks of a snapshot's Parquet file lie: a fold over what blocks
/// say of their slices.
final class ParquetLayout: Sendable {
    struct Group: Sendable {
        var rows: UInt64 = 0
        /// The first and the last of its slices that have rows.
        var first: SlicePlace
        var last: SlicePlace
    }

    static let magicBytes: UInt64 = 4

    let groups: [Group]
    /// Where each chunk begins, group by group and column by column, and where the last one ends.
    let starts: [UInt64]
    /// NULLs of each chunk.
    let nulls: [UInt64]
    private let columns: Int

    init(_ snapshot: Snapshot, footer: ParquetFooter) throws {
        let root = try snapshot.root()
        let columns = snapshot.schema.visibleColumns.count
        let (count, slicesOfGroup) = footer.groups(filledSlices: root.sums.filledSlices)
        var groups: [Group] = []
        var bytes = [UInt64](repeating: 0, count: count * columns)
        var nulls = bytes
        var filled: UInt64 = 0
        for (number, descriptor) in root.blocks.enumerated() {
            let block = try snapshot.pool.block(descriptor.reference, schema: snapshot.schema)
            for (index, slice) in block.slices.enumerated() where slice.sums.pages.rows > 0 {
                let place = SlicePlace(block: number, slice: index)
                if filled % slicesOfGroup == 0 { groups.append(Group(first: place, last: place)) }
                filled += 1
                guard groups.count <= count else { throw Snapshot.contradiction }
                groups[groups.count - 1].rows += slice.sums.pages.rows
                groups[groups.count - 1].last = place
                let first = (groups.count - 1) * columns
                for column in 0..<columns {
                    bytes[first + column] += slice.sums.parquetBytes[column]
                    nulls[first + column] += slice.sums.pages.columns[column].nulls
                }
            }
        }
        guard filled == root.sums.filledSlices, bytes.allSatisfy({ $0 > 0 }) else {
            throw Snapshot.contradiction
        }
        let total = bytes.reduce(0, +)
        starts = (prefixSums(bytes) + [total]).map { $0 + Self.magicBytes }
        self.groups = groups
        self.nulls = nulls
        self.columns = columns
    }

    var end: UInt64 { starts[starts.count - 1] }

    /// Bytes of memory in use.
    var byteCount: Int { 256 + groups.count * 48 + starts.count * 16 }

    /// The chunk that holds a byte of the file.
    func chunk(at offset: UInt64) -> (group: Int, column: Int, start: UInt64) {
        let index = starts.lastIndex(notAbove: offset)
        return (index / columns, index % columns, starts[index])
    }

    /// A row group for the footer, but for its bounds.
    func rowGroup(_ group: Int) -> ParquetFooter.RowGroup {
        let chunks = (group * columns..<(group + 1) * columns).map {
            (offset: starts[$0], bytes: starts[$0 + 1] - starts[$0], nulls: nulls[$0])
        }
        return ParquetFooter.RowGroup(rows: groups[group].rows, chunks: chunks)
    }
}
