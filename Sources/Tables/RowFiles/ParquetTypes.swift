import Bytes

/// How a column type is annotated in Parquet: physical type, converted and logical type. `init(_:)`
/// is for row files, `init(rendered:)` for the files that points show.
///
/// Both annotations are written, because some readers look at one only. Source: parquet.thrift;
/// types as in `ColumnType`.
struct ParquetType: Sendable {
    /// Writes the fields of a LogicalType union.
    typealias Logical = @Sendable (inout ThriftWriter) -> Void

    enum Physical: Int {
        case boolean = 0
        case int32 = 1
        case int64 = 2
        case float = 4
        case double = 5
        case byteArray = 6
        case fixedByteArray = 7
    }

    let physical: Physical
    var length: Int?
    var converted: Int?
    var scale: Int?
    var precision: Int?
    var logical: Logical?

    init(_ type: ColumnType) {
        switch type {
        case .bool: self.init(physical: .boolean)
        case .int8: self.init(physical: .int32, 15, Self.integer(8, signed: true))
        case .int16: self.init(physical: .int32, 16, Self.integer(16, signed: true))
        case .int32: self.init(physical: .int32, 17, Self.integer(32, signed: true))
        case .int64, .interval, .interval64, .datetime64:
            self.init(physical: .int64, 18, Self.integer(64, signed: true))
        case .uint8: self.init(physical: .int32, 11, Self.integer(8, signed: false))
        case .uint16: self.init(physical: .int32, 12, Self.integer(16, signed: false))
        case .uint32, .datetime: self.init(physical: .int32, 13, Self.integer(32, signed: false))
        case .uint64: self.init(physical: .int64, 14, Self.integer(64, signed: false))
        case .float: self.init(physical: .float)
        case .double: self.init(physical: .double)
        case .decimal(let precision, let scale):
            self.init(physical: .fixedByteArray, 5, Self.decimal(precision, scale))
            length = 16
            self.scale = scale
            self.precision = precision
        case .date, .date32: self.init(physical: .int32, 6, { $0.structure(6) { _ in } })
        case .timestamp, .timestamp64: self.init(physical: .int64, 10, Self.timestamp(unit: 2))
        case .uuid:
            self.init(physical: .fixedByteArray, nil, { $0.structure(14) { _ in } })
            length = 16
        case .string, .yson: self.init(physical: .byteArray)
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg:
            self.init(physical: .byteArray, 0, { $0.structure(1) { _ in } })
        }
    }

    /// As in row files, but for what `ParquetForm` converts.
    init(rendered type: ColumnType) {
        switch ParquetForm(type).conversion {
        case .none: self.init(type)
        case .unsignedSeconds, .seconds: self.init(physical: .int64, 9, Self.timestamp(unit: 1))
        case .uuidText: self.init(.utf8)
        }
    }

    private init(
        physical: Physical, _ converted: Int? = nil,
        _ logical: Logical? = nil
    ) {
        self.physical = physical
        self.converted = converted
        self.logical = logical
    }

    private static func integer(_ bits: UInt8, signed: Bool) -> Logical {
        { writer in
            writer.structure(10) {
                $0.byte(1, bits)
                $0.bool(2, signed)
            }
        }
    }

    private static func decimal(_ precision: Int, _ scale: Int) -> Logical {
        { writer in
            writer.structure(5) {
                $0.int32(1, scale)
                $0.int32(2, precision)
            }
        }
    }

    /// Unit 1 is milliseconds, 2 microseconds.
    private static func timestamp(unit: Int16) -> Logical {
        { writer in
            writer.structure(8) {
                $0.bool(1, true)
                $0.structure(2) { $0.structure(unit) { _ in } }
            }
        }
    }

    /// In a form that parquet-mr can parse: else it trusts no statistics.
    static let createdBy = "ydbfs version 1.0.0 (build 1)"

    /// Writes the SchemaElement of a column; field ids are the columns' stable ids.
    fileprivate func writeElement(
        name: String, fieldID: Int?, optional: Bool, into writer: inout ThriftWriter
    ) {
        writer.element {
            $0.int32(1, physical.rawValue)
            if let length { $0.int32(2, length) }
            $0.int32(3, optional ? 1 : 0)
            $0.text(4, name)
            if let converted { $0.int32(6, converted) }
            if let scale { $0.int32(7, scale) }
            if let precision { $0.int32(8, precision) }
            if let fieldID { $0.int32(9, fieldID) }
            if let logical { $0.structure(10, logical) }
        }
    }
}

extension ColumnType {
    /// True if Parquet holds it as INT32 or INT64.
    var isStoredAsInteger: Bool {
        let physical = ParquetType(self).physical
        return physical == .int32 || physical == .int64
    }
}

/// Parts that every footer has.
extension ThriftWriter {
    /// FileMetaData's schema.
    mutating func schema(
        _ columns: [(name: String, type: ParquetType, fieldID: Int?, optional: Bool)]
    ) {
        list(2, of: .structure, count: columns.count + 1)
        element {
            $0.text(4, "schema")
            $0.int32(5, columns.count)
        }
        for column in columns {
            column.type.writeElement(
                name: column.name, fieldID: column.fieldID, optional: column.optional, into: &self)
        }
    }

    /// A KeyValue, as an element of a list.
    mutating func pair(_ key: String, _ value: String) {
        element {
            $0.text(1, key)
            $0.text(2, value)
        }
    }
}
