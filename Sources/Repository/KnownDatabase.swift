import Bytes

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
    private static let databases = "databases"
    private static let databaseLimitBytes = 1 << 16

    /// Those that were accepted, oldest first; none of a repository that nobody has asked yet.
    package func knownDatabases() throws -> [KnownDatabase] {
        let numbers = try storage.list(Self.databases).compactMap(LogFile.number).sorted()
        return try numbers.map { number in
            let name = "\(Self.databases)/\(LogFile.name(number))"
            do {
                guard let bytes = try storage.read(name, limit: Self.databaseLimitBytes) else {
                    throw Failure(.corrupt, "it is missing")
                }
                _ = try Trailer.check(bytes)
                var json = JSONReader(bytes[...])
                return try KnownDatabase(json: &json)
            } catch let failure as Failure {
                throw Failure(failure.code, "\(storage.location)/\(name): \(failure.message)")
            }
        }
    }

    /// From here on its backups are this database's too.
    package func accept(_ database: KnownDatabase) throws {
        try checkPlace()
        var json = JSONWriter()
        database.write(json: &json)
        let bytes = Trailer.sealed(json.bytes).bytes
        var number = (try storage.list(Self.databases).compactMap(LogFile.number).max() ?? 0) + 1
        while try !storage.publish(bytes, as: "\(Self.databases)/\(LogFile.name(number))") {
            number += 1
        }
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
