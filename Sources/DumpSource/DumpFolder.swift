import Bytes
import Tables

/// The folder of one point.
struct DumpFolder: Sendable {
    let path: String
    /// Where its tables lie, and what isn't one, by path; nil if that is told by the folders in it.
    let tables: [(path: String, directory: String)]?
    private let key: DumpKey
    /// The key is known to be right: an export's mapping was read with it.
    private let hasMapping: Bool

    init(
        path: String, tables: [(path: String, directory: String)]? = nil, key: DumpKey,
        hasMapping: Bool = false
    ) {
        self.path = path
        self.tables = tables
        self.key = key
        self.hasMapping = hasMapping
    }

    /// A file of this name marks a folder that isn't finished.
    static let incomplete = "incomplete"
    private static let schemeName = "scheme.pb"
    /// Where YDB keeps changes of indexes: no tables of the user's.
    private static let metaName = "__ydb_backup_meta"
    private static let maxDepth = 64

    static func unfinished(_ path: String) -> Failure {
        Failure(
            .invalid,
            "\(path) holds a file named \(incomplete): it is being dumped, or the dump ended too early"
        )
    }

    static func isTable(_ directory: String) throws(Failure) -> Bool {
        try DumpFile.find(schemeName, in: directory) != nil
    }

    // MARK: From outside

    struct Look {
        var version = ""
        /// Of the newest file, in nanoseconds since 1970.
        var modified: Int64 = 0
        /// A folder in it that isn't finished.
        var incomplete: String?
        var hasTables = false
        /// Files of tables that need a key.
        var encrypted: [String] = []
    }

    /// Looks at every file from outside.
    func look() throws(Failure) -> Look {
        var look = Look()
        let text = ByteBuffer()
        text.append("\(PathText.lastName(path))\n")
        try walk { (folder, name, status) throws(Failure) in
            if !status.isDirectory { look.modified = max(look.modified, status.modified) }
            text.append("\(folder.place)/\(name)\u{0}\(status.bytes) \(status.modified)\n")
            if name == Self.incomplete, look.incomplete == nil {
                look.incomplete = folder.directory
            }
            if DumpFile.plainName(name) == Self.schemeName { look.hasTables = true }
            if name == Self.schemeName + ".enc" {
                look.encrypted.append(folder.directory + "/" + name)
            }
            return true
        }
        let hash = Checksum.xxh3(text)
        let digits = String(hash, radix: 16)
        look.version = "dump-" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return look
    }

    /// Throws if none of these files can be opened with the key: tables that can't be read for want of it
    /// aren't broken.
    func requireKey(for encrypted: [String]) throws(Failure) {
        if hasMapping { return }
        var failure: Failure?
        for path in encrypted {
            do throws(Failure) {
                _ = try DumpFile(path: path, key: key).open()
                return
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Whether tables lie somewhere below; and a file that no tool of YDB has written, if none may be
    /// there: then hardly more is looked at.
    func files(
        mayHaveStrangers: Bool = false
    ) throws(Failure) -> (hasTables: Bool, stranger: String?) {
        var found: (hasTables: Bool, stranger: String?) = (false, nil)
        try walk { (folder, name, status) throws(Failure) in
            if DumpFile.plainName(name) == Self.schemeName { found.hasTables = true }
            if mayHaveStrangers { return !found.hasTables }
            if !status.isDirectory, found.stranger == nil, !Self.isKnown(name) {
                found.stranger = folder.directory + "/" + name
            }
            return found.stranger == nil
        }
        return found
    }

    /// Whether YDB's tools, or ours, call a file so. What is hidden is nobody's business.
    private static func isKnown(_ name: String) -> Bool {
        let name = DumpFile.plainName(name)
        return knownNames.contains(name) || name.hasSuffix(".pb") || name.hasPrefix(".")
            || name.hasPrefix("data_") || name.hasPrefix("create_") && name.hasSuffix(".sql")
    }

    private static let knownNames: Set = [
        incomplete, "incomplete.csv", "empty_dir", "metadata.json", "mapping.json",
        "alter_group.sql", "README",
    ]

    /// A folder in it: the place that it has for users, and where it lies.
    private struct Place {
        var place: String
        var directory: String
    }

    /// Calls `visit` for all files and folders in it, in order; it answers whether to go into a
    /// folder.
    private func walk(
        _ visit: (_ folder: Place, _ name: String, DumpFiles.Status) throws(Failure) -> Bool
    ) throws(Failure) {
        guard let tables else { return try walk(Place(place: "", directory: path), 0, visit) }
        for (table, directory) in tables where try DumpFiles.exists(directory) {
            try walk(Place(place: "/" + table, directory: directory), 0, visit)
        }
    }

    private func walk(
        _ folder: Place, _ depth: Int,
        _ visit: (_ folder: Place, _ name: String, DumpFiles.Status) throws(Failure) -> Bool
    ) throws(Failure) {
        guard depth < Self.maxDepth else {
            throw Failure(.invalid, "\(folder.directory): folders lie too deep")
        }
        for name in try DumpFiles.names(in: folder.directory) {
            let inner = Place(
                place: folder.place + "/" + name, directory: folder.directory + "/" + name)
            guard let status = try DumpFiles.status(inner.directory) else { continue }
            let enters = try visit(folder, name, status)
            if status.isDirectory, enters { try walk(inner, depth + 1, visit) }
        }
    }

    // MARK: Tables

    /// Tables, and what isn't one, by path.
    func listTables() throws(Failure) -> [SourceTable] {
        if let tables { return try listed(tables) }
        var found: [SourceTable] = []
        try walk { (folder, name, status) throws(Failure) in
            guard status.isDirectory else { return false }
            if folder.place.isEmpty, name == Self.metaName { return false }
            let table = try table(String((folder.place + "/" + name).dropFirst()))
            if let table { found.append(table) }
            // Its indexes and changefeeds lie within.
            return table.map { $0.refusal != nil } ?? true
        }
        return found.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    /// Those that an export lists, without what belongs to one of them.
    private func listed(
        _ tables: [(path: String, directory: String)]
    ) throws(Failure) -> [SourceTable] {
        var found: [SourceTable] = []
        let paths = tables.map(\.path).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        for path in paths where !path.hasPrefix(Self.metaName + "/") {
            if found.contains(where: { $0.refusal == nil && path.hasPrefix($0.path + "/") }) {
                continue
            }
            found.append(
                try table(path)
                    ?? SourceTable(
                        path: path,
                        refusal: "\(directory(of: path))/\(Self.schemeName) is missing"))
        }
        return found
    }

    /// Nil if its folder isn't there, or only holds others.
    private func table(_ table: String) throws(Failure) -> SourceTable? {
        let directory = directory(of: table)
        guard try DumpFiles.exists(directory) else { return nil }
        if try Self.isTable(directory) { return SourceTable(path: table) }
        let names = try DumpFiles.names(in: directory)
        if let object = names.first(where: Self.isObject) {
            return SourceTable(
                path: table, refusal: "\(table) is no table: the dump has \(object) of it")
        }
        guard names.contains(where: Self.isData) else { return nil }
        return SourceTable(path: table, refusal: "\(directory)/\(Self.schemeName) is missing")
    }

    private static func isObject(_ name: String) -> Bool {
        name.hasPrefix("create_") || name == "system_view.pb"
    }

    func directory(of table: String) -> String {
        tables?.first { $0.path.hasSameBytes(as: table) }?.directory ?? path + "/" + table
    }

    /// Nil if there is no such table.
    func scheme(of table: String) throws(Failure) -> DumpScheme? {
        guard let file = try DumpFile.find(Self.schemeName, in: directory(of: table), key)
        else {
            return nil
        }
        return try DumpScheme(file.text(), file: file.path)
    }

    // MARK: Data

    private static func isData(_ name: String) -> Bool { name.hasPrefix("data_") }

    /// The data files of a table, all that there must be. Only a server's export tells how many.
    func dataFiles(of table: String, _ scheme: DumpScheme) throws(Failure) -> [DumpFile] {
        let directory = directory(of: table)
        let metadata = try DumpMetadata(of: directory, key)
        let names = try DumpFiles.names(in: directory)
        let whole = Set(
            names.filter { !$0.hasSuffix(DumpFile.checksumEnding) }.map(DumpFile.plainName))
        for name in names where name.hasSuffix(DumpFile.checksumEnding) {
            let plain = DumpFile.plainName(name)
            guard whole.contains(plain) else {
                throw Failure(
                    .corrupt, "\(directory)/\(plain) is missing, and its checksum is there")
            }
        }
        var found: [(number: Int, file: DumpFile)] = []
        for name in names
        where Self.isData(name) && !name.hasSuffix(DumpFile.checksumEnding) {
            let path = directory + "/" + name
            let plain = DumpFile.plainName(name)
            let digits = plain.dropFirst(5).dropLast(4)
            if plain.hasSuffix(".parquet") {
                throw Failure(.unsupported, "\(path): Parquet in exports isn't read yet")
            }
            guard plain.hasSuffix(".csv"), digits.utf8.count >= 2,
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits)
            else { throw Failure(.corrupt, "\(path): no name of a data file") }
            found.append(
                (
                    number,
                    DumpFile(path: path, needsChecksum: metadata?.hasChecksums == true, key: key)
                ))
        }
        found.sort { $0.number < $1.number }
        for index in 0..<max(found.count, metadata == nil ? 1 : scheme.partitions) {
            guard index < found.count, found[index].number <= index else {
                let name = index < 10 ? "data_0\(index).csv" : "data_\(index).csv"
                throw Failure(.corrupt, "\(directory)/\(name) is missing")
            }
            if found[index].number < index {
                throw Failure(
                    .corrupt, "\(found[index].file.path) is there in another form as well")
            }
        }
        guard metadata == nil || found.count == scheme.partitions else {
            throw Failure(
                .corrupt,
                "\(found[scheme.partitions].file.path): the table has only \(scheme.partitions) "
                    + (scheme.partitions == 1 ? "part" : "parts"))
        }
        return found.map(\.file)
    }
}
