import Bytes

/// A form in which tables are shown, as files. Whatever differs from form to form is said here: names,
/// options, what a backup records and `VERIFY` compares go over `all`.
///
/// A new one is a file beside `CSVFile`, which says what it is, and a word in `all`. A format whose sizes
/// need other sums than `SliceSums` has gets them there.
package struct RowFormat: Sendable {
    /// The word for it in options and in what is recorded of a table, and what names of files end in.
    package let id: String
    /// For messages.
    package let name: String
    /// Of the rules: changes whenever the same rows would give other bytes.
    package let version: Int
    /// Exact bytes of the file of a table.
    let bytes: @Sendable (SliceSums, TableSchema) -> UInt64
    package let file: @Sendable (Snapshot) -> any PartedFile
    /// Writes what differs between two snapshots.
    package let writeChanges: @Sendable (ChangesCursor, any ByteSink) throws -> Void

    package static let all: [RowFormat] = [.csv, .parquet]

    /// What is recorded of a table: the sizes of its files in all formats, and in a dump.
    package static let recorded: [RecordedSize] =
        all.map { RecordedSize(id: $0.id, name: $0.name, version: $0.version, bytes: $0.bytes) }
        + [DumpTable.recorded]

    package init?(id: String) {
        guard let found = Self.all.first(where: { $0.id == id }) else { return nil }
        self = found
    }

    init(
        id: String, name: String, version: Int,
        bytes: @escaping @Sendable (SliceSums, TableSchema) -> UInt64,
        file: @escaping @Sendable (Snapshot) -> any PartedFile,
        writeChanges: @escaping @Sendable (ChangesCursor, any ByteSink) throws -> Void
    ) {
        self.id = id
        self.name = name
        self.version = version
        self.bytes = bytes
        self.file = file
        self.writeChanges = writeChanges
    }

    package var suffix: String { "." + id }

    /// By format, what is recorded of a table.
    package static var versions: [String: Int] {
        Dictionary(uniqueKeysWithValues: recorded.map { ($0.id, $0.version) })
    }

    /// - Parameter lacking: formats that the sums don't count.
    static func sizes(
        _ sums: SliceSums, _ schema: TableSchema, lacking: Set<SizedFormat> = []
    ) -> [String: UInt64] {
        var sizes: [String: UInt64] = [:]
        for size in recorded where size.format.map({ !lacking.contains($0) }) ?? true {
            sizes[size.id] = size.bytes(sums, schema)
        }
        return sizes
    }
}

/// A size that backups record of each table.
package struct RecordedSize: Sendable {
    package let id: String
    /// For messages.
    package let name: String
    package let version: Int
    /// What indexes may lack of it.
    var format: SizedFormat?
    let bytes: @Sendable (SliceSums, TableSchema) -> UInt64
}

extension RowFormat: Hashable {
    package static func == (a: RowFormat, b: RowFormat) -> Bool { a.id == b.id }
    package func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
