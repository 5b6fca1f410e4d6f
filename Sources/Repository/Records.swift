import Bytes
import Tables

/// What `CREATE` and `ALTER BACKUP COLLECTION` have fixed.
package struct CollectionDefinition: Sendable, Equatable {
    package var name: String
    /// Paths, empty for a whole database.
    package var tables: [String]
    package var isDatabase: Bool
    package var settings: [String: String]
    /// What it is backed up from: `sqlite`, `ydb`, `dump`; nil where nobody said.
    package var sourceKind: String?
    /// The statement that makes the same collection again.
    package var sql: String
    /// Microseconds since 1970 of the first definition.
    package var time: Int64

    package init(
        name: String, tables: [String], isDatabase: Bool, settings: [String: String],
        sourceKind: String? = nil, sql: String, time: Int64
    ) {
        self.name = name
        self.tables = tables
        self.isDatabase = isDatabase
        self.settings = settings
        self.sourceKind = sourceKind
        self.sql = sql
        self.time = time
    }
}

package enum PointKind: String, Sendable { case full, incremental }

/// A data file as the entry that committed it describes it.
package struct FileReference: Sendable, Hashable {
    /// In the collection, increasing, never used again.
    package var number: UInt64
    /// 32 hexadecimal digits and `.parquet` or `.idx`.
    package var name: String
    /// The `tid` of the table whose rows it holds; nil for an index.
    package var table: String?
    package var bytes: UInt64
    package var rows: UInt64
    /// 64 hexadecimal digits.
    package var sha256: String

    package init(
        number: UInt64, name: String, table: String? = nil, bytes: UInt64, rows: UInt64,
        sha256: String
    ) {
        self.number = number
        self.name = name
        self.table = table
        self.bytes = bytes
        self.rows = rows
        self.sha256 = sha256
    }
}

/// A file that a table needs at a point, and how many of its rows the table shows there: none of an
/// index, and the fewer of a row file the more of it is dead.
package struct NeededFile: Sendable, Hashable {
    package var number: UInt64
    package var rows: UInt64

    package init(number: UInt64, rows: UInt64) {
        self.number = number
        self.rows = rows
    }
}

/// A table as one point shows it.
package struct TableRecord: Sendable, Equatable {
    /// Stable in the collection.
    package var id: UInt32
    /// 32 random hexadecimal digits, drawn when the path first entered the collection and kept as long
    /// as `id`: what its row files lie under.
    package var tid: String
    package var path: String
    package var schema: TableSchema
    /// What the next new column gets.
    package var nextColumnID: UInt32
    /// The source's own text of the table.
    package var sql: String
    package var rows: UInt64
    /// Against the parent.
    package var inserted: UInt64
    package var updated: UInt64
    package var deleted: UInt64
    /// Exact bytes of the rendered file, by format.
    package var sizes: [String: UInt64]
    /// Version of the rules that the sizes were made by, by format.
    package var formats: [String: Int]
    /// 32 hexadecimal digits.
    package var contentHash: String
    package var snapshot: BlockReference
    /// All files that reading it may need, by number.
    package var files: [NeededFile]
    /// True if the point carries the table whole instead of as changes to the parent's.
    package var isReset: Bool
    /// True if the source gave most rows other rowids since the parent, so that `inserted` and
    /// `deleted` tell nothing: rows are paired by their declared key.
    package var isRenumbered: Bool
    /// The highest number that the source ever gave to a row, where it counts them.
    package var sequence: Int64?
    /// Path of the virtual table whose content this one holds.
    package var shadowOf: String?
    /// What the user should know of how the table is backed up, a line each.
    package var notes: [String]
    package var traits: DumpedTraits

    package init(
        id: UInt32, tid: String, path: String, schema: TableSchema, nextColumnID: UInt32,
        sql: String, rows: UInt64, inserted: UInt64, updated: UInt64, deleted: UInt64,
        sizes: [String: UInt64], formats: [String: Int], contentHash: String,
        snapshot: BlockReference, files: [NeededFile], isReset: Bool, isRenumbered: Bool = false,
        sequence: Int64? = nil, shadowOf: String? = nil, notes: [String] = [],
        traits: DumpedTraits = DumpedTraits()
    ) {
        self.id = id
        self.tid = tid
        self.path = path
        self.schema = schema
        self.nextColumnID = nextColumnID
        self.sql = sql
        self.rows = rows
        self.inserted = inserted
        self.updated = updated
        self.deleted = deleted
        self.sizes = sizes
        self.formats = formats
        self.contentHash = contentHash
        self.snapshot = snapshot
        self.files = files
        self.isReset = isReset
        self.isRenumbered = isRenumbered
        self.sequence = sequence
        self.shadowOf = shadowOf
        self.notes = notes
        self.traits = traits
    }

    /// For a path that enters a collection.
    package static func newTID() -> String { randomHex() }
}

/// A table that should have been backed up and couldn't be.
package struct NotBackedUp: Sendable, Hashable {
    package var path: String
    package var reason: String

    package init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }
}

/// Whom a database's file belongs to, and who may do what with it.
package struct FileOwnership: Sendable, Hashable {
    package var owner: UInt32
    package var group: UInt32
    /// Permission bits.
    package var mode: UInt32

    package init(owner: UInt32, group: UInt32, mode: UInt32) {
        self.owner = owner
        self.group = group
        self.mode = mode
    }
}

/// A backup point as its entry holds it.
package struct PointRecord: Sendable, Equatable {
    /// In the collection, increasing, never used again.
    package var sequence: UInt64
    package var name: String
    package var kind: PointKind
    /// Sequence of the point that this one continues; nil for a full.
    package var parent: UInt64?
    /// SHA-256 of the parent's entry.
    package var parentHash: String?
    /// The instant shown, in microseconds since 1970.
    package var cut: Int64
    /// The operation that made it.
    package var operation: UInt64
    package var uid: String?
    /// Those that this point wrote.
    package var files: [FileReference]
    /// Those that changed since the parent; all of them in a full.
    package var tables: [TableRecord]
    /// Ids of tables that the parent had.
    package var removed: [UInt32]
    package var notBackedUp: [NotBackedUp]
    /// The source's text of what stands on no single table: views and their triggers. Only of a
    /// collection of a whole database.
    package var views: String
    /// What identified the database at the cut, where it has such numbers.
    package var facts: DatabaseFacts?
    /// Of the database's file at the cut, where it is one.
    package var ownership: FileOwnership?

    package init(
        sequence: UInt64, name: String, kind: PointKind, parent: UInt64? = nil,
        parentHash: String? = nil, cut: Int64, operation: UInt64, uid: String? = nil,
        files: [FileReference], tables: [TableRecord], removed: [UInt32] = [],
        notBackedUp: [NotBackedUp] = [], views: String = "",
        facts: DatabaseFacts? = nil, ownership: FileOwnership? = nil
    ) {
        self.sequence = sequence
        self.name = name
        self.kind = kind
        self.parent = parent
        self.parentHash = parentHash
        self.cut = cut
        self.operation = operation
        self.uid = uid
        self.files = files
        self.tables = tables
        self.removed = removed
        self.notBackedUp = notBackedUp
        self.views = views
        self.facts = facts
        self.ownership = ownership
    }
}

/// Files, by their place (`FilePlace`), and points that are about to go, or are gone.
package struct Condemnation: Sendable, Equatable {
    /// Files that entries named and no point needs any more. Removed after a delay, for whoever has
    /// just opened them.
    package var files: [String] = []
    /// Files that no entry ever named.
    package var leftovers: [String] = []
    /// Sequences of dropped points that can't be had back from here on, and of lost ones that nobody
    /// waits for any more.
    package var points: [UInt64] = []
    /// Files condemned earlier that are removed by now.
    package var gone: [String] = []

    package init() {}

    var isEmpty: Bool { files.isEmpty && leftovers.isEmpty && points.isEmpty }
}

/// Stands in place of an entry that is lost for good: what is behind it is read without it.
package struct LostEntry: Sendable, Equatable {
    /// The collection's name, for the case that its definition is what is lost.
    package var collection: String
    /// SHA-256 that the entry behind it says it had; nil if there is none.
    package var hash: String?
    /// Places of the files that no entry named when this was written: the lost one may have.
    package var kept: [String]
    /// Names of the points that the journal of operations knows to be lost with it.
    package var points: [String]
    /// Whether there were entries behind it: they tell which numbers were used. Behind the last one
    /// nobody knows.
    package var goesOn: Bool

    package init(
        collection: String, hash: String?, kept: [String], points: [String] = [],
        goesOn: Bool = false
    ) {
        self.collection = collection
        self.hash = hash
        self.goesOn = goesOn
        self.kept = kept
        self.points = points
    }
}

/// One step in the life of a collection. Points go by their sequence.
package enum LogEntry: Sendable, Equatable {
    /// The collection exists from here on, or is defined anew.
    case define(CollectionDefinition)
    case point(PointRecord)
    /// The collection is gone; its points are dropped, and their files stay until they are condemned.
    case drop
    /// These points don't show any more, but can be had back until they are condemned.
    case dropPoints([UInt64])
    case undropPoints([UInt64])
    /// These points can't be dropped.
    case pinPoints([UInt64])
    case unpinPoints([UInt64])
    /// These files are about to be removed: no later entry may use them.
    case condemn(Condemnation)
    /// The state before this entry, in a file beside the indexes: only for speed.
    case catalog(CatalogReference)
    /// What stood here is lost.
    case lost(LostEntry)
}
