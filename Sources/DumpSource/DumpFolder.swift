import Bytes
import Tables

/// The folder of one point.
struct DumpFolder: Sendable {
    let path: String
    /// Where its tables lie, and what isn't one, by path; nil if that is told by the folders in it.
    let tables: [(path: String, directory: String)]?

    init(path: String, tables: [(path: String, directory: String)]? = nil) {
        self.path = path
        self.tables = tables
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
        try DumpFiles.exists(directory + "/" + schemeName)
    }

    // MARK: From outside

    struct Look {
        var version = ""
        /// Of the newest file, in nanoseconds since 1970.
        var modified: Int64 = 0
        /// A folder in it that isn't finished.
        var incomplete: String?
        var hasTables = false
    }

    /// Looks at every file from outside.
    func look() throws(Failure) -> Look {
        var look = Look()
        let text = ByteBuffer()
        text.append("\(path.split(separator: "/").last ?? "")\n")
        try walk { (folder, name, status) throws(Failure) in
            if !status.isDirectory { look.modified = max(look.modified, status.modified) }
            text.append("\(folder.place)/\(name)\u{0}\(status.bytes) \(status.modified)\n")
            if name == Self.incomplete, look.incomplete == nil {
                look.incomplete = folder.directory
            }
            if name == Self.schemeName { look.hasTables = true }
            return true
        }
        let hash = Checksum.xxh3(text)
        let digits = String(hash, radix: 16)
        look.version = "dump-" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return look
    }

    /// Whether tables lie somewhere below; and a file that no tool of YDB has written, if none may be
    /// there: then hardly more is looked at.
    func files(
        mayHaveStrangers: Bool = false
    ) throws(Failure) -> (hasTables: Bool, stranger: String?) {
        var found: (hasTables: Bool, stranger: String?) = (false, nil)
        try walk { (folder, name, status) throws(Failure) in
            if name == Self.schemeName { found.hasTables = true }
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
        let name = DumpFiles.plainName(name)
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
        for (table, directory) in tables {
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
        var found: [SourceTable] = []
        if let tables {
            for (path, _) in tables {
                if let table = try table(path) { found.append(table) }
            }
        } else {
            try walk { (folder, name, status) throws(Failure) in
                guard status.isDirectory else { return false }
                if folder.place.isEmpty, name == Self.metaName { return false }
                let table = try table(String((folder.place + "/" + name).dropFirst()))
                if let table { found.append(table) }
                // Its indexes and changefeeds lie within.
                return table.map { $0.refusal != nil } ?? true
            }
        }
        return found.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    /// Nil if its folder only holds others.
    private func table(_ table: String) throws(Failure) -> SourceTable? {
        if try Self.isTable(directory(of: table)) { return SourceTable(path: table) }
        let names = try DumpFiles.names(in: directory(of: table))
        if let object = names.first(where: Self.isObject) {
            return SourceTable(
                path: table, refusal: "\(table) is no table: the dump has \(object) of it")
        }
        guard names.contains("data_00.csv") else { return nil }
        return SourceTable(
            path: table, refusal: "\(file(Self.schemeName, of: table)) is missing")
    }

    private static func isObject(_ name: String) -> Bool {
        name.hasPrefix("create_") || name == "system_view.pb"
    }

    private func directory(of table: String) -> String {
        tables?.first { $0.path.hasSameBytes(as: table) }?.directory ?? path + "/" + table
    }

    private func file(_ name: String, of table: String) -> String {
        directory(of: table) + "/" + name
    }

    /// Nil if there is no such table.
    func scheme(of table: String) throws(Failure) -> DumpScheme? {
        let file = file(Self.schemeName, of: table)
        guard try DumpFiles.exists(file) else { return nil }
        return try DumpScheme(DumpFiles.text(file), file: file)
    }

    /// The data files of a table, all that there must be.
    func dataFiles(of table: String) throws(Failure) -> [String] {
        var numbers: [(number: Int, name: String)] = []
        for name in try DumpFiles.names(in: directory(of: table))
        where name.hasPrefix("data_") && name.hasSuffix(".csv") {
            let digits = name.dropFirst(5).dropLast(4)
            guard digits.utf8.count >= 2, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(digits)
            else { throw Failure(.corrupt, "\(file(name, of: table)): no name of a data file") }
            numbers.append((number, name))
        }
        numbers.sort { $0.number < $1.number }
        for (index, found) in numbers.enumerated() where found.number != index {
            throw missing(index, of: table)
        }
        if numbers.isEmpty { throw missing(0, of: table) }
        return numbers.map { file($0.name, of: table) }
    }

    private func missing(_ number: Int, of table: String) -> Failure {
        let name = number < 10 ? "data_0\(number).csv" : "data_\(number).csv"
        return Failure(.corrupt, "\(file(name, of: table)) is missing")
    }
}
