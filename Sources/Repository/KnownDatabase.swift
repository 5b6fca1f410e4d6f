import Bytes
import Synchronization

/// A database that a repository's backups are of, as far as one can tell two files apart.
package struct KnownDatabase: Sendable, Equatable {
    /// Absolute, without symlinks.
    package var path: String
    package var device: UInt64
    package var inode: UInt64

    package init(path: String, device: UInt64, inode: UInt64) {
        self.path = path
        self.device = device
        self.inode = inode
    }

    /// The same path, whatever file is there now (restored ones are new files), or the same file under
    /// another name.
    package func isSame(as other: KnownDatabase) -> Bool {
        path.hasSameBytes(as: other.path) || (device == other.device && inode == other.inode)
    }
}

/// Which databases a repository belongs to, in `databases/NUMBER.json`: one file for each that was
/// accepted, written once. Backups of one database must never continue those of another unnoticed.
extension Repository {
    static let databases = "databases"
    static let databaseLimitBytes = 1 << 16

    /// Those that were accepted, oldest first; none of a repository that nobody has asked yet.
    package func knownDatabases() throws -> [KnownDatabase] { try readDatabases().known }

    /// Why it can't be told whether these are all; nil if they are.
    package func databaseDamage() -> Failure? {
        do {
            let (known, damaged) = try readDatabases()
            return damaged.first?.failure ?? (known.isEmpty ? lostDatabases : nil)
        } catch {
            return Self.failure(error)
        }
    }

    /// Why it isn't right that no database is known; nil if it is. Points of a database were never made
    /// without saying of which.
    var lostDatabases: Failure? {
        let isOfDatabase = logs.withLock { logs in
            logs.values.compactMap(\.state).contains {
                !$0.points.isEmpty && $0.lastDefinition?.sourceKind == nil
            }
        }
        if !isOfDatabase { return nil }
        return Failure(
            .corrupt,
            "\(storage.location)/\(Self.databases) has lost what it held: it said whose backups these "
                + "are")
    }

    /// Those that can be read, and by name of their files why others can't be.
    func readDatabases() throws -> (
        known: [KnownDatabase], damaged: [(name: String, failure: Failure)]
    ) {
        var known: [KnownDatabase] = []
        var damaged: [(name: String, failure: Failure)] = []
        for number in try storage.numbers(in: Self.databases) {
            let name = "\(Self.databases)/\(LogFile.name(number))"
            do {
                let database: KnownDatabase? = try storage.record(
                    name, limit: Self.databaseLimitBytes)
                if let database { known.append(database) }
            } catch let failure as Failure where failure.code == .corrupt {
                damaged.append((name, failure))
            }
        }
        return (known, damaged)
    }

    /// From here on its backups are this database's too.
    package func accept(_ database: KnownDatabase) throws {
        try checkPlace()
        try storage.add(database, to: Self.databases)
    }
}

extension KnownDatabase: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(path: member("path"), device: member("device"), inode: member("inode"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("path", path)
            json.member("device", device)
            json.member("inode", inode)
        }
    }
}
