import Bytes
import Glibc
import Tables

/// A database file that restores are written into. One that doesn't exist is made aside, under a
/// hidden name in the same directory, and gets its own name once everything is in it.
package struct SQLiteDestination: RestoreDestination {
    package let name: String
    private let file: SourceFile
    private let mayCreate: Bool
    private let owner: FileOwner?

    /// - Parameters:
    ///   - mayCreate: whether the file may be missing.
    ///   - owner: whose a new one becomes, if root makes it.
    package init(path: String, busyTimeout: Double, mayCreate: Bool, owner: FileOwner? = nil) {
        name = path
        self.owner = owner
        file = SourceFile(path: path, busyTimeout: busyTimeout)
        self.mayCreate = mayCreate
    }

    private var isMissing: Bool { mayCreate && !file.hasFile("") }

    package var names: any TableNameRules { SQLiteNames() }

    package func form(of table: RestoredTable) throws -> RestoredForm {
        try ForeignTable.form(of: table)
    }

    package func obstacles(to restored: RestoredDatabase) throws -> [String] {
        if isMissing {
            guard access(directory, W_OK) == 0 else { throw Failure("can't create \(name)") }
            return try HiddenNames.obstacles(to: restored, nil)
        }
        let reader = try file.openReader()
        defer { reader.close() }
        guard access(name, W_OK) == 0 else { throw Failure("can't write \(name)") }
        return try HiddenNames.obstacles(to: restored, reader)
    }

    package func openRestore(
        _ restored: RestoredDatabase, attempt: RestoreAttempt
    ) throws -> any TableRestore {
        if isMissing {
            return try NewDatabase(
                name, in: directory, aside: aside(attempt.id), owner: owner, restored, attempt)
        }
        return try writing { connection in
            try SQLiteRestore(
                connection, restored, name: name, attempt: attempt, isShared: true,
                patience: file.busyTimeout)
        }
    }

    /// Gives a connection away that writes, and waits for others in small steps.
    private func writing<R>(_ body: (Connection) throws -> R) throws -> R {
        let stepSeconds = 0.25
        let connection = try SourceFile(
            path: name, busyTimeout: min(file.busyTimeout, stepSeconds)
        ).openWriter()
        do {
            return try body(connection)
        } catch {
            connection.close()
            throw error
        }
    }

    // MARK: Rows

    package func checkTargets(of rows: [RowTarget]) throws {
        try requireFile()
        let reader = try file.openReader()
        defer { reader.close() }
        guard access(name, W_OK) == 0 else { throw Failure("can't write \(name)") }
        let catalog = try Catalog(reader)
        for target in rows { _ = try LiveTable(target, catalog, of: name) }
    }

    package func openRows(
        _ rows: [RowTarget], rules: RowRules, attempt: RestoreAttempt
    ) throws -> any RowRestore {
        try requireFile()
        return try writing { connection in
            try SQLiteRows(
                connection, rows, name: name, rules: rules, attempt: attempt,
                patience: file.busyTimeout)
        }
    }

    private func requireFile() throws {
        if isMissing {
            throw Failure(
                .notFound,
                "there is no database \(name): rows go into tables that are there; RESTORE whole "
                    + "tables first")
        }
    }

    // MARK: Leftovers

    /// Files in the directory and tables in the database, if it is there.
    package func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws {
        if mayCreate { removeFiles(isGone) }
        if isMissing { return }
        let names = try file.reading { try HiddenNames.leftovers($0, isGone: isGone) }
        if names.isEmpty { return }
        // They can wait for another time if others write now.
        let patienceSeconds = min(2, file.busyTimeout)
        let connection = try SourceFile(path: name, busyTimeout: patienceSeconds).openWriter()
        defer { connection.close() }
        try HiddenNames.drop(names, connection)
    }

    /// The file that becomes the database.
    private func aside(_ attempt: String) -> String { "\(name).ydbfs-restore-\(attempt)" }

    private var directory: String { PathText.parent(name) }

    private func removeFiles(_ isGone: (_ attempt: String) -> Bool) {
        guard let stream = opendir(directory) else { return }
        defer { closedir(stream) }
        let prefix = "\(PathText.lastName(name)).ydbfs-restore-"
        while let entry = readdir(stream) {
            let found = PathText.name(entry)
            guard found.utf8.starts(with: prefix.utf8) else { continue }
            let attempt = Substring(found.utf8.dropFirst(prefix.utf8.count)).prefix { $0 != "-" }
            if isGone(String(attempt)) { unlink("\(directory)/\(found)") }
        }
    }
}
