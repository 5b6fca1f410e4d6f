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
        let member = try json.members()
        try self.init(
            name: member("name"), tables: member("tables"), isDatabase: member("isDatabase"),
            settings: member("settings"), sourceKind: member.optional("source"),
            sql: member("sql"), time: member("time"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.member("tables", tables)
            json.member("isDatabase", isDatabase)
            json.member("settings", settings)
            json.member("source", sourceKind)
            json.member("sql", sql)
            json.member("time", time)
        }
    }
}

extension FileReference: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            number: member("number"), name: member("name"), table: member.optional("table"),
            bytes: member("bytes"), rows: member("rows"), sha256: member("sha256"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("number", number)
            json.member("name", name)
            json.member("table", table)
            json.member("bytes", bytes)
            json.member("rows", rows)
            json.member("sha256", sha256)
        }
    }
}

extension CatalogReference: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            name: member("name"), bytes: member("bytes"), sha256: member("sha256"))
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
        let member = try json.members()
        // In hex: many readers of JSON keep only 53 bits of a number.
        guard let hash = UInt64(try member("hash") as String, radix: 16) else {
            throw json.broken("hash is no hexadecimal number")
        }
        try self.init(
            file: member("file"), offset: member("offset"), length: member("length"), hash: hash)
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
        let member = try json.members()
        try self.init(path: member("path"), reason: member("reason"))
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
        let member = try json.members()
        let standIn: String? = try member.optional("standIn")
        try self.init(
            id: member("id"), name: member("name"), type: ColumnType(name: member("type")),
            isLiteral: member.optional("isLiteral") ?? false,
            isHidden: member.optional("isHidden") ?? false,
            standIn: standIn.map { try StandIn($0) })
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("name", name)
            json.member("type", type.name)
            json.member("isLiteral", isLiteral)
            if isHidden { json.member("isHidden", isHidden) }
            json.member("standIn", standIn?.description)
        }
    }
}

extension TableSchema: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            columns: member("columns"), key: member("key"), primaryKey: member("primaryKey"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("columns", columns)
            json.member("key", key)
            json.member("primaryKey", primaryKey)
        }
    }
}

extension TableRecord: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        let shared = json.shared
        try self.init(
            id: member("id"), tid: member("tid"),
            path: member("path") { try $0.sharing(shared.texts) { try $0.string() } },
            schema: member("schema") {
                try $0.sharing(shared.schemas) { try TableSchema(json: &$0) }
            },
            nextColumnID: member("nextColumnID"),
            sql: member("sql") { try $0.sharing(shared.texts) { try $0.string() } },
            rows: member("rows"), inserted: member("inserted"), updated: member("updated"),
            deleted: member("deleted"), sizes: member("sizes"),
            formats: member("formats") {
                try $0.sharing(shared.formats) { try [String: Int](json: &$0) }
            },
            contentHash: member("contentHash"), snapshot: member("snapshot"),
            files: member("files") { try $0.neededFiles() }, isReset: member("isReset"),
            isRenumbered: member.optional("isRenumbered") ?? false,
            sequence: member.optional("sequence"), shadowOf: member.optional("shadowOf"),
            notes: member.optional("notes") ?? [],
            traits: member.optional("traits") ?? DumpedTraits())
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("tid", tid)
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
            json.member("files", files.flatMap { [$0.number, $0.rows] })
            json.member("isReset", isReset)
            if isRenumbered { json.member("isRenumbered", isRenumbered) }
            json.member("sequence", sequence)
            json.member("shadowOf", shadowOf)
            if !notes.isEmpty { json.member("notes", notes) }
            if traits != DumpedTraits() { json.member("traits", traits) }
        }
    }
}

extension DumpedTraits: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        self.init()
        table = try member.optional("table") ?? ""
        let texts: [String: String] = try member.optional("columns") ?? [:]
        for (id, text) in texts {
            guard let id = UInt32(id) else { throw json.broken("\(id) is no column's id") }
            columns[id] = text
        }
        notNull = try member.optional("notNull") ?? []
        leftOut = try member.optional("leftOut") ?? []
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            if !table.isEmpty { json.member("table", table) }
            if !columns.isEmpty {
                json.member(
                    "columns",
                    Dictionary(uniqueKeysWithValues: columns.map { (String($0.key), $0.value) }))
            }
            if !notNull.isEmpty { json.member("notNull", notNull) }
            if !leftOut.isEmpty { json.member("leftOut", leftOut) }
        }
    }
}

extension JSONReader {
    /// Pairs of a number and its rows in one flat array.
    fileprivate mutating func neededFiles() throws -> [NeededFile] {
        let numbers = try [UInt64](json: &self)
        guard numbers.count.isMultiple(of: 2) else { throw broken("files aren't pairs") }
        return stride(from: 0, to: numbers.count, by: 2).map {
            NeededFile(number: numbers[$0], rows: numbers[$0 + 1])
        }
    }
}

extension LostEntry: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            collection: member("collection"), hash: member.optional("hash"),
            kept: member.optional("kept") ?? [], points: member.optional("points") ?? [],
            goesOn: member.optional("goesOn") ?? false)
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("collection", collection)
            json.member("hash", hash)
            if !kept.isEmpty { json.member("kept", kept) }
            if !points.isEmpty { json.member("points", points) }
            if goesOn { json.member("goesOn", goesOn) }
        }
    }
}

extension Condemnation: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        self.init()
        files = try member.optional("files") ?? []
        leftovers = try member.optional("leftovers") ?? []
        points = try member.optional("points") ?? []
        gone = try member.optional("gone") ?? []
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            if !files.isEmpty { json.member("files", files) }
            if !leftovers.isEmpty { json.member("leftovers", leftovers) }
            if !points.isEmpty { json.member("points", points) }
            if !gone.isEmpty { json.member("gone", gone) }
        }
    }
}

extension DatabaseFacts: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            userVersion: member.optional("userVersion") ?? 0,
            applicationID: member.optional("applicationID") ?? 0,
            encoding: member.optional("encoding") ?? "UTF-8",
            pageSize: member.optional("pageSize") ?? 0,
            autoVacuum: member.optional("autoVacuum") ?? 0)
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("userVersion", userVersion)
            json.member("applicationID", applicationID)
            json.member("encoding", encoding)
            json.member("pageSize", pageSize)
            json.member("autoVacuum", autoVacuum)
        }
    }
}

extension FileOwnership: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            owner: member("owner"), group: member("group"), mode: member("mode"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("owner", owner)
            json.member("group", group)
            json.member("mode", mode)
        }
    }
}

extension PointRecord: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        let shared = json.shared
        try self.init(
            sequence: member("sequence"), name: member("name"), kind: member("kind"),
            parent: member.optional("parent"), parentHash: member.optional("parentHash"),
            cut: member("cut"), operation: member("operation"), uid: member.optional("uid"),
            files: member("files"), tables: member("tables"),
            removed: member.optional("removed") ?? [],
            notBackedUp: member.optional("notBackedUp") {
                try $0.sharing(shared.notBackedUp) { try [NotBackedUp](json: &$0) }
            } ?? [],
            views: member.optional("views") { try $0.sharing(shared.texts) { try $0.string() } }
                ?? "", facts: member.optional("facts"), ownership: member.optional("ownership"))
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
            if !views.isEmpty { json.member("views", views) }
            json.member("facts", facts)
            json.member("ownership", ownership)
        }
    }
}
