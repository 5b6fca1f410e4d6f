import Bytes
import Tables

/// One point of a dump.
final class DumpCut: SourceCut {
    let instant: Int64
    let views = ""

    private let folder: DumpFolder
    private let isIncremental: Bool
    /// The full that an incremental stands on.
    private let base: DumpFolder?
    private let sortLimits: SortLimits
    private var tables: [String: DumpTable] = [:]

    init(_ point: SourcePoint, folder: DumpFolder, base: DumpFolder?, sortLimits: SortLimits) {
        instant = point.cut
        isIncremental = point.isIncremental
        self.folder = folder
        self.base = base
        self.sortLimits = sortLimits
    }

    func listTables() throws -> [SourceTable] { try folder.listTables() }

    private func table(_ path: String) throws -> DumpTable {
        if let known = tables[path] { return known }
        guard let scheme = try folder.scheme(of: path) else {
            throw Failure(.notFound, "\(folder.path) has no table \(path)")
        }
        let table = try DumpTable(
            scheme, isIncremental: isIncremental, files: folder.dataFiles(of: path, scheme))
        tables[path] = table
        return table
    }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        let table = try table(path)
        var notes = table.scheme.notes
        let schema: TableSchema
        if table.isDelta {
            guard let parent else { throw onlyChanges(path) }
            schema = try table.schema(changing: parent, nextColumnID: nextColumnID, &notes)
        } else {
            schema = try table.schema(parent: parent, nextColumnID: nextColumnID)
        }
        let whole = table.isDelta ? try base?.scheme(of: path) : nil
        if isIncremental, !table.isDelta {
            notes.append(
                "\(folder.directory(of: path)) has no change markers: taken as the whole table")
        }
        return TableDescription(
            schema: schema, sql: DumpTableText.create(path, whole ?? table.scheme, schema),
            notes: notes,
            traits: whole?.traits(of: schema, added: table.scheme)
                ?? table.scheme.traits(of: schema))
    }

    private func onlyChanges(_ path: String) -> Failure {
        Failure(
            .unsupported,
            "\(folder.directory(of: path)) holds only changes, and there is no full backup of the table "
                + "before it")
    }

    func countRows(_ path: String) throws -> UInt64 { try table(path).order({}).rows }

    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        let table = try table(path)
        if table.isDelta { throw onlyChanges(path) }
        return (table.rows(as: schema), try table.order({}).isKeyOrder)
    }

    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        let table = try table(path)
        if table.isDelta { throw onlyChanges(path) }
        return try table.sorted(
            table.rows(as: schema), schema: schema, sortLimits, checkpoint: checkpoint)
    }

    func delta(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> (any RowCursor)? {
        let table = try table(path)
        guard table.isDelta else { return nil }
        return try table.sorted(
            table.changes(of: schema), schema: DeltaRows.schema(of: schema), sortLimits,
            checkpoint: checkpoint)
    }

    func findings(_ path: String) -> [String] {
        tables[path]?.markers?.findings.map { "\(path): \($0)" } ?? []
    }

    func close() {}
}

/// A table in one point of a dump.
private final class DumpTable {
    let scheme: DumpScheme
    /// Of a table that holds only changes.
    private(set) var markers: DumpMarkers?
    private let files: [DumpFile]
    private var knownOrder: (isKeyOrder: Bool, rows: UInt64)?

    init(_ scheme: DumpScheme, isIncremental: Bool, files: [DumpFile]) throws(Failure) {
        self.scheme = scheme
        self.files = files
        markers = isIncremental ? try DumpMarkers(scheme) : nil
    }

    var isDelta: Bool { markers != nil }

    // MARK: Columns

    private func isSame(_ column: Column, as other: DumpScheme.Column) -> Bool {
        column.name.hasSameBytes(as: other.name) && column.type == other.type
    }

    /// The schema of the whole table: columns that are the same as in `parent` keep their ids.
    func schema(parent: TableSchema?, nextColumnID: UInt32) throws -> TableSchema {
        var nextID = nextColumnID
        let columns = scheme.columns.map { column -> Column in
            if let known = parent?.columns.first(where: { isSame($0, as: column) }) { return known }
            defer { nextID += 1 }
            return Column(
                id: nextID, name: column.name, type: column.type,
                standIn: parent == nil ? nil : column.standIn)
        }
        return try TableSchema(columns: columns, key: scheme.key)
    }

    /// The schema of a table after changes: its columns, and behind them those that are new.
    func schema(
        changing parent: TableSchema, nextColumnID: UInt32, _ notes: inout [String]
    ) throws -> TableSchema {
        var schema = parent
        var nextID = nextColumnID
        let key = scheme.key.map { scheme.columns[$0].name }
        let parentKey = parent.key.map { parent.columns[$0].name }
        guard key.elementsEqual(parentKey, by: { $0.hasSameBytes(as: $1) }) else {
            throw Failure(
                .corrupt,
                "\(scheme.file): the key is (\(key.joined(separator: ", "))), and it was "
                    + "(\(parentKey.joined(separator: ", "))) before")
        }
        for column in scheme.columns where !DumpMarkers.isMarker(column.name) {
            let known = parent.columns.first { $0.name.hasSameBytes(as: column.name) }
            if let known {
                guard known.type == column.type else {
                    throw Failure(
                        .corrupt,
                        "\(scheme.file):\(column.line): column \(column.name) is "
                            + "\(column.type.name), and it was \(known.type.name) before")
                }
                continue
            }
            schema.columns.append(
                Column(
                    id: nextID, name: column.name, type: column.type,
                    standIn: column.standIn ?? StandIn(bytes: nil)))
            nextID += 1
        }
        for column in parent.columns where scheme.index(of: column.name) == nil {
            notes.append(
                "\(scheme.file): column \(column.name) isn't there: its values are those of the "
                    + "point before")
        }
        return schema
    }

    // MARK: Rows

    private func fields(of schema: TableSchema, isWhole: Bool) -> [DumpRows.Field] {
        scheme.columns.map { column in
            DumpRows.Field(
                name: column.name, type: column.type, isNotNull: isWhole && column.isNotNull,
                column: schema.columns.firstIndex { $0.name.hasSameBytes(as: column.name) })
        }
    }

    /// All rows as they come.
    func rows(as schema: TableSchema) -> DumpRows {
        DumpRows(files, fields(of: schema, isWhole: true), columnCount: schema.columns.count)
    }

    /// All changed rows as they come, as `DeltaRows` of a table with these columns.
    func changes(of schema: TableSchema) throws(Failure) -> DumpRows {
        // Found anew at each reading.
        markers = try DumpMarkers(scheme)
        return DumpRows(
            files, fields(of: schema, isWhole: false), columnCount: schema.columns.count,
            markers: markers)
    }

    /// Rows in key order; throws where a key comes twice.
    func sorted(
        _ rows: DumpRows, schema: TableSchema, _ limits: SortLimits,
        checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        if try order(checkpoint).isKeyOrder { return rows }
        let sorted = SortedRows(rows, schema: schema, limits: limits, checkpoint: checkpoint)
        return UniqueKeys(sorted, schema: schema) { key in
            try Failure(.corrupt, "a key comes twice: \(self.places(of: key))")
        }
    }

    /// Whether rows lie in key order, and how many there are: found by reading their keys alone. Throws
    /// where a key comes twice in a row.
    func order(
        _ checkpoint: () throws -> Void
    ) throws -> (isKeyOrder: Bool, rows: UInt64) {
        if let knownOrder { return knownOrder }
        var last: [UInt8]?
        var lastPlace = ""
        var found = (isKeyOrder: true, rows: UInt64(0))
        try scanKeys { keys, place throws in
            try checkpoint()
            found.rows += UInt64(keys.count)
            guard found.isKeyOrder, keys.count > 0 else { return }
            for index in 0..<keys.count {
                let order =
                    index > 0
                    ? keys.compare(index, keys, index - 1) : last.map { keys.compare(0, $0) } ?? 1
                if order == 0 {
                    let before = index > 0 ? place(index - 1) : lastPlace
                    throw Failure(.corrupt, "a key comes twice: at \(before) and \(place(index))")
                }
                if order < 0 { found.isKeyOrder = false }
            }
            last = keys[keys.count - 1]
            lastPlace = place(keys.count - 1)
        }
        knownOrder = found
        return found
    }

    /// Where the rows of a key lie, the first two.
    private func places(of key: [UInt8]) throws -> String {
        var places: [String] = []
        try scanKeys { keys, place throws in
            for index in 0..<keys.count where places.count < 2 && keys.compare(index, key) == 0 {
                places.append(place(index))
            }
        }
        return "at " + places.joined(separator: " and ")
    }

    private func scanKeys(
        _ body: (_ keys: KeyList, _ place: (Int) -> String) throws -> Void
    ) throws {
        let columns = scheme.key.enumerated().map { index, column in
            Column(
                id: UInt32(index + 1), name: scheme.columns[column].name,
                type: scheme.columns[column].type)
        }
        let schema = try TableSchema(columns: columns, key: Array(columns.indices))
        let rows = DumpRows(files, fields(of: schema, isWhole: false), columnCount: columns.count)
        let batch = RowBatch(schema)
        var more = true
        while more {
            batch.removeAll()
            more = try rows.next(into: batch, maxRows: 4096, maxBytes: 1 << 20)
            try body(KeyList(batch, schema: schema)) { rows.place(ofRow: $0) }
        }
    }
}

/// Rows in key order, of which no two may have one key.
private final class UniqueKeys: RowCursor {
    private let rows: any RowCursor
    private let schema: TableSchema
    private let failure: (_ key: [UInt8]) throws -> Failure
    private var last: [UInt8]?

    init(
        _ rows: any RowCursor, schema: TableSchema,
        failure: @escaping (_ key: [UInt8]) throws -> Failure
    ) {
        self.rows = rows
        self.schema = schema
        self.failure = failure
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        let first = batch.count
        let more = try rows.next(into: batch, maxRows: maxRows, maxBytes: maxBytes)
        let keys = KeyList(batch, schema: schema)
        for index in first..<keys.count {
            let order =
                index > first
                ? keys.compare(index, keys, index - 1) : last.map { keys.compare(index, $0) } ?? 1
            if order == 0 { throw try failure(keys[index]) }
        }
        if keys.count > first { last = keys[keys.count - 1] }
        return more
    }
}
