import Bytes

/// A collection as it lies in a dump.
struct DumpCollection {
    var name: String
    /// In the order of their names, as YDB has it, whatever time these tell. A tree that is one point
    /// may have no name for it.
    var points: [(name: String?, folder: DumpFolder)]
}

/// What a directory with a dump holds: the points of a collection, several such directories, dumps
/// called by their time, or otherwise the tables of a single point.
struct DumpLayout {
    let directory: String
    let key: DumpKey

    func collections() throws(Failure) -> [DumpCollection] {
        let name = PathText.lastName(directory)
        if let mapping = try DumpMapping(directory, key) {
            return try mapping.collections(named: name)
        }
        if let found = try collection(name, in: directory) { return [found] }
        if let found = try dumps(name, in: directory) { return [found] }
        var others: [(name: String, directory: String)] = []
        var found: [DumpCollection] = []
        for child in try DumpFiles.names(in: directory) {
            let place = directory + "/" + child
            guard try DumpFiles.status(place)?.isDirectory == true else { continue }
            if let collection = try collection(child, in: place) {
                found.append(collection)
            } else {
                others.append((child, place))
            }
        }
        var hasTables = false
        for (_, place) in others where try DumpFolder.isTable(place) { hasTables = true }
        if found.isEmpty || hasTables { return [try tree(name, in: directory)] }
        for (name, place) in others where try isTree(place) {
            found.append(try tree(name, in: place))
        }
        return found.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private func collection(
        _ name: String, in directory: String
    ) throws(Failure) -> DumpCollection? {
        let points = try points(in: directory)
        if points.isEmpty { return nil }
        if try DumpFiles.exists(directory + "/" + DumpFolder.incomplete) {
            throw DumpFolder.unfinished(directory)
        }
        return DumpCollection(
            name: name,
            points: points.map { ($0, DumpFolder(path: directory + "/" + $0, key: key)) })
    }

    /// None if tables lie beside them: a database's tables may be called as points are.
    private func points(in directory: String) throws(Failure) -> [String] {
        let names = try DumpFiles.names(in: directory)
        guard names.contains(where: DumpName.isPoint) else { return [] }
        var points: [String] = []
        for name in names {
            let place = directory + "/" + name
            if try DumpFolder.isTable(place) { return [] }
            if DumpName.isPoint(name), try DumpFiles.status(place)?.isDirectory == true {
                points.append(name)
            }
        }
        return points
    }

    /// Dumps of one database, each in a folder that is called by its time as `ydb tools dump` does it: full
    /// points. Nil if anything else lies beside them.
    private func dumps(
        _ name: String, in directory: String
    ) throws(Failure) -> DumpCollection? {
        var points: [(name: String?, folder: DumpFolder)] = []
        for child in try DumpFiles.names(in: directory) {
            let place = directory + "/" + child
            guard let point = DumpName.full(folder: child), try !DumpFolder.isTable(place),
                try DumpFiles.status(place)?.isDirectory == true
            else { return nil }
            points.append((point, DumpFolder(path: place, key: key)))
        }
        return points.isEmpty ? nil : DumpCollection(name: name, points: points)
    }

    /// All tables somewhere below are one point.
    private func tree(_ name: String, in directory: String) throws(Failure) -> DumpCollection {
        // A table that was dumped alone is the directory itself.
        let isTable = try DumpFolder.isTable(directory)
        let folder = DumpFolder(
            path: directory, tables: isTable ? [(name, directory)] : nil, key: key)
        return DumpCollection(name: name, points: [(DumpName.full(folder: name), folder)])
    }

    // MARK: What it is

    /// Why it is no dump; nil if it looks like one.
    var refusal: String? {
        do throws(Failure) {
            if try DumpMapping.exists(in: directory) { return nil }
            if try !points(in: directory).isEmpty { return nil }
            for child in try DumpFiles.names(in: directory) {
                let place = directory + "/" + child
                guard try DumpFiles.status(place)?.isDirectory == true else { continue }
                if try !points(in: place).isEmpty { return nil }
            }
            // Where YDB's tools have put a file in front others may lie, too.
            let (hasTables, stranger) = try DumpFolder(path: directory, key: key).files(
                mayHaveStrangers: DumpFiles.exists(directory + "/permissions.pb"))
            if let stranger { return "\(stranger) is no file of such a dump" }
            return hasTables ? nil : "there is no scheme.pb in it"
        } catch {
            return error.message
        }
    }

    private func isTree(_ directory: String) throws(Failure) -> Bool {
        let files = try DumpFolder(path: directory, key: key).files()
        return files.hasTables && files.stranger == nil
    }
}
