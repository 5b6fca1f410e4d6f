import Bytes
import Tables

/// Backup collections of YDB that `ydb tools dump` has written to a directory: a folder for each point,
/// named as YDB named it, `…_full` or `…_incremental`. Nothing is ever written there.
/// ```
/// DIRECTORY/20250821141519Z_full/orders/           scheme.pb data_00.csv … permissions.pb
///           20250821151519Z_incremental/orders/    the same, with change markers
/// DIRECTORY/shop/20250821141519Z_full/…            several collections, a folder each
/// ```
package struct DumpSource: PointSource {
    package let name: String
    package let kind = "dump"
    private let sortLimits: SortLimits

    /// Looks at nothing yet.
    package init(directory: String, sortLimits: SortLimits = .init()) {
        name = directory
        self.sortLimits = sortLimits
    }

    private static let (fullEnding, incrementalEnding) = ("_full", "_incremental")

    /// Whether a directory looks like a dump of collections.
    package static func isDump(_ directory: String) -> Bool {
        func points(_ place: String) -> Bool {
            guard let names = try? DumpFiles.names(in: place) else { return false }
            return names.contains { name in
                isPoint(name) && (try? DumpFiles.status(place + "/" + name))??.isDirectory == true
            }
        }
        return points(directory)
            || (try? DumpFiles.names(in: directory))?.contains { points(directory + "/" + $0) }
                == true
    }

    private static func isPoint(_ name: String) -> Bool {
        name.hasSuffix(fullEnding) || name.hasSuffix(incrementalEnding)
    }

    // MARK: Collections

    package func listCollections() throws -> [SourceCollection] {
        let names = try DumpFiles.names(in: name)
        if names.contains(DumpFolder.incomplete) { throw DumpFolder.unfinished(name) }
        if names.contains(where: Self.isPoint) {
            return [try collection(lastComponent, in: name, names)]
        }
        var collections: [SourceCollection] = []
        for child in names {
            let directory = name + "/" + child
            guard try DumpFiles.status(directory)?.isDirectory == true else { continue }
            let names = try DumpFiles.names(in: directory)
            guard names.contains(where: Self.isPoint) else { continue }
            if names.contains(DumpFolder.incomplete) { throw DumpFolder.unfinished(directory) }
            collections.append(try collection(child, in: directory, names))
        }
        guard !collections.isEmpty else {
            throw Failure(
                .notFound, "\(name) has no backups in it: no folders *_full or *_incremental")
        }
        return collections
    }

    private var lastComponent: String { String(name.split(separator: "/").last ?? "dump") }

    /// Points in the order of their names, as YDB has it, whatever time these tell.
    private func collection(
        _ collection: String, in directory: String, _ names: [String]
    ) throws -> SourceCollection {
        var points: [SourcePoint] = []
        for name in names where Self.isPoint(name) {
            let folder = DumpFolder(path: directory + "/" + name)
            guard try DumpFiles.status(folder.path)?.isDirectory == true else { continue }
            let look = try folder.look()
            let isIncremental = name.hasSuffix(Self.incrementalEnding)
            // YDB backs up no empty collection, and other directories have such names too.
            let isEmpty = !isIncremental && !look.hasTables
            points.append(
                SourcePoint(
                    name: name, isIncremental: isIncremental,
                    cut: Self.time(name) ?? look.modified / 1000, version: look.version,
                    refusal: look.incomplete.map { DumpFolder.unfinished($0).message }
                        ?? (isEmpty ? "\(folder.path) holds no table: no scheme.pb" : nil)))
        }
        return SourceCollection(name: collection, points: points)
    }

    /// The time that a point's name begins with, `20250821141519Z`, in microseconds since 1970.
    private static func time(_ name: String) -> Int64? {
        let digits = name.utf8.prefix(14).map { Int64($0) - 0x30 }
        guard digits.count == 14, digits.allSatisfy({ (0...9).contains($0) }),
            name.utf8.dropFirst(14).first == UInt8(ascii: "Z")
        else { return nil }
        func number(_ range: Range<Int>) -> Int64 { digits[range].reduce(0) { $0 * 10 + $1 } }
        let (month, day) = (number(4..<6), number(6..<8))
        guard (1...12).contains(month), (1...31).contains(day) else { return nil }
        let time = number(8..<10) * 3600 + number(10..<12) * 60 + number(12..<14)
        return (DumpTime.days(number(0..<4), month, day) * 86_400 + time) * 1_000_000
    }

    // MARK: Points

    package func openPoint(_ point: SourcePoint, of collection: String) throws -> any SourceCut {
        var directory = name
        let names = try DumpFiles.names(in: name)
        if !names.contains(where: Self.isPoint) { directory += "/" + collection }
        // The full that it stands on tells what the tables' columns were made of.
        let base = try DumpFiles.names(in: directory).last {
            $0.hasSuffix(Self.fullEnding) && $0.utf8.lexicographicallyPrecedes(point.name.utf8)
        }
        return DumpCut(
            point, folder: DumpFolder(path: directory + "/" + point.name),
            base: base.map { DumpFolder(path: directory + "/" + $0) },
            sortLimits: sortLimits)
    }
}

/// The folder of one point.
struct DumpFolder: Sendable {
    let path: String

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
        try walk("") { (place, name, status) throws(Failure) in
            look.modified = max(look.modified, status.modified)
            text.append("\(place)/\(name)\u{0}\(status.bytes) \(status.modified)\n")
            if name == Self.incomplete, look.incomplete == nil { look.incomplete = path + place }
            if name == Self.schemeName { look.hasTables = true }
            return true
        }
        let hash = Checksum.xxh3(text)
        let digits = String(hash, radix: 16)
        look.version = "dump-" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
        return look
    }

    /// Calls `visit` for all files and folders below a place, in order; it answers whether to go into
    /// a folder.
    private func walk(
        _ place: String, depth: Int = 0,
        _ visit: (_ place: String, _ name: String, DumpFiles.Status) throws(Failure) -> Bool
    ) throws(Failure) {
        guard depth < Self.maxDepth else {
            throw Failure(.invalid, "\(path)\(place): folders lie too deep")
        }
        for name in try DumpFiles.names(in: path + place) {
            guard let status = try DumpFiles.status(path + place + "/" + name) else { continue }
            let enters = try visit(place, name, status)
            if status.isDirectory, enters {
                try walk(place + "/" + name, depth: depth + 1, visit)
            }
        }
    }

    /// Tables, and what isn't one, by path.
    func tables() throws(Failure) -> [SourceTable] {
        var tables: [SourceTable] = []
        try walk("") { (place, name, status) throws(Failure) in
            guard status.isDirectory else { return false }
            if place.isEmpty, name == Self.metaName { return false }
            let table = String((place + "/" + name).dropFirst())
            if try DumpFiles.exists(file(Self.schemeName, of: table)) {
                // Its indexes and changefeeds lie within.
                tables.append(SourceTable(path: table))
                return false
            }
            let objects = try DumpFiles.names(in: path + "/" + table).filter(Self.isObject)
            if let object = objects.first {
                tables.append(
                    SourceTable(
                        path: table, refusal: "\(table) is no table: the dump has \(object) of it"))
            } else if try DumpFiles.exists(file("data_00.csv", of: table)) {
                tables.append(
                    SourceTable(
                        path: table, refusal: "\(path)/\(table)/\(Self.schemeName) is missing"))
            }
            return true
        }
        return tables.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    private static func isObject(_ name: String) -> Bool {
        name.hasPrefix("create_") || name == "system_view.pb"
    }

    private func file(_ name: String, of table: String) -> String { "\(path)/\(table)/\(name)" }

    /// Nil if there is no such table.
    func scheme(of table: String) throws(Failure) -> DumpScheme? {
        let file = file(Self.schemeName, of: table)
        guard try DumpFiles.exists(file) else { return nil }
        return try DumpScheme(DumpFiles.text(file), file: file)
    }

    /// The data files of a table, all that there must be.
    func dataFiles(of table: String) throws(Failure) -> [String] {
        var numbers: [(number: Int, name: String)] = []
        for name in try DumpFiles.names(in: path + "/" + table)
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
