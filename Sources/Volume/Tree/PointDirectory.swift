import Bytes
import Engine
import Repository

/// A point of a collection, as nodes remember it: it may have been dropped since.
struct PointPlace: Sendable {
    let tree: TreeContext
    let collection: String
    let sequence: UInt64
    private let epoch: UInt64
    private let secret: KeyedHash

    init(_ tree: TreeContext, _ shown: ShownCollection, _ sequence: UInt64) {
        self.tree = tree
        self.sequence = sequence
        collection = shown.state.id
        epoch = shown.state.epoch
        secret = shown.secret
    }

    /// The collection, if it has this point; else throws `ESTALE`.
    func shown() throws(Errno) -> ShownCollection {
        let shown = try tree.collection(collection)
        guard shown.state.epoch == epoch, shown.state.hasPoint(sequence: sequence) else {
            throw .stale
        }
        return shown
    }

    func point() throws(Errno) -> BackupPoint {
        guard let point = try shown().state.point(sequence: sequence) else { throw .stale }
        return point
    }

    func cut() throws(Errno) -> Instant { Instant(microseconds: try point().cut) }

    func table(_ id: UInt32) throws(Errno) -> TableRecord {
        guard let record = try shown().state.table(id, at: sequence) else { throw .noEntry }
        return record
    }

    /// What `-o xattr` shows of the point, or of a file of it with so many rows.
    func extendedAttributes(rows: UInt64) throws(Errno) -> [(name: String, value: String)] {
        let point = try point()
        // The sequence of a collection's points is never used twice.
        let values = [
            ("rows", "\(rows)"), ("kind", point.kind.rawValue), ("parent", point.parentName),
            ("backup_id", "\(collection)-\(sequence)"),
        ]
        return values.compactMap { name, value in value.map { ("user.ydbfs." + name, $0) } }
    }

    /// Of a file that shows the point. Where this process has known another past of the collection, its
    /// points are other files: kept pages of those must never be taken for pages of these.
    func identity(
        _ kind: FileIdentity.Kind, _ item: UInt64 = 0, text: String = ""
    ) -> FileIdentity {
        FileIdentity(kind, sequence, item, epoch, text: text, under: secret)
    }
}

/// The folder of a backup point: what someone wants to copy out.
struct PointScope: TableScope {
    private let place: PointPlace
    private var tree: TreeContext { place.tree }

    init(_ place: PointPlace) { self.place = place }

    func identity(_ directory: Int) -> FileIdentity { place.identity(.point, UInt64(directory)) }

    func listing() throws(Errno) -> TableListing<TableFile.Kind> {
        try tree.listing(place.shown(), place.sequence)
    }

    func modified() throws(Errno) -> Instant { try place.cut() }

    func extendedAttributes() throws(Errno) -> [(name: String, value: String)] {
        let tables = try place.shown().state.tables(at: place.sequence)
        return try place.extendedAttributes(rows: tables.map(\.rows).total)
    }

    func file(_ kind: TableFile.Kind, of table: TableListing<TableFile.Kind>.Table) -> any TreeNode
    {
        TableFile(place, kind, table.id)
    }

    static let names = [PointSums.name, "backup.json"]

    func file(named name: String, in directory: Int) -> any TreeNode {
        if name == PointSums.name { return PointSums(place) }
        let place = place
        return TextFile(
            tree, place.identity(.manifest), isImmutable: true,
            modified: { () throws(Errno) in try place.cut() },
            { () throws(Errno) in
                let shown = try place.shown()
                return PointTexts.manifest(
                    shown, try place.point(), try place.tree.listing(shown, place.sequence).paths)
            })
    }
}
