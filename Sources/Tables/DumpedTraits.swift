import Bytes

/// What a table's `scheme.pb` says beyond its columns' types and its key: fields in protobuf's text format,
/// of a dump as they stood there, of other tables what YDB has a word for.
package struct DumpedTraits: Sendable, Equatable {
    /// Fields of `Ydb.Table.CreateTableRequest`, each ended by a line feed: indexes, TTL, partitioning.
    package var table = ""
    /// Fields of `Ydb.Table.ColumnMeta` behind name and type, such as the default, by the column's id.
    package var columns: [UInt32: String] = [:]
    /// Ids of columns that never hold NULL, in order.
    package var notNull: [UInt32] = []
    /// What the table has and a dump of it hasn't, a line each.
    package var leftOut: [String] = []

    package init() {}

    /// The field for an index that has all rows.
    package static func index(_ name: String, on columns: [String]) -> String {
        "indexes {\n  name: \(quoted(name.utf8))\n"
            + columns.map { "  index_columns: \(quoted($0.utf8))\n" }.joined()
            + "  global_index {\n  }\n}\n"
    }

    /// The field for a default.
    ///
    /// - Parameters:
    ///   - type: as fields of `Ydb.Type`.
    ///   - value: as a field of `Ydb.Value`.
    package static func byDefault(_ type: String, _ value: String) -> String {
        "from_literal {\n  type {\n    \(type)\n  }\n  value {\n    \(value)\n  }\n}\n"
    }

    /// Text or bytes in quotes, in printable characters and well-formed UTF-8.
    package static func quoted(_ bytes: some Collection<UInt8>) -> String {
        let isText = String(validating: bytes, as: UTF8.self) != nil
        var text: [UInt8] = [UInt8(ascii: "\"")]
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case 0x20..<0x7F: text.append(byte)
            case 0x80... where isText: text.append(byte)
            default:
                text.append(UInt8(ascii: "\\"))
                text += [6, 3, 0].map { 0x30 + byte >> $0 & 7 }
            }
        }
        text.append(UInt8(ascii: "\""))
        return String(decoding: text, as: UTF8.self)
    }
}

extension String {
    /// With a margin in front of each line; every line is ended.
    package func indented(by margin: String) -> String {
        split(separator: "\n").map { "\(margin)\($0)\n" }.joined()
    }
}
