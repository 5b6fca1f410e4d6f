import Bytes

/// What a server's export says of all that is in it: `SchemaMapping/mapping.json` knows the database's
/// paths of what lies in folders with other names.
struct DumpMapping {
    private let directory: String
    private let key: DumpKey
    private var objects: [(path: [String], directory: String)] = []

    private static let folder = "/SchemaMapping"
    private static let rootKinds: Set = ["SimpleExportV0"]

    static func exists(in directory: String) throws(Failure) -> Bool {
        try DumpFiles.status(directory + folder)?.isDirectory == true
    }

    /// Nil if the directory has none.
    init?(_ directory: String, _ key: DumpKey) throws(Failure) {
        self.directory = directory
        self.key = key
        guard try Self.exists(in: directory) else { return nil }
        let root = try DumpFile.find("metadata.json", in: directory)
        if let root, let kind = try root.json()["kind"]?.text, !Self.rootKinds.contains(kind) {
            throw Failure(
                .unsupported, "\(root.path): an export of kind \(kind) isn't known to this version")
        }
        guard let file = try DumpFile.find("mapping.json", in: directory + Self.folder, key)
        else {
            throw Failure(.corrupt, "\(directory)\(Self.folder)/mapping.json is missing")
        }
        let exported = try file.json()["exportedObjects"]?.members ?? []
        for (path, object) in exported {
            let names = Self.names(path)
            let prefix = Self.names(object["exportPrefix"]?.text ?? "")
            guard !names.isEmpty, !prefix.isEmpty, !(names + prefix).contains("..") else {
                throw Failure(
                    .corrupt, "\(file.path): \(path) can't lie at \(prefix.joined(separator: "/"))")
            }
            objects.append((names, try place(prefix)))
        }
        guard !objects.isEmpty else {
            throw Failure(.corrupt, "\(file.path): nothing was exported")
        }
        objects.sort { $0.path.lexicographicallyPrecedes($1.path) }
        if exported.allSatisfy({ $0.name.hasPrefix("/") }) { dropCommonFolders() }
    }

    private static func names(_ path: String) -> [String] {
        path.split(separator: "/").map(String.init)
    }

    /// A prefix is one within the export's own, which may stand before it.
    private func place(_ prefix: [String]) throws(Failure) -> String {
        for count in prefix.indices {
            let place = directory + "/" + prefix.dropFirst(count).joined(separator: "/")
            if try DumpFiles.exists(place) { return place }
        }
        return directory + "/" + prefix.joined(separator: "/")
    }

    /// Of what isn't a collection's, only the folders below the one that holds all are of interest.
    private mutating func dropCommonFolders() {
        let others = objects.map(\.path).filter { Self.point(in: $0) == nil }
        guard var common = others.first?.dropLast() else { return }
        for path in others {
            let count = zip(common, path.dropLast()).prefix { $0 == $1 }.count
            common = common.prefix(count)
        }
        for index in objects.indices where Self.point(in: objects[index].path) == nil {
            objects[index].path.removeFirst(common.count)
        }
    }

    /// Where in a path the folder of a point is.
    private static func point(in path: [String]) -> Int? {
        path.dropLast().firstIndex(where: DumpName.isPoint)
    }

    /// - Parameter name: for tables outside of collections, and a collection without a name.
    func collections(named name: String) throws(Failure) -> [DumpCollection] {
        var found: [String: [String: [(path: String, directory: String)]]] = [:]
        var others: [(path: String, directory: String)] = []
        for (path, directory) in objects {
            guard let point = Self.point(in: path) else {
                others.append((path.joined(separator: "/"), directory))
                continue
            }
            let collection = point > 0 ? path[point - 1] : name
            let table = path[(point + 1)...].joined(separator: "/")
            found[collection, default: [:]][path[point], default: []].append((table, directory))
        }
        var collections = found.map { name, points in
            DumpCollection(
                name: name,
                points: points.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                    .map {
                        (
                            $0.key,
                            DumpFolder(
                                path: directory, tables: $0.value, key: key, hasMapping: true)
                        )
                    })
        }
        if !others.isEmpty {
            guard found[name] == nil else {
                throw Failure(
                    .invalid,
                    "\(directory) holds a collection \(name) and other tables: rename the directory"
                )
            }
            let folder = DumpFolder(path: directory, tables: others, key: key, hasMapping: true)
            collections.append(
                DumpCollection(name: name, points: [(DumpName.full(folder: name), folder)]))
        }
        return collections.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

/// What a server's export says of one table: `metadata.json`.
struct DumpMetadata {
    let hasChecksums: Bool

    /// Nil for what no server has exported.
    init?(of directory: String, _ key: DumpKey) throws(Failure) {
        guard let file = try DumpFile.find("metadata.json", in: directory, key) else { return nil }
        hasChecksums = (try file.json()["version"]?.integer ?? 0) > 0
    }
}

extension DumpFile {
    fileprivate func json() throws(Failure) -> DumpJSON { try DumpJSON(text(), file: path) }
}
