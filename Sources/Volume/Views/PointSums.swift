import Bytes
import Crypto
import Repository
import Synchronization
import Tables

/// `SHA256SUMS` of a point, as `sha256sum -c` reads it. Its size is known at once, what it says when it
/// is first opened: every file of the point is read for that. What was read is remembered, for other
/// points too that have the same table.
final class PointSums: TreeFile {
    static let name = "SHA256SUMS"

    let identity: FileIdentity
    private let place: PointPlace
    private let text = Mutex<[UInt8]?>(nil)

    init(_ place: PointPlace) {
        self.place = place
        identity = place.identity(.sums)
    }

    /// Every other file of the point.
    private func forEachFile(
        _ body: (_ path: String, _ item: TableListing<TableFile.Kind>.Item) throws(Errno) -> Void
    ) throws(Errno) {
        let listing = try place.tree.listing(place.shown(), place.sequence)
        for directory in listing.directories {
            for (name, item) in directory.items {
                switch item {
                case .directory, .fixed(Self.name): continue
                case .fixed: try body(name, item)
                case .table(let kind, let table):
                    try body(listing.paths[table.id]?[kind] ?? name, item)
                }
            }
        }
    }

    /// Every other file of the point, by path.
    private func files() throws(Errno) -> [(path: String, node: any TreeNode, key: DigestKey?)] {
        let epoch = try place.shown().state.epoch
        let scope = PointScope(place)
        var files: [(path: String, node: any TreeNode, key: DigestKey?)] = []
        try forEachFile { (path, item) throws(Errno) in
            switch item {
            case .directory: break
            case .fixed(let name): files.append((path, scope.file(named: name, in: 0), nil))
            case .table(let kind, let table):
                let record = try place.table(table.id)
                let key = DigestKey(
                    collection: place.collection, epoch: epoch, table: table.id, kind: kind,
                    file: record.snapshot.file, offset: record.snapshot.offset,
                    schema: record.schema, sql: kind == .sql ? record.sql : "")
                files.append((path, scope.file(kind, of: table), key))
            }
        }
        return files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    func appearance() throws(Errno) -> Appearance {
        var bytes = 0
        try forEachFile { (path, _) throws(Errno) in bytes += SumsLine.byteCount(path) }
        return .file(bytes: UInt64(bytes), modified: try place.cut(), isImmutable: true)
    }

    var needsPreparationToOpen: Bool { text.withLock { $0 == nil } }

    func prepare(_ checkpoint: @escaping @Sendable () throws -> Void) throws {
        var lines = ""
        for file in try files() {
            let known = file.key.flatMap { place.tree.digests[$0] }
            let digest = try known ?? Self.digest(file.node, checkpoint)
            if let key = file.key { place.tree.digests[key] = digest }
            lines += SumsLine(digest, file.path).text
        }
        text.withLock { $0 = [UInt8](lines.utf8) }
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        guard let text = text.withLock(\.self) else { throw .again }
        return (OpenText(text), .keep)
    }

    private static func digest(
        _ node: any TreeNode, _ checkpoint: () throws -> Void
    ) throws -> String {
        let file = try node.open(Caller(uid: 0, gid: 0, pid: 0)).file
        defer { file.release() }
        var hasher = SHA256()
        let piece = ByteBuffer(capacity: 1 << 20)
        var offset: UInt64 = 0
        repeat {
            try checkpoint()
            piece.removeAll()
            try file.read(at: offset, count: 1 << 20, into: piece)
            piece.withBytes { hasher.update(bufferPointer: $0) }
            offset += UInt64(piece.count)
        } while piece.count > 0
        return String(hex: hasher.finalize())
    }
}

/// What decides the bytes of a table's file.
struct DigestKey: Hashable {
    var collection: String
    var epoch: UInt64
    var table: UInt32
    var kind: TableFile.Kind
    var file: UInt64
    var offset: UInt64
    var schema: TableSchema
    var sql: String
}

/// SHA-256 of files that were read, by what decides their bytes.
final class Digests: Sendable {
    private static let kept = 10_000
    private let known = Mutex<[DigestKey: String]>([:])

    subscript(key: DigestKey) -> String? {
        get { known.withLock { $0[key] } }
        set {
            known.withLock { known in
                if known.count >= Self.kept { known = [:] }
                known[key] = newValue
            }
        }
    }
}
