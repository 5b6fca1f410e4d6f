import Bytes
import Tables

/// The JSON form of what entries hold. Members keep their names for ever; new ones must be optional
/// for readers that don't know them, or be a new kind of entry.

/// Values that most records of a log have in common: decoded once, kept once.
final class SharedValues {
    let schemas = SharedPool<TableSchema>()
    let texts = SharedPool<String>()
    let formats = SharedPool<[String: Int]>()
    let notBackedUp = SharedPool<[NotBackedUp]>()
}

extension PointKind: JSONValue {}

extension CollectionDefinition: JSONValue {
    init(json: inout JSONReader) throws {
        var name: String?
        var tables: [String]?
        var settings: [String: String]?
        var sql: String?
        var time: Int64?
        var isDatabase: Bool?
        try json.object { key, json in
            switch key {
            case "name": name = try json.string()
            case "tables": tables = try json.array(of: String.self)
            case "isDatabase": isDatabase = try json.boolean()
            case "settings": settings = try [String: String](json: &json)
            case "sql": sql = try json.string()
            case "time": time = try json.integer(Int64.self)
            default: try json.skip()
            }
        }
        self.init(
            name: try json.required(name, key: "name"),
            tables: try json.required(tables, key: "tables"),
            isDatabase: try json.required(isDatabase, key: "isDatabase"),
            settings: try json.required(settings, key: "settings"),
            sql: try json.required(sql, key: "sql"), time: try json.required(time, key: "time"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.member("tables", tables)
            json.member("isDatabase", isDatabase)
            json.member("settings", settings)
            json.member("sql", sql)
            json.member("time", time)
        }
    }
}

extension FileReference: JSONValue {
    init(json: inout JSONReader) throws {
        var number: UInt64?
        var name: String?
        var bytes: UInt64?
        var rows: UInt64?
        var sha256: String?
        try json.object { key, json in
            switch key {
            case "number": number = try json.integer(UInt64.self)
            case "name": name = try json.string()
            case "bytes": bytes = try json.integer(UInt64.self)
            case "rows": rows = try json.integer(UInt64.self)
            case "sha256": sha256 = try json.string()
            default: try json.skip()
            }
        }
        self.init(
            number: try json.required(number, key: "number"),
            name: try json.required(name, key: "name"),
            bytes: try json.required(bytes, key: "bytes"),
            rows: try json.required(rows, key: "rows"),
            sha256: try json.required(sha256, key: "sha256"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("number", number)
            json.member("name", name)
            json.member("bytes", bytes)
            json.member("rows", rows)
            json.member("sha256", sha256)
        }
    }
}

extension CatalogReference: JSONValue {
    init(json: inout JSONReader) throws {
        var name: String?
        var bytes: UInt64?
        var sha256: String?
        try json.object { key, json in
            switch key {
            case "name": name = try json.string()
            case "bytes": bytes = try json.integer(UInt64.self)
            case "sha256": sha256 = try json.string()
            default: try json.skip()
            }
        }
        self.init(
            name: try json.required(name, key: "name"),
            bytes: try json.required(bytes, key: "bytes"),
            sha256: try json.required(sha256, key: "sha256"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.member("bytes", bytes)
            json.member("sha256", sha256)
        }
    }
}

extension BlockReference: JSONValue {
    init(json: inout JSONReader) throws {
        var file: UInt64?
        var offset: UInt64?
        var length: UInt64?
        var hash: UInt64?
        try json.object { key, json in
            switch key {
            case "file": file = try json.integer(UInt64.self)
            case "offset": offset = try json.integer(UInt64.self)
            case "length": length = try json.integer(UInt64.self)
            // In hex: many readers of JSON keep only 53 bits of a number.
            case "hash": hash = UInt64(try json.string(), radix: 16)
            default: try json.skip()
            }
        }
        self.init(
            file: try json.required(file, key: "file"),
            offset: try json.required(offset, key: "offset"),
            length: try json.required(length, key: "length"),
            hash: try json.required(hash, key: "hash"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("file", file)
            json.member("offset", offset)
            json.member("length", length)
            json.member("hash", hex(hash))
        }
    }
}

extension NotBackedUp: JSONValue {
    init(json: inout JSONReader) throws {
        var path: String?
        var reason: String?
        try json.object { key, json in
            switch key {
            case "path": path = try json.string()
            case "reason": reason = try json.string()
            default: try json.skip()
            }
        }
        self.init(
            path: try json.required(path, key: "path"),
            reason: try json.required(reason, key: "reason"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("path", path)
            json.member("reason", reason)
        }
    }
}

extension Column: JSONValue {
    init(json: inout JSONReader) throws {
        var id: UInt32?
        var name: String?
        var type: String?
        var isLiteral: Bool?
        try json.object { key, json in
            switch key {
            case "id": id = try json.integer(UInt32.self)
            case "name": name = try json.string()
            case "type": type = try json.string()
            case "isLiteral": isLiteral = try json.boolean()
            default: try json.skip()
            }
        }
        self.init(
            id: try json.required(id, key: "id"), name: try json.required(name, key: "name"),
            type: try ColumnType(name: json.required(type, key: "type")),
            isLiteral: isLiteral ?? false)
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("name", name)
            json.member("type", type.name)
            json.member("isLiteral", isLiteral)
        }
    }
}

extension TableSchema: JSONValue {
    init(json: inout JSONReader) throws {
        var columns: [Column]?
        var key: [Int]?
        try json.object { name, json in
            switch name {
            case "columns": columns = try json.array(of: Column.self)
            case "key": key = try json.array(of: Int.self)
            default: try json.skip()
            }
        }
        try self.init(
            columns: json.required(columns, key: "columns"), key: json.required(key, key: "key"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("columns", columns)
            json.member("key", key)
        }
    }
}

extension TableRecord: JSONValue {
    init(json: inout JSONReader) throws {
        var id: UInt32?
        var path: String?
        var schema: TableSchema?
        var nextColumnID: UInt32?
        var sql: String?
        var rows: UInt64?
        var inserted: UInt64?
        var updated: UInt64?
        var deleted: UInt64?
        var sizes: [String: UInt64]?
        var formats: [String: Int]?
        var contentHash: String?
        var snapshot: BlockReference?
        var isReset: Bool?
        try json.object { key, json in
            switch key {
            case "id": id = try json.integer(UInt32.self)
            case "path": path = try json.sharing(json.shared.texts) { try $0.string() }
            case "schema":
                schema = try json.sharing(json.shared.schemas) { try TableSchema(json: &$0) }
            case "nextColumnID": nextColumnID = try json.integer(UInt32.self)
            case "sql": sql = try json.sharing(json.shared.texts) { try $0.string() }
            case "rows": rows = try json.integer(UInt64.self)
            case "inserted": inserted = try json.integer(UInt64.self)
            case "updated": updated = try json.integer(UInt64.self)
            case "deleted": deleted = try json.integer(UInt64.self)
            case "sizes": sizes = try [String: UInt64](json: &json)
            case "formats": formats = try json.sharing(json.shared.formats) { try .init(json: &$0) }
            case "contentHash": contentHash = try json.string()
            case "snapshot": snapshot = try BlockReference(json: &json)
            case "isReset": isReset = try json.boolean()
            default: try json.skip()
            }
        }
        self.init(
            id: try json.required(id, key: "id"), path: try json.required(path, key: "path"),
            schema: try json.required(schema, key: "schema"),
            nextColumnID: try json.required(nextColumnID, key: "nextColumnID"),
            sql: try json.required(sql, key: "sql"), rows: try json.required(rows, key: "rows"),
            inserted: try json.required(inserted, key: "inserted"),
            updated: try json.required(updated, key: "updated"),
            deleted: try json.required(deleted, key: "deleted"),
            sizes: try json.required(sizes, key: "sizes"),
            formats: try json.required(formats, key: "formats"),
            contentHash: try json.required(contentHash, key: "contentHash"),
            snapshot: try json.required(snapshot, key: "snapshot"),
            isReset: try json.required(isReset, key: "isReset"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("path", path)
            json.member("schema", schema)
            json.member("nextColumnID", nextColumnID)
            json.member("sql", sql)
            json.member("rows", rows)
            json.member("inserted", inserted)
            json.member("updated", updated)
            json.member("deleted", deleted)
            json.member("sizes", sizes)
            json.member("formats", formats)
            json.member("contentHash", contentHash)
            json.member("snapshot", snapshot)
            json.member("isReset", isReset)
        }
    }
}

extension CaptureState: JSONValue {
    init(json: inout JSONReader) throws {
        var database: String?
        var tables: [String: String]?
        try json.object { key, json in
            switch key {
            case "database": database = try json.string()
            case "tables": tables = try [String: String](json: &json)
            default: try json.skip()
            }
        }
        self.init(
            database: try json.required(database, key: "database"),
            tables: try json.required(tables, key: "tables"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("database", database)
            json.member("tables", tables)
        }
    }
}

extension PointRecord: JSONValue {
    init(json: inout JSONReader) throws {
        var sequence: UInt64?
        var name: String?
        var kind: PointKind?
        var parent: UInt64?
        var parentHash: String?
        var cut: Int64?
        var operation: UInt64?
        var uid: String?
        var files: [FileReference]?
        var tables: [TableRecord]?
        var removed: [UInt32] = []
        var notBackedUp: [NotBackedUp] = []
        var capture: CaptureState?
        var captureRemoved: [String] = []
        try json.object { key, json in
            switch key {
            case "sequence": sequence = try json.integer(UInt64.self)
            case "name": name = try json.string()
            case "kind": kind = try PointKind(json: &json)
            case "parent": parent = try json.integer(UInt64.self)
            case "parentHash": parentHash = try json.string()
            case "cut": cut = try json.integer(Int64.self)
            case "operation": operation = try json.integer(UInt64.self)
            case "uid": uid = try json.string()
            case "files": files = try json.array(of: FileReference.self)
            case "tables": tables = try json.array(of: TableRecord.self)
            case "removed": removed = try json.array(of: UInt32.self)
            case "notBackedUp":
                notBackedUp = try json.sharing(json.shared.notBackedUp) { try .init(json: &$0) }
            case "capture": capture = try CaptureState(json: &json)
            case "captureRemoved": captureRemoved = try json.array(of: String.self)
            default: try json.skip()
            }
        }
        self.init(
            sequence: try json.required(sequence, key: "sequence"),
            name: try json.required(name, key: "name"), kind: try json.required(kind, key: "kind"),
            parent: parent, parentHash: parentHash, cut: try json.required(cut, key: "cut"),
            operation: try json.required(operation, key: "operation"), uid: uid,
            files: try json.required(files, key: "files"),
            tables: try json.required(tables, key: "tables"), removed: removed,
            notBackedUp: notBackedUp, capture: capture)
        self.captureRemoved = captureRemoved
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("sequence", sequence)
            json.member("name", name)
            json.member("kind", kind)
            json.member("parent", parent)
            json.member("parentHash", parentHash)
            json.member("cut", cut)
            json.member("operation", operation)
            json.member("uid", uid)
            json.member("files", files)
            json.member("tables", tables)
            if !removed.isEmpty { json.member("removed", removed) }
            if !notBackedUp.isEmpty { json.member("notBackedUp", notBackedUp) }
            json.member("capture", capture)
            if !captureRemoved.isEmpty { json.member("captureRemoved", captureRemoved) }
        }
    }
}
