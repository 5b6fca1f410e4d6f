import Bytes
import Foundation
import Repository
import Tables

/// A directory that goes with the test.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        path = FileManager.default.temporaryDirectory.path + "/ydbfs-" + UUID().uuidString
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Every file below, by its path, with its bytes.
    func contents() -> [String: Data] {
        var found: [String: Data] = [:]
        for name in FileManager.default.enumerator(atPath: path)?.compactMap({ $0 as? String })
            ?? []
        {
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isDirectory)
            if !isDirectory.boolValue {
                found[name] = FileManager.default.contents(atPath: "\(path)/\(name)")
            }
        }
        return found
    }
}

func definition(_ name: String, sql: String = "CREATE …") -> CollectionDefinition {
    CollectionDefinition(
        name: name, tables: ["orders", "sub/products"], isDatabase: false,
        settings: ["STORAGE": "cluster", "KEEP_LAST": "7"], sql: sql, time: 1_700_000_000_000_000)
}

let schema = try! TableSchema(
    columns: [
        Column(id: 1, name: "id", type: .int64), Column(id: 2, name: "price", type: .double),
        Column(id: 4, name: "näme \"q\" \u{1}\n\\", type: .utf8, isLiteral: true),
        Column(id: 5, name: "d", type: .decimal(precision: 22, scale: 9)),
        Column(
            id: 6, name: "new", type: .uint8, standIn: StandIn(bytes: [1, 0, 0, 0])),
        Column(
            id: TableSchema.rowIDColumnID, name: "__ydbfs_rowid", type: .int64, isHidden: true),
    ], key: [5], primaryKey: [0, 1])

/// What a table of this id was called when it was new.
func tid(_ id: UInt32) -> String { String(format: "%032x", id) }

func table(
    _ id: UInt32, _ path: String, file: FileReference, rows: UInt64 = 10
) -> TableRecord {
    TableRecord(
        id: id, tid: tid(id), path: path, schema: schema, nextColumnID: 7,
        sql: "CREATE TABLE \(path) (id INTEGER PRIMARY KEY, price REAL);\n", rows: rows,
        inserted: rows, updated: 2, deleted: 1, sizes: ["csv": 100 * rows, "parquet": 120 * rows],
        formats: ["csv": 1, "parquet": 2], contentHash: String(repeating: "0f", count: 16),
        snapshot: BlockReference(file: file.number, offset: 0, length: file.bytes, hash: .max - 5),
        files: [NeededFile(number: file.number, rows: 0)], isReset: false)
}

/// The next point of the collection: a full if it has none, with one data file of `bytes`.
func nextPoint(
    _ lock: WriterLock, kind: PointKind? = nil, name: String? = nil, uid: String? = nil,
    bytes: [UInt8] = [1, 2, 3], paths: [String] = ["orders", "sub/products"]
) throws -> PointRecord {
    let state = lock.current!
    let writer = try lock.createFile(.idx)
    try writer.append(bytes)
    let file = try writer.finish(rows: 1)
    let kind = kind ?? (state.newest == nil ? .full : .incremental)
    var nextID = state.nextTableID
    let tables = paths.map { path in
        let known = state.newest.flatMap { state.table(path: path, at: $0.sequence)?.id }
        defer { if known == nil { nextID += 1 } }
        return table(known ?? nextID, path, file: file, rows: state.nextSequence)
    }
    return PointRecord(
        sequence: state.nextSequence, name: name ?? "2026112000000\(state.nextSequence)Z_\(kind)",
        kind: kind, parent: kind == .full ? nil : state.newest?.sequence,
        parentHash: kind == .full ? nil : state.newest?.hash,
        cut: 1_763_596_800_000_000 + Int64(state.nextSequence), operation: 17, uid: uid,
        files: [file], tables: tables,
        notBackedUp: [NotBackedUp(path: "odd", reason: "it has no key")])
}
