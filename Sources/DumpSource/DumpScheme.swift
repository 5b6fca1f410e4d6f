import Bytes
import Tables

/// What a `scheme.pb` says of a table: `Ydb.Table.CreateTableRequest` as text.
package struct DumpScheme: Sendable {
    package struct Column: Sendable {
        package var name: String
        var line: Int
        package var type: ColumnType
        package var isNotNull: Bool
        /// What a row holds that was there before the column; nil if it has no default.
        package var standIn: StandIn?
        /// The default as YQL has it.
        var defaultText: String?
        var isSerial = false
        /// What else is said of it, as text.
        var others = ""
    }

    struct Index: Sendable {
        var name: String
        /// `GLOBAL`, `GLOBAL ASYNC`, …
        var kind: String
        var columns: [String]
        var covered: [String]
    }

    var file: String
    package var columns: [Column] = []
    /// Parts that the table consists of: a server's export has a data file of each.
    private(set) var partitions = 1
    /// Indices into `columns`, in key order.
    package var key: [Int] = []
    var indexes: [Index] = []
    /// What else is said of the table, as text.
    private var others = ""
    /// What isn't understood, a line each.
    package var notes: [String] = []

    static let maxColumns = 10_000
    private static let maxPartitions = 1 << 20

    package init(_ text: [UInt8], file: String) throws(Failure) {
        self.file = file
        let message = try TextMessage(text, file: file)
        note(unknown: message, Self.tableFields, of: "the table")
        for column in try message.messages("columns") { columns.append(try self.column(column)) }
        guard !columns.isEmpty else { throw message.failure("the table has no columns") }
        guard columns.count <= Self.maxColumns else {
            throw message.failure("the table has \(columns.count) columns")
        }
        let names = Set(columns.map { Array($0.name.utf8) })
        guard names.count == columns.count else {
            throw message.failure("the table has two columns of one name")
        }
        for name in try message.texts("primary_key") {
            guard let index = index(of: name) else {
                throw message.failure("the key names a column \(name), which isn't there")
            }
            guard !key.contains(index) else {
                throw message.failure("the key names column \(name) twice")
            }
            key.append(index)
        }
        guard !key.isEmpty else { throw message.failure("the table has no primary key") }
        if let count = try message.word("uniform_partitions") {
            guard let number = Int(count), (0...Self.maxPartitions).contains(number) else {
                throw message.failure("uniform_partitions can't be \(count)")
            }
            partitions = max(number, 1)
        } else if let splits = try message.message("partition_at_keys") {
            partitions = try splits.messages("split_points").count + 1
        }
        for index in try message.messages("indexes") { indexes.append(try self.index(index)) }
        var rest = message
        // YDB's own: a restored table isn't one of its backups.
        rest.fields.removeAll { field in
            guard field.name == "attributes", case .message(let attribute) = field.value,
                let key = try? attribute.text("key")
            else { return false }
            return key.hasPrefix("__")
        }
        others = rest.text(but: Self.ownFields)
    }

    /// What a dump of the table says of it.
    ///
    /// - Parameters:
    ///   - schema: the columns that it has now.
    ///   - added: says of the columns that this scheme hasn't got.
    package func traits(of schema: TableSchema, added: DumpScheme? = nil) -> DumpedTraits {
        var traits = DumpedTraits()
        traits.table = others
        for column in schema.columns {
            guard let found = self.column(column.name) ?? added?.column(column.name) else {
                continue
            }
            if found.isNotNull { traits.notNull.append(column.id) }
            if !found.others.isEmpty { traits.columns[column.id] = found.others }
            if found.isSerial, added != nil {
                traits.leftOut.append(
                    "column \(column.name): its sequence goes on where it did at the full backup, "
                        + "maybe before values that the table has")
            }
        }
        traits.notNull.sort()
        return traits
    }

    private func column(_ name: String) -> Column? { index(of: name).map { columns[$0] } }

    func index(of name: String) -> Int? { columns.firstIndex { $0.name.hasSameBytes(as: name) } }

    // MARK: What is known of the text

    private static let tableFields: Set = [
        "session_id", "path", "columns", "primary_key", "profile", "operation_params", "indexes",
        "ttl_settings", "storage_settings", "column_families", "attributes", "compaction_policy",
        "uniform_partitions", "partition_at_keys", "partitioning_settings", "key_bloom_filter",
        "read_replicas_settings", "tiering", "temporary", "store_type",
    ]
    /// What is said of a table otherwise, or of no table that is restored.
    private static let ownFields: Set = [
        "session_id", "path", "columns", "primary_key", "operation_params", "temporary",
    ]
    private static let columnFields: Set = [
        "name", "type", "family", "not_null", "from_literal", "from_sequence",
    ]
    private static let indexKinds = [
        "global_index": "GLOBAL", "global_async_index": "GLOBAL ASYNC",
        "global_unique_index": "GLOBAL UNIQUE",
    ]

    private mutating func note(unknown message: TextMessage, _ known: Set<String>, of what: String)
    {
        for field in message.fields where !known.contains(field.name) {
            let note = "\(file): field \(field.name) of \(what) isn't known to this version"
            if !notes.contains(note) { notes.append(note) }
        }
    }

    private mutating func column(_ message: TextMessage) throws(Failure) -> Column {
        guard let name = try message.text("name"), !name.isEmpty else {
            throw message.failure("a column has no name")
        }
        note(unknown: message, Self.columnFields, of: "column \(name)")
        guard let type = try message.message("type") else {
            throw message.failure("column \(name) has no type")
        }
        let optional = try type.message("optional_type")
        let item = try optional?.message("item") ?? optional
        var isNotNull = try message.isTrue("not_null")
        if item == nil { isNotNull = true }
        var column = Column(
            name: name, line: message.line, type: try Self.columnType(item ?? type, of: name),
            isNotNull: isNotNull)
        column.isSerial = message.has("from_sequence")
        column.others = message.text(but: ["name", "type", "not_null"])
        if let literal = try message.message("from_literal"),
            let value = try literal.message("value")
        {
            let found = try DumpDefault(value, type: column.type, column: name)
            column.standIn = found.standIn
            column.defaultText = found.text
        }
        return column
    }

    private mutating func index(_ message: TextMessage) throws(Failure) -> Index {
        let name = try message.text("name") ?? ""
        let kind = Self.indexKinds.first { message.has($0.key) }
        if kind == nil {
            notes.append("\(file): index \(name) is of a kind that this version doesn't know")
        }
        return Index(
            name: name, kind: kind?.value ?? "GLOBAL",
            columns: try message.texts("index_columns"), covered: try message.texts("data_columns"))
    }

    // MARK: Types

    private static func columnType(
        _ message: TextMessage, of column: String
    ) throws(Failure) -> ColumnType {
        if let word = try message.word("type_id") {
            if let found = ColumnType(dumped: word) { return found }
            throw unknown(word, message, column)
        }
        if let decimal = try message.message("decimal_type") {
            let precision = Int(try decimal.word("precision") ?? "") ?? 0
            let scale = Int(try decimal.word("scale") ?? "0") ?? -1
            guard (1...35).contains(precision), (0...precision).contains(scale) else {
                throw message.failure("column \(column) can't be Decimal(\(precision),\(scale))")
            }
            return .decimal(precision: precision, scale: scale)
        }
        if let type = try message.message("pg_type") {
            guard let name = try type.text("type_name"), !name.isEmpty else {
                throw unknown("pg_type without a name", message, column)
            }
            return .pg(name.hasPrefix("pg") ? String(name.dropFirst(2)) : name)
        }
        throw unknown(message.fields.first?.name ?? "nothing", message, column)
    }

    private static func unknown(
        _ type: String, _ message: TextMessage, _ column: String
    ) -> Failure {
        message.failure("column \(column) is of a type that this version doesn't know: \(type)")
    }
}

/// A column's default: what a `from_literal` holds.
private struct DumpDefault {
    var standIn: StandIn?
    var text: String?

    /// A longer one isn't kept: rows that were there before hold NULL then, which is told by nobody.
    private static let maxBytes = 1024

    init(_ value: TextMessage, type: ColumnType, column: String) throws(Failure) {
        if value.has("null_flag_value") || value.fields.isEmpty {
            standIn = StandIn(bytes: nil)
            return
        }
        let vector = ColumnVector(type.layout)
        guard let field = value.fields.first, Self.append(value, field, type, to: vector) else {
            throw value.failure("the default of column \(column) is no \(type.name)")
        }
        let bytes = vector.bytes(0)
        if bytes.count <= Self.maxBytes { standIn = StandIn(bytes: bytes) }
        switch field.value {
        case .word(let word):
            text =
                field.name == "bool_value" || Int64(word) != nil && type.isNumber ? word : nil
        case .text(let bytes):
            text = String(validating: bytes, as: UTF8.self).map {
                DumpTableText.literal($0) + (type == .utf8 ? "u" : "")
            }
        case .message: break
        }
    }

    /// Appends what a `Ydb.Value` holds; false if the type can't hold it.
    private static func append(
        _ value: TextMessage, _ field: TextMessage.Field, _ type: ColumnType,
        to vector: ColumnVector
    ) -> Bool {
        switch (field.value, type) {
        case (.text(let bytes), .string), (.text(let bytes), .yson):
            vector.append(bytes: bytes)
            return true
        case (.text(let bytes), _):
            guard type.layout == .variable, String(validating: bytes, as: UTF8.self) != nil else {
                return false
            }
            vector.append(bytes: bytes)
            return true
        case (.word(let word), .bool):
            vector.append(UInt8(word == "true" || word == "1" ? 1 : 0))
            return true
        case (.word(let word), .date), (.word(let word), .datetime):
            return DumpValue.append(number: word, as: UInt32.self, to: vector)
        case (.word(let word), .timestamp):
            return DumpValue.append(number: word, as: UInt64.self, to: vector)
        case (.word, .decimal), (.word, .uuid):
            guard let low = try? value.word("low_128").flatMap({ UInt64($0) }) ?? 0,
                let high = try? value.word("high_128").flatMap({ UInt64($0) }) ?? 0
            else { return false }
            let number = UInt128(high) << 64 | UInt128(low)
            vector.append(type == .uuid ? DumpValue.uuid(stored: number) : number.bigEndian)
            return true
        case (.word(let word), _):
            guard type.layout != .variable else { return false }
            let bytes = Array(word.utf8)
            return DumpValue().append(bytes.span, type, to: vector)
        case (.message, _): return false
        }
    }
}

extension ColumnType {
    fileprivate var isNumber: Bool {
        switch self {
        case .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64: true
        default: false
        }
    }
}
