/// The words that YDB's `scheme.pb` has for column types.
extension ColumnType {
    private static let primitives: [(name: String, number: Int, type: ColumnType)] = [
        ("BOOL", 6, .bool), ("INT8", 7, .int8), ("UINT8", 5, .uint8), ("INT16", 8, .int16),
        ("UINT16", 9, .uint16), ("INT32", 1, .int32), ("UINT32", 2, .uint32), ("INT64", 3, .int64),
        ("UINT64", 4, .uint64), ("FLOAT", 33, .float), ("DOUBLE", 32, .double), ("DATE", 48, .date),
        ("DATETIME", 49, .datetime), ("TIMESTAMP", 50, .timestamp), ("INTERVAL", 51, .interval),
        ("TZ_DATE", 52, .tzDate), ("TZ_DATETIME", 53, .tzDatetime),
        ("TZ_TIMESTAMP", 54, .tzTimestamp), ("DATE32", 64, .date32),
        ("DATETIME64", 65, .datetime64), ("TIMESTAMP64", 66, .timestamp64),
        ("INTERVAL64", 67, .interval64), ("STRING", 4097, .string), ("UTF8", 4608, .utf8),
        ("YSON", 4609, .yson), ("JSON", 4610, .json), ("UUID", 4611, .uuid),
        ("JSON_DOCUMENT", 4612, .jsonDocument), ("DYNUMBER", 4866, .dyNumber),
    ]

    /// From what a `type_id` is: a word, or its number.
    package init?(dumped word: String) {
        let found = Self.primitives.first { $0.name == word || "\($0.number)" == word }
        guard let found else { return nil }
        self = found.type
    }

    /// The fields of a `Ydb.Type`, as text.
    package var dumped: String {
        switch self {
        case .decimal(let precision, let scale):
            "decimal_type { precision: \(precision) scale: \(scale) }"
        case .pg(let name): "pg_type { type_name: \"pg\(name)\" }"
        default: "type_id: " + Self.primitives.first { $0.type == self }!.name
        }
    }
}
