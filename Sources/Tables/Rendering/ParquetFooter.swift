import Bytes

/// The end of a rendered Parquet file: what it is, its columns, and where its row groups lie.
///
/// How long it is follows from the columns and the number of row groups alone: numbers that depend
/// on rows are padded, and what the bounds of keys don't take of the room for them is filled.
struct ParquetFooter: Sendable {
    struct RowGroup {
        var rows: UInt64 = 0
        /// By column: where its chunk begins, its bytes, its NULLs.
        var chunks: [(offset: UInt64, bytes: UInt64, nulls: UInt64)]
        /// The least and the greatest value of the leading key column.
        var bounds: (least: [UInt8], greatest: [UInt8])?
    }

    /// Column chunks of a file: readers take up a footer whole, and this many have some 100 bytes
    /// each. Tables of more slices get larger row groups.
    private static let maxChunks = 8192

    private let schema: TableSchema
    private let types: [ParquetType]
    /// Room for two bounds in a row group.
    private let boundsRoom: Int
    private let bytesOfNone: Int
    private let bytesOfGroup: Int

    init(_ schema: TableSchema) {
        self.schema = schema
        types = schema.visibleColumns.map { ParquetType(rendered: $0.type) }
        let leading = schema.columns[schema.key[0]]
        boundsRoom =
            leading.isHidden ? 0 : Self.bytes(ofBounds: 2 * ParquetForm(leading.type).boundBytes)
        let none = ByteBuffer()
        let types = types
        Self.write([], schema, types, unused: 0, into: none)
        bytesOfNone = none.count
        let group = ByteBuffer()
        var writer = ThriftWriter(into: group)
        let empty = RowGroup(chunks: schema.visibleColumns.map { _ in (0, 0, 0) })
        Self.write(empty, schema, types, &writer)
        bytesOfGroup = group.count
    }

    /// How many row groups a file has of which so many slices have rows: one each, if that isn't too
    /// many; then each has this many slices, the last one what is left.
    func groups(filledSlices: UInt64) -> (count: Int, slices: UInt64) {
        let most = UInt64(max(1, Self.maxChunks / schema.visibleColumns.count))
        let slices = max(1, (filledSlices + most - 1) / most)
        return (Int((filledSlices + slices - 1) / slices), slices)
    }

    func bytes(groups: Int) -> Int {
        // An empty list has a head of one byte too.
        bytesOfNone - 1 + ThriftWriter.listHeadBytes(groups) + groups * (bytesOfGroup + boundsRoom)
    }

    func render(_ groups: [RowGroup]) -> ByteBuffer {
        let size = bytes(groups: groups.count)
        let used = groups.reduce(0) { sum, group in
            guard let bounds = group.bounds else { return sum }
            return sum + Self.bytes(ofBounds: bounds.least.count + bounds.greatest.count)
        }
        let output = ByteBuffer(capacity: size)
        Self.write(groups, schema, types, unused: groups.count * boundsRoom - used, into: output)
        precondition(output.count == size)
        return output
    }

    /// What two bounds take: heads, lengths, and that they are exact.
    private static func bytes(ofBounds bytes: Int) -> Int { bytes + 6 }

    // MARK: Writing

    private static func write(
        _ groups: [RowGroup], _ schema: TableSchema, _ types: [ParquetType], unused: Int,
        into output: ByteBuffer
    ) {
        var writer = ThriftWriter(into: output)
        writer.element { writer in
            writer.int32(1, 1)
            writer.schema(
                zip(schema.visibleColumns, types).map { ($0.name, $1, Int($0.id), true) })
            writer.padded64(3, Int(groups.reduce(0) { $0 + $1.rows }))
            writer.list(4, of: .structure, count: groups.count)
            for group in groups { write(group, schema, types, &writer) }
            writer.list(5, of: .structure, count: 3)
            writer.pair(
                "ydbfs.types", schema.visibleColumns.map(\.type.name).joined(separator: " "))
            writer.pair("ydbfs.key", schema.primaryKey.map { "\($0)" }.joined(separator: " "))
            writeFiller(unused, &writer)
            writer.text(6, ParquetType.createdBy)
            writer.list(7, of: .structure, count: types.count)
            for _ in types { writer.element { $0.structure(1) { _ in } } }
        }
        output.append(fixed: UInt32(output.count))
        output.append("PAR1")
    }

    /// A pair that takes `bytes` more than an empty one.
    private static func writeFiller(_ bytes: Int, _ writer: inout ThriftWriter) {
        // A value grows by two where its length needs another byte; the key then takes one of them.
        var count = bytes
        while Int(Varint.length(UInt64(count))) - 1 + count > bytes { count -= 1 }
        let isShort = Int(Varint.length(UInt64(count))) - 1 + count < bytes
        writer.pair(
            "ydbfs.filler" + (isShort ? "_" : ""), String(repeating: " ", count: count))
    }

    private static func write(
        _ group: RowGroup, _ schema: TableSchema, _ types: [ParquetType],
        _ writer: inout ThriftWriter
    ) {
        writer.element { writer in
            writer.list(1, of: .structure, count: group.chunks.count)
            for (index, chunk) in group.chunks.enumerated() {
                writer.element {
                    $0.int64(2, 0)
                    $0.structure(3) { writer in
                        writer.int32(1, types[index].physical.rawValue)
                        writer.list(2, of: .int32, count: 2)
                        writer.varint(0)
                        writer.varint(3)
                        writer.list(3, of: .binary, count: 1)
                        writer.text(schema.columns[index].name)
                        writer.int32(4, 0)
                        writer.padded64(5, Int(group.rows))
                        writer.padded64(6, Int(chunk.bytes))
                        writer.padded64(7, Int(chunk.bytes))
                        writer.padded64(9, Int(chunk.offset))
                        writer.structure(12) {
                            $0.padded64(3, Int(chunk.nulls))
                            guard index == schema.key[0], let bounds = group.bounds else { return }
                            $0.binary(5, bounds.greatest)
                            $0.binary(6, bounds.least)
                            $0.bool(7, true)
                            $0.bool(8, true)
                        }
                    }
                }
            }
            writer.padded64(2, Int(group.chunks.reduce(0) { $0 + $1.bytes }))
            writer.padded64(3, Int(group.rows))
        }
    }
}
