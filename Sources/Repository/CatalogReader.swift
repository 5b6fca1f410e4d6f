import Bytes
import Tables

/// Reads a catalog's content, which may be damaged in ways that its checksum doesn't show.
struct CatalogReader {
    private let content: ByteBuffer
    private var position = 0

    static let damaged = Failure(.corrupt, "its content is damaged")

    init(_ content: ByteBuffer) { self.content = content }

    private mutating func number() throws -> UInt64 {
        guard let value = Varint.read(content, at: &position, end: content.count) else {
            throw Self.damaged
        }
        return value
    }

    private mutating func number<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard let value = T(exactly: try number()) else { throw Self.damaged }
        return value
    }

    private mutating func signed() throws -> Int64 {
        let value = try number()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    private mutating func byte() throws -> UInt8 {
        guard position < content.count else { throw Self.damaged }
        defer { position += 1 }
        return content.load(at: position, as: UInt8.self)
    }

    private mutating func flag() throws -> Bool {
        switch try byte() {
        case 0: false
        case 1: true
        default: throw Self.damaged
        }
    }

    private mutating func text() throws -> String {
        let length = try number()
        guard length <= UInt64(content.count - position),
            let text = content.text(position..<position + Int(length))
        else { throw Self.damaged }
        position += Int(length)
        return text
    }

    private mutating func list<T>(_ read: (inout Self) throws -> T) throws -> [T] {
        let count = try number()
        // An element takes a byte at least.
        guard count <= UInt64(content.count - position) else { throw Self.damaged }
        var elements: [T] = []
        elements.reserveCapacity(Int(count))
        for _ in 0..<count { elements.append(try read(&self)) }
        return elements
    }

    private mutating func optional<T>(_ read: (inout Self) throws -> T) throws -> T? {
        try flag() ? read(&self) : nil
    }

    private mutating func map<T>(_ read: (inout Self) throws -> T) throws -> [String: T] {
        var values: [String: T] = [:]
        for (key, value) in try list({ (try $0.text(), try read(&$0)) }) {
            guard values.updateValue(value, forKey: key) == nil else { throw Self.damaged }
        }
        return values
    }

    mutating func state(id: String) throws -> CollectionState {
        var state = CollectionState(id: id, name: try text())
        state.lastEntry = try number()
        state.lastHash = try text()
        state.nextSequence = try number()
        state.nextFileNumber = try number()
        state.nextTableID = try number(UInt32.self)
        state.lastName = try optional { try $0.text() }
        state.lastUID = try optional { try $0.text() }
        state.lastFullUID = try optional { try $0.text() }
        state.lastDefinition = try optional { try $0.definition(state.name) }
        state.isDropped = try flag()
        state.condemned = try map { try $0.signed() }
        for file in try list({ try $0.file() }) { state.files[file.number] = file }
        state.sequenceByUID = try map { try $0.number() }
        state.catalogs = try list { reader in
            let entry = try reader.number()
            let catalog = CatalogReference(
                name: try reader.text(), bytes: try reader.number(), sha256: try reader.text())
            return (entry, catalog)
        }
        let live = try points()
        try state.restore(points: live, dropped: points())
        let tables = try list { try $0.table() }
        try state.restore(tables: tables)
        state.lostEntries = try list { try $0.number() }
        state.lostPoints = try list {
            LostPoint(sequence: try $0.number(), name: try $0.text(), reason: try $0.text())
        }
        state.keptFiles = Set(try list { try $0.text() })
        guard position == content.count else { throw Self.damaged }
        try state.checkBounds()
        return state
    }

    private mutating func definition(_ name: String) throws -> CollectionDefinition {
        CollectionDefinition(
            name: name, tables: try list { try $0.text() }, isDatabase: try flag(),
            settings: try map { try $0.text() }, sourceKind: try optional { try $0.text() },
            sql: try text(), time: try signed())
    }

    private mutating func points() throws -> [BackupPoint] {
        var notBackedUp: [NotBackedUp] = []
        var views = ""
        return try list { reader in
            let sequence = try reader.number()
            let name = try reader.text()
            let kind: PointKind = try reader.flag() ? .incremental : .full
            let parent = try reader.optional { try $0.number() }
            let cut = try reader.signed()
            let operation = try reader.number()
            let uid = try reader.optional { try $0.text() }
            let entry = try reader.number()
            let hash = try reader.text()
            let parentName = try reader.optional { try $0.text() }
            let chain = try reader.number()
            let isPinned = try reader.flag()
            let dropped = try reader.optional { try $0.signed() }
            let files = try reader.list { try $0.file() }
            let changed = try reader.list { try $0.number(UInt32.self) }
            let removed = try reader.list { try $0.number(UInt32.self) }
            if try !reader.flag() {
                notBackedUp = try reader.list {
                    NotBackedUp(path: try $0.text(), reason: try $0.text())
                }
            }
            if try !reader.flag() { views = try reader.text() }
            let facts = try reader.optional { try $0.facts() }
            let ownership = try reader.optional { reader in
                FileOwnership(
                    owner: try reader.number(UInt32.self), group: try reader.number(UInt32.self),
                    mode: try reader.number(UInt32.self))
            }
            return BackupPoint(
                sequence: sequence, name: name, kind: kind, parent: parent, parentName: parentName,
                chain: chain, cut: cut, operation: operation, uid: uid, files: files,
                changed: changed, removed: removed, notBackedUp: notBackedUp, views: views,
                facts: facts, ownership: ownership, entry: entry, hash: hash, isPinned: isPinned,
                dropped: dropped)
        }
    }

    private mutating func facts() throws -> DatabaseFacts {
        DatabaseFacts(
            userVersion: try signed(), applicationID: try signed(), encoding: try text(),
            pageSize: try signed(), autoVacuum: try signed())
    }

    private mutating func file() throws -> FileReference {
        FileReference(
            number: try number(), name: try text(), table: try optional { try $0.text() },
            bytes: try number(), rows: try number(), sha256: try text())
    }

    private mutating func table() throws -> (id: UInt32, history: TableHistory) {
        let id = try number(UInt32.self)
        let tid = try text()
        var history = TableHistory(tid: tid)
        var before: TableRecord?
        for version in try list({ try $0.version(id, tid, &before) }) {
            guard history.versions.last.map({ $0.sequence < version.sequence }) ?? true else {
                throw Self.damaged
            }
            history.append(version)
        }
        return (id, history)
    }

    private mutating func version(
        _ id: UInt32, _ tid: String, _ before: inout TableRecord?
    ) throws -> TableHistory.Version {
        let sequence = try number()
        let cut = try signed()
        let bits = VersionBits(rawValue: try byte())
        guard bits.contains(.isThere) else {
            return TableHistory.Version(sequence: sequence, cut: cut, record: nil)
        }
        func known<T>(_ bit: VersionBits, _ value: T?) throws -> T? {
            guard bits.contains(bit) else { return nil }
            guard let value else { throw Self.damaged }
            return value
        }
        let path = try known(.samePath, before?.path) ?? text()
        let schema = try known(.sameSchema, before?.schema) ?? self.schema()
        let nextColumnID = try number(UInt32.self)
        let sql = try known(.sameSQL, before?.sql) ?? text()
        let traits = try known(.sameSQL, before?.traits) ?? self.traits()
        let record = TableRecord(
            id: id, tid: tid, path: path, schema: schema, nextColumnID: nextColumnID, sql: sql,
            rows: try number(),
            inserted: try number(), updated: try number(), deleted: try number(),
            sizes: try map { try $0.number() },
            formats: try known(.sameFormats, before?.formats) ?? map { try $0.number(Int.self) },
            contentHash: try text(), snapshot: try snapshot(), files: try neededFiles(),
            isReset: bits.contains(.isReset), isRenumbered: bits.contains(.isRenumbered),
            sequence: try optional { try $0.signed() }, shadowOf: try optional { try $0.text() },
            notes: try list { try $0.text() }, traits: traits)
        before = record
        return TableHistory.Version(sequence: sequence, cut: cut, record: record)
    }

    private mutating func traits() throws -> DumpedTraits {
        var traits = DumpedTraits()
        traits.table = try text()
        for (id, text) in try list({ (try $0.number(UInt32.self), try $0.text()) }) {
            traits.columns[id] = text
        }
        traits.notNull = try list { try $0.number(UInt32.self) }
        traits.leftOut = try list { try $0.text() }
        return traits
    }

    private mutating func snapshot() throws -> BlockReference {
        let (file, offset, length) = (try number(), try number(), try number())
        guard position + 8 <= content.count else { throw Self.damaged }
        defer { position += 8 }
        return BlockReference(
            file: file, offset: offset, length: length,
            hash: content.load(at: position, as: UInt64.self))
    }

    private mutating func neededFiles() throws -> [NeededFile] {
        try list { NeededFile(number: try $0.number(), rows: try $0.number()) }
    }

    private mutating func schema() throws -> TableSchema {
        let columns = try list { reader in
            Column(
                id: try reader.number(UInt32.self), name: try reader.text(),
                type: try ColumnType(name: reader.text()), isLiteral: try reader.flag(),
                isHidden: try reader.flag(),
                standIn: try reader.optional { try StandIn($0.text()) })
        }
        return try TableSchema(
            columns: columns, key: list { try $0.number(Int.self) },
            primaryKey: list { try $0.number(Int.self) })
    }
}

extension CollectionState {
    fileprivate mutating func restore(
        points live: [BackupPoint], dropped: [BackupPoint]
    ) throws {
        points = live
        droppedPoints = dropped
        for list in [dropped, live] {
            guard zip(list, list.dropFirst()).allSatisfy({ $0.sequence < $1.sequence }) else {
                throw CatalogReader.damaged
            }
            for point in list { sequenceByName[point.name] = point.sequence }
        }
    }

    fileprivate mutating func restore(tables: [(id: UInt32, history: TableHistory)]) throws {
        for (id, history) in tables {
            guard isHex(history.tid, count: 32) else { throw CatalogReader.damaged }
            guard histories.updateValue(history, forKey: id) == nil else {
                throw CatalogReader.damaged
            }
            ids.append(id)
            for version in history.versions {
                if let path = version.record?.path { remember(id, at: path) }
            }
        }
    }
}

/// What a version of a table has in common with the one before, see `CatalogFile`.
struct VersionBits: OptionSet {
    let rawValue: UInt8

    static let isThere = Self(rawValue: 1)
    static let samePath = Self(rawValue: 2)
    static let sameSchema = Self(rawValue: 4)
    static let sameSQL = Self(rawValue: 8)
    static let sameFormats = Self(rawValue: 16)
    static let isReset = Self(rawValue: 32)
    static let isRenumbered = Self(rawValue: 64)
}
