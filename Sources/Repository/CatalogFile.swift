import Bytes
import Crypto
import Tables

/// A catalog file as the log entry that names it describes it.
package struct CatalogReference: Sendable, Hashable {
    /// 32 hexadecimal digits and `.cat`.
    package var name: String
    package var bytes: UInt64
    /// 64 hexadecimal digits.
    package var sha256: String
}

extension CatalogReference {
    init(name: String, content: [UInt8]) {
        self.init(
            name: name, bytes: UInt64(content.count), sha256: hexText(SHA256.hash(data: content)))
    }
}

/// The catalog of a collection, byte by byte: its state after an entry of the log, so that a mount
/// needn't read all entries up to there. It repeats what the log says and can always be made again.
///
/// Integers of a fixed size are little-endian; `v` is a LEB128, `z` one of a zigzag number; `text` is
/// v length | UTF-8; `flag` is u8 0 or 1; `list of x` is v count | x, x, …; `optional x` is
/// flag | x if 1.
///
/// ```
/// file      "YDBFSCT6" | u64 length of the content | zstd frame of the content
///
/// content   text name of the collection
///           v number of the last entry | text its SHA-256
///           v next sequence | v next file number | v next table id
///           optional text: name of the last point ever made
///           optional text, optional text: uids of the last point and full made with one
///           optional definition | flag the collection is dropped
///           list of: text place of a condemned file | z since when, in order of places
///           list of file: those that points need or have needed
///           list of: text uid | v sequence      of points made with one, in order of uids
///           list of: v entry | text name | v bytes | text SHA-256      the catalogs still in use
///           list of point, live | list of point, dropped
///           list of table, in order of first appearance
///           list of v: entries that are lost
///           list of: v sequence | text name | text reason      of points that are lost
///           list of text: places of files that lost entries may have named, in order
///
/// definition  list of text: tables | flag whole database | list of: text key | text value
///             optional text kind of source | text sql | z time
/// point     v sequence | text name | flag incremental | optional v parent | z cut | v operation
///           optional text uid | v entry | text its SHA-256
///           optional text name of the parent | v sequence of its chain's full
///           flag pinned | optional z dropped when
///           list of file | list of v: changed tables | list of v: removed tables
///           flag not backed up as at the point before, else list of: text path | text reason
///           flag views as at the point before (none before the first), else text
///           optional facts | optional: v owner | v group | v mode of the database's file
/// facts     z user version | z application id | text encoding | z page size | z auto_vacuum
/// file      v number | text name | optional text table | v bytes | v rows | text SHA-256
/// table     v id | text tid | list of version
/// version   v sequence | z cut of the point that changed it | u8 bits: 1 there is a table · and as at the table before in this list:
///           2 path · 4 schema · 8 sql, traits · 16 formats; 32 reset · 64 renumbered; if there is a table:
///             text path | schema                                  unless as before
///             v next column id
///             text sql | traits                                   unless as before
///             v rows | v inserted | v updated | v deleted
///             list of: text format | v bytes of the rendered file
///             list of: text format | v version of its rules       unless as before
///             text content hash
///             v file | v offset | v length | u64 hash             of the snapshot's root
///             list of: v number | v rows                          of the files it needs
///             optional z sequence | optional text shadow of | list of text: notes
/// traits    text fields of the table | list of: v column's id | text its fields, in order of ids
///           | list of v: ids of columns without NULL | list of text: what is left out
/// schema    list of: v id | text name | text type | flag literal | flag hidden
///             | optional text: stand-in; list of v: key; list of v: primary key
/// ```
enum CatalogFile {
    private static let magic = "YDBFSCT6"
    private static let headBytes = 16
    /// A collection of 100,000 wide tables stays far below it.
    static let limitBytes = 1 << 30

    static func encoded(_ state: CollectionState) throws -> ByteBuffer {
        let content = content(of: state)
        let file = ByteBuffer(capacity: content.count / 2 + 64)
        file.append(magic)
        file.append(fixed: UInt64(content.count))
        try content.withBytes { try Zstd.compressModestly($0, level: 1, into: file) }
        return file
    }

    /// What a catalog of the state holds before it is compressed: equal states have equal contents.
    static func content(of state: CollectionState) -> ByteBuffer {
        let writer = CatalogWriter()
        writer.state(state)
        return writer.output
    }

    /// A file's bytes, to be decoded.
    static func buffer(_ bytes: [UInt8]) -> ByteBuffer {
        let buffer = ByteBuffer(capacity: max(1, bytes.count))
        buffer.append(bytes)
        return buffer
    }

    /// Throws `.corrupt`, or `.unsupported` for what a newer version has written.
    static func decoded(_ file: ByteBuffer, id: String) throws -> CollectionState {
        var reader = CatalogReader(try content(file))
        return try reader.state(id: id)
    }

    /// What a catalog holds.
    static func content(_ file: ByteBuffer) throws -> ByteBuffer {
        guard file.count >= headBytes,
            (0..<8).allSatisfy({ file.load(at: $0, as: UInt8.self) == Array(magic.utf8)[$0] })
        else { throw Failure(.unsupported, "it is no catalog, or one of another version") }
        let size = file.load(at: 8, as: UInt64.self)
        guard size <= UInt64(limitBytes), Zstd.isModest(size: Int(size), compressed: file.count)
        else { throw CatalogReader.damaged }
        return try file.withBytes { try Zstd.decompress($0.from(headBytes), size: Int(size)) }
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
        optional(state.lastName, text)
        optional(state.lastUID, text)
        optional(state.lastFullUID, text)
        optional(state.lastDefinition, definition)
        flag(state.isDropped)
        map(state.condemned, signed)
        list(state.files.values.sorted { $0.number < $1.number }, file)
        map(state.sequenceByUID) { number($0) }
        list(state.catalogs) { entry, catalog in
            number(entry)
            text(catalog.name)
            number(catalog.bytes)
            text(catalog.sha256)
        }
        for points in [state.points, state.droppedPoints] {
            var before: BackupPoint?
            list(points) { point in
                self.point(point, before)
                before = point
            }
        }
        list(state.ids) { id in
            number(id)
            text(state.histories[id]!.tid)
            var before: TableRecord?
            list(state.histories[id]!.versions) { version in
                self.version(version, before)
                before = version.record ?? before
            }
        }
        list(state.lostEntries) { number($0) }
        list(state.lostPoints) { point in
            number(point.sequence)
            text(point.name)
            text(point.reason)
        }
        list(state.keptFiles.sorted(), text)
    }

    private func definition(_ definition: CollectionDefinition) {
        list(definition.tables, text)
        flag(definition.isDatabase)
        map(definition.settings, text)
        optional(definition.sourceKind, text)
        text(definition.sql)
        signed(definition.time)
    }

    private func point(_ point: BackupPoint, _ before: BackupPoint?) {
        number(point.sequence)
        text(point.name)
        flag(point.kind == .incremental)
        optional(point.parent) { number($0) }
        signed(point.cut)
        number(point.operation)
        optional(point.uid, text)
        number(point.entry)
        text(point.hash)
        optional(point.parentName, text)
        number(point.chain)
        flag(point.isPinned)
        optional(point.dropped, signed)
        list(point.files, file)
        list(point.changed) { number($0) }
        list(point.removed) { number($0) }
        flag(point.notBackedUp == before?.notBackedUp)
        if point.notBackedUp != before?.notBackedUp {
            list(point.notBackedUp) { table in
                text(table.path)
                text(table.reason)
            }
        }
        let hasSameViews = point.views.hasSameBytes(as: before?.views ?? "")
        flag(hasSameViews)
        if !hasSameViews { text(point.views) }
        optional(point.facts, facts)
        optional(point.ownership) { file in
            number(file.owner)
            number(file.group)
            number(file.mode)
        }
    }

    private func facts(_ facts: DatabaseFacts) {
        signed(facts.userVersion)
        signed(facts.applicationID)
        text(facts.encoding)
        signed(facts.pageSize)
        signed(facts.autoVacuum)
    }

    private func file(_ file: FileReference) {
        number(file.number)
        text(file.name)
        optional(file.table, text)
        number(file.bytes)
        number(file.rows)
        text(file.sha256)
    }

    private func version(_ version: TableHistory.Version, _ before: TableRecord?) {
        number(version.sequence)
        signed(version.cut)
        guard let record = version.record else { return output.append(byte: 0) }
        var bits: VersionBits = .isThere
        if record.isReset { bits.insert(.isReset) }
        if record.isRenumbered { bits.insert(.isRenumbered) }
        if let before {
            if record.has(path: before.path) { bits.insert(.samePath) }
            if record.schema == before.schema { bits.insert(.sameSchema) }
            if record.sql.hasSameBytes(as: before.sql), record.traits == before.traits {
                bits.insert(.sameSQL)
            }
            if record.formats == before.formats { bits.insert(.sameFormats) }
        }
        output.append(byte: bits.rawValue)
        if !bits.contains(.samePath) { text(record.path) }
        if !bits.contains(.sameSchema) { schema(record.schema) }
        number(record.nextColumnID)
        if !bits.contains(.sameSQL) {
            text(record.sql)
            traits(record.traits)
        }
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
        list(record.files) { file in
            number(file.number)
            number(file.rows)
        }
        optional(record.sequence, signed)
        optional(record.shadowOf, text)
        list(record.notes, text)
    }

    private func traits(_ traits: DumpedTraits) {
        text(traits.table)
        list(traits.columns.sorted { $0.key < $1.key }) { column in
            number(column.key)
            text(column.value)
        }
        list(traits.notNull) { number($0) }
        list(traits.leftOut, text)
    }

    private func schema(_ schema: TableSchema) {
        list(schema.columns) { column in
            number(column.id)
            text(column.name)
            text(column.type.name)
            flag(column.isLiteral)
            flag(column.isHidden)
            optional(column.standIn?.description) { text($0) }
        }
        list(schema.key) { number(UInt64($0)) }
        list(schema.primaryKey) { number(UInt64($0)) }
    }
}
