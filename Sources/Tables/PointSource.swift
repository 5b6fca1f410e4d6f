import Bytes
import Glibc

/// A place with backup points that others have made: a dump, an export, copies of a database.
///
/// Points are imported one after another, each as a full or as an incremental of the one before it.
package protocol PointSource: Sendable {
    /// What the user named, for messages.
    var name: String { get }

    /// What it is, as definitions of collections record it: `dump`.
    var kind: String { get }

    /// What it is, for messages: `a dump`.
    var noun: String { get }

    /// Whether each point is a whole database of SQLite: what isn't in it isn't there any more, and it
    /// can go back to where it came from. Such points are called by their time alone, whatever becomes
    /// of those before them.
    var holdsDatabases: Bool { get }

    /// What must be readable to whoever may read what is made of it.
    var files: [String] { get }

    /// What there is now, without a look into tables.
    func listCollections() throws -> [SourceCollection]

    /// A point's tables. Of a table with `SourceCut.delta` it has only what changed since the point
    /// before it; all others it has whole. Throws `UnsoundPoint` if it can't be a point.
    func openPoint(
        _ point: SourcePoint, of collection: String, _ request: CutRequest,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws -> any SourceCut
}

extension PointSource {
    package var files: [String] { [name] }
}

/// A point of which nothing can be taken in, as a look at its content has shown; others can.
package struct UnsoundPoint: Error, Sendable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// Points of one collection, in the order in which they were made.
package struct SourceCollection: Sendable, Equatable {
    package var name: String
    package var points: [SourcePoint]
    /// Lines that say which of its files are no points, and why.
    package var leftOut: [String]

    package init(name: String, points: [SourcePoint], leftOut: [String] = []) {
        self.name = name
        self.points = points
        self.leftOut = leftOut
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
    /// The file that it is, below the source, if it is one.
    package var file: String?

    package init(
        name: String, isIncremental: Bool, cut: Int64, version: String, refusal: String? = nil,
        file: String? = nil
    ) {
        self.name = name
        self.isIncremental = isIncremental
        self.cut = cut
        self.version = version
        self.refusal = refusal
        self.file = file
    }

    /// What points are called by: `20250821141519Z`.
    ///
    /// - Parameter seconds: since 1970; what years of four digits don't hold becomes the nearest that they do.
    package static func name(at seconds: Int64) -> String {
        let lastSecond: Int64 = 253_402_300_799
        var time = time_t(min(max(seconds, 0), lastSecond))
        var civil = tm()
        gmtime_r(&time, &civil)
        let parts = [
            civil.tm_year + 1900, civil.tm_mon + 1, civil.tm_mday, civil.tm_hour, civil.tm_min,
            civil.tm_sec,
        ]
        return parts.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined() + "Z"
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
