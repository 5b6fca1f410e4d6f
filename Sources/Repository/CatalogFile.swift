import Bytes
import Tables

/// A catalog file as the log entry that names it describes it.
package struct CatalogReference: Sendable, Hashable {
    /// 32 hexadecimal digits and `.cat`.
    package var name: String
    package var bytes: UInt64
    /// 64 hexadecimal digits.
    package var sha256: String
}

/// The catalog of a collection, byte by byte: its state after an entry of the log, so that a mount
/// needn't read all entries up to there. It repeats what the log says and can always be made again.
///
/// Integers of a fixed size are little-endian; `v` is a LEB128, `z` one of a zigzag number; `text` is
/// v length | UTF-8; `flag` is u8 0 or 1; `list of x` is v count | x, x, …; `optional x` is
/// flag | x if 1.
///
/// ```
/// file      "YDBFSCT1" | u64 length of the content | zstd frame of the content
///
/// content   text name of the collection
///           v number of the last entry | text its SHA-256
///           v next sequence | v next file number | v next table id
///           optional definition (none: the collection is dropped)
///           list of text: condemned file names, in order
///           list of: v entry | text name | v bytes | text SHA-256      the catalogs still in use
///           list of point, live | list of point, dropped
///           list of table, in order of first appearance
///           optional capture
///
/// definition  list of text: tables | flag whole database | list of: text key | text value
///             text sql | z time
/// point     v sequence | text name | flag incremental | optional v parent | z cut | v operation
///           optional text uid | v entry | text its SHA-256
///           list of file | list of v: changed tables | list of v: removed tables
///           flag not backed up as at the point before, else list of: text path | text reason
/// file      v number | text name | v bytes | v rows | text SHA-256
/// table     v id | list of version
/// version   v sequence | u8 bits: 1 there is a table · and as at the table before in this list:
///           2 path · 4 schema · 8 sql · 16 formats · 32 reset; if there is a table:
///             text path | schema                                  unless as before
///             v next column id
///             text sql                                            unless as before
///             v rows | v inserted | v updated | v deleted
///             list of: text format | v bytes of the rendered file
///             list of: text format | v version of its rules       unless as before
///             text content hash
///             v file | v offset | v length | u64 hash             of the snapshot's root
/// schema    list of: v id | text name | text type | flag literal; list of v: key
/// capture   text database | list of: text table | text state
/// ```
enum CatalogFile {
    private static let magic = "YDBFSCT1"
    private static let headBytes = 16
    /// A collection of 100,000 wide tables stays far below it.
    static let limitBytes = 1 << 30

    static func encoded(_ state: CollectionState) throws -> ByteBuffer {
        let writer = CatalogWriter()
        writer.state(state)
        let content = writer.output
        let file = ByteBuffer(capacity: content.count / 2 + 64)
        file.append(magic)
        file.append(fixed: UInt64(content.count))
        try content.withBytes { try Zstd.compress($0, level: 1, into: file) }
        return file
    }

    /// Throws `.corrupt`, or `.unsupported` for what a newer version has written.
    static func decoded(_ file: ByteBuffer, id: String) throws -> CollectionState {
        guard file.count >= headBytes,
            (0..<8).allSatisfy({ file.load(at: $0, as: UInt8.self) == Array(magic.utf8)[$0] })
        else { throw Failure(.unsupported, "it is no catalog, or one of another version") }
        let size = file.load(at: 8, as: UInt64.self)
        guard size <= UInt64(limitBytes) else { throw CatalogReader.damaged }
        let content = try file.withBytes {
            try Zstd.decompress($0.from(headBytes), size: Int(size))
        }
        var reader = CatalogReader(content)
        return try reader.state(id: id)
    }
}

// MARK: Writing

private struct CatalogWriter {
    let output = ByteBuffer(capacity: 1 << 16)

    private func number(_ value: some FixedWidthInteger & UnsignedInteger) {
        Varint.append(UInt64(value), to: output)
    }

    private func signed(_ value: Int64) { number(UInt64(bitPattern: value << 1 ^ value >> 63)) }

    private func flag(_ value: Bool) { output.append(byte: value ? 1 : 0) }

    private func text(_ value: String) {
        number(UInt64(value.utf8.count))
        output.append(value)
    }

    private func list<S: Collection>(_ elements: S, _ write: (S.Element) -> Void) {
        number(UInt64(elements.count))
        elements.forEach(write)
    }

    private func optional<T>(_ value: T?, _ write: (T) -> Void) {
        flag(value != nil)
        if let value { write(value) }
    }

    /// By key, so that equal states have equal catalogs.
    private func map<T>(_ values: [String: T], _ write: (T) -> Void) {
        list(values.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            text($0.key)
            write($0.value)
        }
    }

    func state(_ state: CollectionState) {
        text(state.name)
        number(state.lastEntry)
        text(state.lastHash ?? "")
        number(state.nextSequence)
        number(state.nextFileNumber)
        number(state.nextTableID)
        optional(state.definition, definition)
        list(state.condemned.sorted(), text)
        list(state.catalogs) { entry, catalog in
            number(entry)
            text(catalog.name)
            number(catalog.bytes)
            text(catalog.sha256)
        }
        for points in [state.points, state.droppedPoints] {
            var before: [NotBackedUp]?
            list(points) { point in
                self.point(point, before)
                before = point.notBackedUp
            }
        }
        list(state.ids) { id in
            number(id)
            var before: TableRecord?
            list(state.histories[id]!.versions) { version in
                self.version(version, before)
                before = version.record ?? before
            }
        }
        optional(state.capture) { capture in
            text(capture.database)
            map(capture.tables, text)
        }
    }

    private func definition(_ definition: CollectionDefinition) {
        list(definition.tables, text)
        flag(definition.isDatabase)
        map(definition.settings, text)
        text(definition.sql)
        signed(definition.time)
    }

    private func point(_ point: BackupPoint, _ before: [NotBackedUp]?) {
        number(point.sequence)
        text(point.name)
        flag(point.kind == .incremental)
        optional(point.parent) { number($0) }
        signed(point.cut)
        number(point.operation)
        optional(point.uid, text)
        number(point.entry)
        text(point.hash)
        list(point.files) { file in
            number(file.number)
            text(file.name)
            number(file.bytes)
            number(file.rows)
            text(file.sha256)
        }
        list(point.changed) { number($0) }
        list(point.removed) { number($0) }
        flag(point.notBackedUp == before)
        if point.notBackedUp != before {
            list(point.notBackedUp) { table in
                text(table.path)
                text(table.reason)
            }
        }
    }

    private func version(_ version: TableHistory.Version, _ before: TableRecord?) {
        number(version.sequence)
        guard let record = version.record else { return output.append(byte: 0) }
        var bits: VersionBits = .isThere
        if record.isReset { bits.insert(.isReset) }
        if let before {
            if record.has(path: before.path) { bits.insert(.samePath) }
            if record.schema == before.schema { bits.insert(.sameSchema) }
            if record.sql.hasSameBytes(as: before.sql) { bits.insert(.sameSQL) }
            if record.formats == before.formats { bits.insert(.sameFormats) }
        }
        output.append(byte: bits.rawValue)
        if !bits.contains(.samePath) { text(record.path) }
        if !bits.contains(.sameSchema) { schema(record.schema) }
        number(record.nextColumnID)
        if !bits.contains(.sameSQL) { text(record.sql) }
        number(record.rows)
        number(record.inserted)
        number(record.updated)
        number(record.deleted)
        map(record.sizes) { number($0) }
        if !bits.contains(.sameFormats) { map(record.formats) { number(UInt64($0)) } }
        text(record.contentHash)
        number(record.snapshot.file)
        number(record.snapshot.offset)
        number(record.snapshot.length)
        output.append(fixed: record.snapshot.hash)
    }

    private func schema(_ schema: TableSchema) {
        list(schema.columns) { column in
            number(column.id)
            text(column.name)
            text(column.type.name)
            flag(column.isLiteral)
        }
        list(schema.key) { number(UInt64($0)) }
    }
}

private struct VersionBits: OptionSet {
    let rawValue: UInt8

    static let isThere = Self(rawValue: 1)
    static let samePath = Self(rawValue: 2)
    static let sameSchema = Self(rawValue: 4)
    static let sameSQL = Self(rawValue: 8)
    static let sameFormats = Self(rawValue: 16)
    static let isReset = Self(rawValue: 32)
}

// MARK: Reading

private struct CatalogReader {
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
        state.definition = try optional { try $0.definition(state.name) }
        state.condemned = Set(try list { try $0.text() })
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
        state.capture = try optional { reader in
            CaptureState(
                database: try reader.text(), tables: try reader.map { try $0.text() })
        }
        guard position == content.count else { throw Self.damaged }
        return state
    }

    private mutating func definition(_ name: String) throws -> CollectionDefinition {
        CollectionDefinition(
            name: name, tables: try list { try $0.text() }, isDatabase: try flag(),
            settings: try map { try $0.text() }, sql: try text(), time: try signed())
    }

    private mutating func points() throws -> [BackupPoint] {
        var notBackedUp: [NotBackedUp] = []
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
            let files = try reader.list { try $0.file() }
            let changed = try reader.list { try $0.number(UInt32.self) }
            let removed = try reader.list { try $0.number(UInt32.self) }
            if try !reader.flag() {
                notBackedUp = try reader.list {
                    NotBackedUp(path: try $0.text(), reason: try $0.text())
                }
            }
            return BackupPoint(
                sequence: sequence, name: name, kind: kind, parent: parent, cut: cut,
                operation: operation, uid: uid, files: files, changed: changed, removed: removed,
                notBackedUp: notBackedUp, entry: entry, hash: hash)
        }
    }

    private mutating func file() throws -> FileReference {
        FileReference(
            number: try number(), name: try text(), bytes: try number(), rows: try number(),
            sha256: try text())
    }

    private mutating func table() throws -> (id: UInt32, history: TableHistory) {
        let id = try number(UInt32.self)
        var history = TableHistory()
        var before: TableRecord?
        for version in try list({ try $0.version(id, &before) }) {
            guard history.versions.last.map({ $0.sequence < version.sequence }) ?? true else {
                throw Self.damaged
            }
            history.append(version)
        }
        return (id, history)
    }

    private mutating func version(
        _ id: UInt32, _ before: inout TableRecord?
    ) throws -> TableHistory.Version {
        let sequence = try number()
        let bits = VersionBits(rawValue: try byte())
        guard bits.contains(.isThere) else {
            return TableHistory.Version(sequence: sequence, record: nil)
        }
        func known<T>(_ bit: VersionBits, _ value: T?) throws -> T? {
            guard bits.contains(bit) else { return nil }
            guard let value else { throw Self.damaged }
            return value
        }
        let record = TableRecord(
            id: id, path: try known(.samePath, before?.path) ?? text(),
            schema: try known(.sameSchema, before?.schema) ?? schema(),
            nextColumnID: try number(UInt32.self),
            sql: try known(.sameSQL, before?.sql) ?? text(), rows: try number(),
            inserted: try number(), updated: try number(), deleted: try number(),
            sizes: try map { try $0.number() },
            formats: try known(.sameFormats, before?.formats) ?? map { try $0.number(Int.self) },
            contentHash: try text(), snapshot: try snapshot(), isReset: bits.contains(.isReset))
        before = record
        return TableHistory.Version(sequence: sequence, record: record)
    }

    private mutating func snapshot() throws -> BlockReference {
        let (file, offset, length) = (try number(), try number(), try number())
        guard position + 8 <= content.count else { throw Self.damaged }
        defer { position += 8 }
        return BlockReference(
            file: file, offset: offset, length: length,
            hash: content.load(at: position, as: UInt64.self))
    }

    private mutating func schema() throws -> TableSchema {
        let columns = try list { reader in
            Column(
                id: try reader.number(UInt32.self), name: try reader.text(),
                type: try ColumnType(name: reader.text()), isLiteral: try reader.flag())
        }
        return try TableSchema(columns: columns, key: try list { try $0.number(Int.self) })
    }
}

// MARK: Putting the state together

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
            for point in list {
                sequenceByName[point.name] = point.sequence
                for file in point.files { files[file.number] = file }
            }
        }
        for point in live {
            if let uid = point.uid { sequenceByUID[uid] = point.sequence }
        }
    }

    fileprivate mutating func restore(tables: [(id: UInt32, history: TableHistory)]) throws {
        for (id, history) in tables {
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
