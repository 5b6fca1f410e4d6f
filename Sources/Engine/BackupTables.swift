import Bytes
import Repository
import Tables

/// The tables of one backup, each on its own: one that can't be read is left out, with the reason, and
/// doesn't stop the others.
struct BackupTables {
    private let backup: TableBackup
    private let files: DataFiles
    private let isIncremental: Bool
    /// The tables of the newest point that this backup hasn't come to yet; in the end, those that it
    /// lacks. By bytes: names that only look alike are different tables.
    private var before: [[UInt8]: TableRecord]
    /// Ids of tables whose names others have taken: with another storage key.
    private(set) var replaced: [UInt32] = []
    private var count = 0
    private(set) var records: [TableRecord] = []
    private(set) var notBackedUp: [NotBackedUp]

    /// - Parameters:
    ///   - before: the tables of the newest point.
    ///   - refused: what is known not to be in it.
    init(
        _ backup: TableBackup, _ files: DataFiles, isIncremental: Bool, before: [TableRecord],
        refused: [NotBackedUp]
    ) {
        self.backup = backup
        self.files = files
        self.isIncremental = isIncremental
        self.before = Dictionary(
            before.map { (Array($0.path.utf8), $0) }, uniquingKeysWith: { first, _ in first })
        notBackedUp = refused
    }

    /// Backs up a table, or leaves it out. Throws what has nothing to do with the table.
    mutating func add(_ path: String) throws {
        do {
            try backUp(path)
        } catch let unreadable as UnreadableTable {
            leaveOut(path, unreadable.reason)
        } catch let failure as Failure where failure.code == .corrupt {
            // Rows that can't be as they are, such as a key that comes twice.
            leaveOut(path, failure.message)
        }
    }

    private mutating func backUp(_ path: String) throws {
        let name = Array(path.utf8)
        let known = before[name]
        let record: TableRecord?
        if isIncremental, let known {
            record = try backup.incremental(path, parent: known)
        } else {
            record = try backup.full(path, known: known, isReset: isIncremental)
        }
        if let record {
            records.append(record)
            if let known, known.id != record.id { replaced.append(known.id) }
        }
        files.endTable()
        before[name] = nil
        count += 1
    }

    private mutating func leaveOut(_ path: String, _ reason: String) {
        files.abandonTable()
        notBackedUp.append(NotBackedUp(path: path, reason: reason))
    }

    /// Tables of the newest point that aren't in this one, by path.
    var gone: [TableRecord] {
        before.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
    }

    /// To be called behind the last table. Throws if not one of those that there are could be read.
    mutating func finish() throws {
        notBackedUp.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        guard count == 0, let first = notBackedUp.first else { return }
        throw Failure(.unsupported, "none of its tables can be backed up: \(first.line)")
    }
}

extension BackupJob {
    /// What a point lacks that the one before it had is said.
    func noteGone(
        _ gone: [TableRecord], since parent: String, _ definition: CollectionDefinition,
        notBackedUp: [NotBackedUp]
    ) throws {
        let omitted = try CollectionSettings(stored: definition.settings).omitTables
        let shown = 20
        for table in gone.prefix(shown) {
            func isNamed(in paths: [String]) -> Bool {
                paths.contains { $0.hasSameBytes(as: table.path) }
            }
            if isNamed(in: notBackedUp.map(\.path)) {
                note("table \(table.path) is not in this point, though it is in \(parent)")
            } else if isNamed(in: omitted) || table.shadowOf.map(omitted.contains) == true {
                note("table \(table.path) is omitted from here on (OMIT_TABLES)")
            } else if !definition.isDatabase, !isNamed(in: definition.tables) {
                note("table \(table.path) is no member of the collection any more")
            } else {
                note("table \(table.path) is gone from the database")
            }
        }
        if gone.count > shown {
            note("\(gone.count - shown) more tables of \(parent) are not in this point")
        }
    }
}
