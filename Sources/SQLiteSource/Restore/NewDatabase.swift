import Bytes
import Glibc
import Tables

/// A database that doesn't exist until it is complete.
final class NewDatabase: TableRestore {
    private let name: String
    private let aside: String
    private let directory: String
    private let restore: SQLiteRestore

    init(
        _ name: String, in directory: String, aside: String, owner: FileOwner?,
        _ restored: RestoredDatabase, _ attempt: RestoreAttempt
    ) throws {
        self.name = name
        self.aside = aside
        self.directory = directory
        let connection = try Connection(path: aside, access: .new, busyTimeout: 0)
        owner?.take(aside)
        do {
            // Nobody else sees the file, and it goes if anything goes wrong; but a statement that fails
            // for one table's sake must be undone, which takes a journal.
            for pragma in [
                "journal_mode = MEMORY", "synchronous = OFF", "locking_mode = EXCLUSIVE",
            ] {
                try connection.execute("PRAGMA \(pragma)")
            }
            // They must be set before there is anything in the file.
            if let facts = restored.facts {
                try connection.execute("PRAGMA encoding = \(literal(facts.encoding))")
                try connection.execute("PRAGMA page_size = \(facts.pageSize)")
                try connection.execute("PRAGMA auto_vacuum = \(facts.autoVacuum)")
            }
            restore = try SQLiteRestore(
                connection, restored, name: name, attempt: attempt, isShared: false, patience: 0)
        } catch {
            connection.close()
            unlink(aside)
            throw error
        }
    }

    func isRestored(_ table: Int) -> Bool { restore.isRestored(table) }
    func begin(_ table: Int) throws { try restore.begin(table) }
    func append(_ batch: RowBatch) throws { try restore.append(batch) }
    func inspect(_ table: Int) throws -> any RowCursor { try restore.inspect(table) }
    func leaveOut(_ table: Int, because reason: String) {
        restore.leaveOut(table, because: reason)
    }

    func publish() throws -> PublishedTables {
        let published = try restore.publish()
        try Self.sync(aside)
        // A link takes no name that is taken.
        guard link(aside, name) == 0 else { throw Failure("can't give \(aside) the name \(name)") }
        unlink(aside)
        try Self.sync(directory)
        return published
    }

    func abandon() {
        restore.abandon()
        unlink(aside)
    }

    private static func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Failure("can't write \(path)") }
    }
}
