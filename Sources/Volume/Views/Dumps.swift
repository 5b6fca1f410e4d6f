import Bytes
import Engine
import Repository
import Tables

/// `COLLECTION/dump/POINT`: the point as `ydb tools dump` would have written it, for `ydb tools restore -i`,
/// which passes over files that it doesn't know, as README.
enum Dumps {
    static func directory(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        PointsDirectory(tree, shown, .dumps, modified: modified) { point, _ in
            TableDirectory(DumpScope(point))
        }
    }
}

/// What a point's dump has, and what it hasn't.
struct DumpedPoint {
    var tables: [TableRecord] = []
    var leftOut: [(table: TableRecord, reason: String)] = []

    init(_ all: [TableRecord]) {
        var paths: Set<String> = []
        for table in all.sorted(by: { $0.path.utf8.count < $1.path.utf8.count }) {
            if let reason = Self.problem(table, paths) {
                leftOut.append((table, reason))
            } else {
                tables.append(table)
                paths.insert(table.path)
            }
        }
        tables.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        leftOut.sort { $0.table.path.utf8.lexicographicallyPrecedes($1.table.path.utf8) }
    }

    /// - Parameter paths: of the tables that have shorter ones.
    private static func problem(_ table: TableRecord, _ paths: Set<String>) -> String? {
        if let problem = DumpTable.problem(path: table.path) ?? DumpTable.problem(table.schema) {
            return problem
        }
        var parent = table.path[...]
        while let slash = parent.lastIndex(of: "/") {
            parent = parent[..<slash]
            if paths.contains(String(parent)) {
                return "there is a table \(parent), and YDB has no tables within tables"
            }
        }
        if table.dumpBytes == nil {
            return
                "it was backed up before dumps were counted: the next full backup or COMPACT brings it"
        }
        return nil
    }

    /// The name of the file that tells what is left out: no table's.
    var readmeName: String {
        let names = Set(tables.map { $0.path.prefix { $0 != "/" } })
        return names.contains("README") ? "README.ydbfs" : "README"
    }

    func readme(_ name: String, notBackedUp: [NotBackedUp]) -> String {
        var text = """
            The point as a dump of YDB. Load it into a directory PATH of a database:

                ydb -e ENDPOINT -d DATABASE tools restore -p PATH -i DIRECTORY

            Rows come in the order in which they are stored. A table that can't be told apart by its own
            primary key, because there is none, it holds NULL, or YDB has no keys of its type, has its rowids as
            the key: \(DumpTable.rowIDName). Columns of several types are Utf8 and hold what SQLite's quote() gives.
            Floating-point numbers have all their digits. Permissions, constraints and triggers aren't part of it.


            """
        let lines =
            leftOut.map { "\(oneLine($0.table.path)): \(oneLine($0.reason))\n" }
            + notBackedUp.map { "\(oneLine($0.path)): not in this point: \(oneLine($0.reason))\n" }
        text += lines.isEmpty ? "All tables of the point are here.\n" : "Left out:\n\n"
        text += lines.joined()
        let lesser = tables.flatMap { table in
            table.traits.leftOut.map { "\(oneLine(table.path)): \(oneLine($0))\n" }
        }
        if !lesser.isEmpty { text += "\nNot in the tables' schemes:\n\n" + lesser.joined() }
        return text
    }
}

extension TableRecord {
    /// Bytes of all data files together; nil if they aren't known.
    var dumpBytes: UInt64? { sizes["dump"] }
}

/// A directory of a point's dump.
struct DumpScope: TableScope {
    /// What a table has: a directory.
    enum Leaf { case table }

    let place: PointPlace

    init(_ place: PointPlace) { self.place = place }

    func identity(_ directory: Int) -> FileIdentity { place.identity(.dump, UInt64(directory)) }

    func listing() throws(Errno) -> TableListing<Leaf> {
        let shown = try place.shown()
        do {
            return try place.tree.engine.cache.value(identity(0).cacheKey) {
                let point = DumpedPoint(shown.state.tables(at: place.sequence))
                let listing = TableListing(
                    point.tables.map { ($0.id, $0.path, $0.sizes) },
                    fixed: [point.readmeName]
                        + (point.tables.isEmpty ? [Self.emptyDirectory] : []),
                    inEach: [Self.permissions], isExact: true
                ) { _ in [(Leaf.table, "")] }
                return (listing, bytes: 512 + point.tables.count * 512)
            }
        } catch {
            throw .io
        }
    }

    func modified() throws(Errno) -> Instant { try place.cut() }

    static let permissions = "permissions.pb"
    private static let emptyDirectory = "empty_dir"

    func file(named name: String, in directory: Int) -> any TreeNode {
        let place = place
        return TextFile(
            place.tree, place.identity(.dumpText, UInt64(directory), text: name),
            isImmutable: true, modified: { () throws(Errno) in try place.cut() },
            { () throws(Errno) in
                if name == Self.permissions { return DumpText.permissions }
                if name == Self.emptyDirectory { return [] }
                let point = DumpedPoint(try place.shown().state.tables(at: place.sequence))
                return [UInt8](
                    point.readme(
                        try place.point().name, notBackedUp: try place.point().notBackedUp
                    ).utf8)
            })
    }

    func file(_ leaf: Leaf, of table: TableListing<Leaf>.Table) -> any TreeNode {
        DumpedTable(place, table.id)
    }
}

private enum DumpText {
    static let permissions = [UInt8](
        "# Backups hold no permissions: who restores the table owns it.\n".utf8)
}

/// A table's folder in a dump.
final class DumpedTable: TreeDirectory {
    let identity: FileIdentity
    let table: UInt32
    private let place: PointPlace

    init(_ place: PointPlace, _ table: UInt32) {
        self.place = place
        self.table = table
        identity = place.identity(.dumpTable, UInt64(table))
    }

    func appearance() throws(Errno) -> Appearance { .directory(modified: try place.cut()) }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let record = try place.table(table)
        return try [text("permissions.pb"), text("scheme.pb")].compactMap(\.self)
            + place.dumpFiles(record).indices.map { data($0) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        if let text = text(name) { return text.node }
        guard name.hasPrefix("data_"), name.hasSuffix(".csv"),
            let number = Int(name.dropFirst(5).dropLast(4)), Self.dataName(number) == name,
            try place.dumpFiles(place.table(table)).indices.contains(number)
        else { throw .noEntry }
        return data(number).node
    }

    private static func dataName(_ number: Int) -> String {
        "data_" + (number < 10 ? "0" : "") + "\(number).csv"
    }

    private func data(_ number: Int) -> (name: String, node: any TreeNode) {
        (Self.dataName(number), DumpedData(place, table, number))
    }

    private func text(_ name: String) -> (name: String, node: any TreeNode)? {
        let (place, table) = (place, table)
        let kind: FileIdentity.Kind
        switch name {
        case "permissions.pb": kind = .dumpPermissions
        case "scheme.pb": kind = .dumpScheme
        default: return nil
        }
        let node = TextFile(
            place.tree, place.identity(kind, UInt64(table)), isImmutable: true,
            modified: { () throws(Errno) in try place.cut() },
            { () throws(Errno) in
                if kind == .dumpPermissions { return DumpText.permissions }
                let record = try place.table(table)
                return [UInt8](try place.dumpTable(record).scheme(record.traits).utf8)
            })
        return (name, node)
    }
}

extension PointPlace {
    fileprivate func dumpTable(_ record: TableRecord) throws(Errno) -> DumpTable {
        let (snapshot, hold) = try snapshot(record)
        return try withExtendedLifetime(hold) { () throws(Errno) in
            try tree.engine.reading { try snapshot.dumpTable() }
        }
    }

    /// Which of the table's bytes each data file has. Mostly there is one: nothing is read for that.
    fileprivate func dumpFiles(_ record: TableRecord) throws(Errno) -> [Range<UInt64>] {
        let limit = tree.options.dumpFileBytes
        guard let total = record.dumpBytes else { throw .noEntry }
        if total <= limit { return [0..<total] }
        let (snapshot, hold) = try snapshot(record)
        return try withExtendedLifetime(hold) { () throws(Errno) in
            try tree.engine.reading {
                try snapshot.dumpFiles(snapshot.dumpTable(), limit: limit)
            }
        }
    }
}

/// `data_NN.csv`.
private final class DumpedData: TreeFile {
    let identity: FileIdentity
    private let place: PointPlace
    private let table: UInt32
    private let number: Int

    init(_ place: PointPlace, _ table: UInt32, _ number: Int) {
        self.place = place
        self.table = table
        self.number = number
        identity = place.identity(.dumpData, UInt64(table), text: "\(number)")
    }

    private func range(_ record: TableRecord) throws(Errno) -> Range<UInt64> {
        let files = try place.dumpFiles(record)
        guard files.indices.contains(number) else { throw .noEntry }
        return files[number]
    }

    func appearance() throws(Errno) -> Appearance {
        let changed = try place.shown().state.changed(table, at: place.sequence) ?? 0
        return .file(
            bytes: UInt64(try range(place.table(table)).count),
            modified: Instant(microseconds: changed), isImmutable: true)
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        let record = try place.table(table)
        let range = try range(record)
        let file = try place.open(record) {
            DumpFile($0, try $0.dumpTable(), range: range)
        }
        return (file, .keep)
    }
}
