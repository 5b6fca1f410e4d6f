import Bytes

/// A place with backup points that others have made: a dump, an export, copies of a database.
///
/// Points are imported one after another, each as a full or as an incremental of the one before it.
package protocol PointSource: Sendable {
    /// What the user named, for messages.
    var name: String { get }

    /// What it is, as definitions of collections record it: `dump`.
    var kind: String { get }

    /// What there is now, without a look into tables.
    func listCollections() throws -> [SourceCollection]

    /// A point's tables. Of a table with `SourceCut.delta` it has only what changed since the point
    /// before it; all others it has whole.
    func openPoint(_ point: SourcePoint, of collection: String) throws -> any SourceCut
}

/// Points of one collection, in the order in which they were made.
package struct SourceCollection: Sendable, Equatable {
    package var name: String
    package var points: [SourcePoint]

    package init(name: String, points: [SourcePoint]) {
        self.name = name
        self.points = points
    }
}

package struct SourcePoint: Sendable, Hashable {
    package var name: String
    /// Whether it continues the point before it. One without any before it stands on nothing.
    package var isIncremental: Bool
    /// The instant that it shows, in microseconds since 1970.
    package var cut: Int64
    /// Another one if any of its files is another one.
    package var version: String
    /// Why it can't be read, as far as that shows without a look into tables.
    package var refusal: String?

    package init(
        name: String, isIncremental: Bool, cut: Int64, version: String, refusal: String? = nil
    ) {
        self.name = name
        self.isIncremental = isIncremental
        self.cut = cut
        self.version = version
        self.refusal = refusal
    }
}

/// Rows of which only some columns may be given, as incremental backups of others hold them: a table's
/// columns, and behind them the *marks* of each row, a byte for each column of the table. Where it is
/// `kept` the row has what it had before; NULL if it wasn't there. No marks: the row is gone, and only its
/// key counts.
package enum DeltaRows {
    package static let kept: UInt8 = 0
    package static let given: UInt8 = 1

    private static let marksID: UInt32 = 1_000_004

    /// The columns of such rows.
    package static func schema(of table: TableSchema) throws -> TableSchema {
        try TableSchema(
            columns: table.columns + [
                Column(id: marksID, name: "__ydbfs_marks", type: .string, isHidden: true)
            ],
            key: table.key, primaryKey: table.primaryKey)
    }
}
