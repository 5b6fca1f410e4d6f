import Bytes

/// A column's type: every type that YDB stores in tables (`reference`: YDB's dump format lists them).
///
/// In memory and in row files a value has Parquet's physical form: integers of up to 32 bits take 4
/// bytes, others 8; Date and Date32 days, Datetime and Datetime64 seconds, Timestamp and Interval
/// microseconds since 1970; Decimal 16 bytes big-endian two's complement, scaled (±10³⁵ infinite,
/// 10³⁵+1 not a number, as YDB has them); Uuid 16 bytes in the order of its text.
package enum ColumnType: Sendable, Hashable {
    case bool
    case int8, int16, int32, int64
    case uint8, uint16, uint32, uint64
    case float, double
    case decimal(precision: Int, scale: Int)
    case date, datetime, timestamp, interval
    case date32, datetime64, timestamp64, interval64
    case tzDate, tzDatetime, tzTimestamp
    case uuid
    /// Bytes.
    case string
    /// Text.
    case utf8
    case json, jsonDocument, yson, dyNumber
    /// A PostgreSQL type by name, its values as text.
    case pg(String)

    /// How values lie in memory.
    package var layout: ColumnVector.Layout {
        switch self {
        case .bool: .fixed(1)
        case .int8, .int16, .int32, .uint8, .uint16, .uint32, .float, .date, .date32, .datetime:
            .fixed(4)
        case .int64, .uint64, .double, .timestamp, .interval, .datetime64, .timestamp64,
            .interval64:
            .fixed(8)
        case .decimal, .uuid: .fixed(16)
        case .tzDate, .tzDatetime, .tzTimestamp, .string, .utf8, .json, .jsonDocument, .yson,
            .dyNumber, .pg:
            .variable
        }
    }

    private static let simple: [(String, ColumnType)] = [
        ("Bool", .bool), ("Int8", .int8), ("Int16", .int16), ("Int32", .int32), ("Int64", .int64),
        ("Uint8", .uint8), ("Uint16", .uint16), ("Uint32", .uint32), ("Uint64", .uint64),
        ("Float", .float), ("Double", .double), ("Date", .date), ("Datetime", .datetime),
        ("Timestamp", .timestamp), ("Interval", .interval), ("Date32", .date32),
        ("Datetime64", .datetime64), ("Timestamp64", .timestamp64), ("Interval64", .interval64),
        ("TzDate", .tzDate), ("TzDatetime", .tzDatetime), ("TzTimestamp", .tzTimestamp),
        ("Uuid", .uuid), ("String", .string), ("Utf8", .utf8), ("Json", .json),
        ("JsonDocument", .jsonDocument), ("Yson", .yson), ("DyNumber", .dyNumber),
    ]

    /// Every type without parameters.
    package static var all: [ColumnType] { simple.map(\.1) }

    /// YDB's name of the type: `Utf8`, `Decimal(22,9)`, `pgtext`.
    package var name: String {
        switch self {
        case .decimal(let precision, let scale): "Decimal(\(precision),\(scale))"
        case .pg(let name): "pg\(name)"
        default: Self.simple.first { $0.1 == self }!.0
        }
    }

    package init(name: String) throws {
        if let found = Self.simple.first(where: { $0.0 == name }) {
            self = found.1
        } else if name.hasPrefix("pg") {
            self = .pg(String(name.dropFirst(2)))
        } else if name.hasPrefix("Decimal("), name.hasSuffix(")") {
            let numbers = name.dropFirst(8).dropLast().split(separator: ",").map { Int($0) }
            guard numbers.count == 2, let precision = numbers[0], let scale = numbers[1],
                (1...35).contains(precision), (0...precision).contains(scale)
            else { throw Failure(.corrupt, "unknown column type \(name)") }
            self = .decimal(precision: precision, scale: scale)
        } else {
            throw Failure(.corrupt, "unknown column type \(name)")
        }
    }
}
