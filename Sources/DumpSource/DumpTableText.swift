import Bytes
import Tables

/// A table's `CREATE TABLE` in YQL, as far as a dump tells it.
package enum DumpTableText {
    /// - Parameters:
    ///   - scheme: of the table whole.
    ///   - schema: the columns that it has now.
    package static func create(
        _ path: String, _ scheme: DumpScheme, _ schema: TableSchema
    ) -> String {
        var parts = schema.columns.map { column -> String in
            let known = scheme.index(of: column.name).map { scheme.columns[$0] }
            return line(column, known)
        }
        let key = schema.primaryKey.map { name(schema.columns[$0].name) }.joined(separator: ", ")
        parts.append("PRIMARY KEY (\(key))")
        for index in scheme.indexes {
            let columns = index.columns.map(name).joined(separator: ", ")
            let covered = index.covered.map(name).joined(separator: ", ")
            parts.append(
                "INDEX \(name(index.name)) \(index.kind) ON (\(columns))"
                    + (covered.isEmpty ? "" : " COVER (\(covered))"))
        }
        return "CREATE TABLE \(name(path)) (\n    \(parts.joined(separator: ",\n    "))\n);\n"
    }

    private static func line(_ column: Column, _ known: DumpScheme.Column?) -> String {
        var type = column.type.name
        if known?.isSerial == true {
            type =
                switch column.type {
                case .int16: "SmallSerial"
                case .int32: "Serial"
                default: "BigSerial"
                }
        }
        return "\(name(column.name)) \(type)"
            + (known?.isNotNull == true ? " NOT NULL" : "")
            + (known?.defaultText.map { " DEFAULT \($0)" } ?? "")
    }

    private static func name(_ text: String) -> String { quoted(text, by: "`") }

    static func literal(_ text: String) -> String { quoted(text, by: "\"") }

    private static func quoted(_ text: String, by quote: Unicode.Scalar) -> String {
        var result = String.UnicodeScalarView()
        result.append(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result.append(contentsOf: "\\n".unicodeScalars)
            case "\\", quote:
                result.append("\\")
                result.append(scalar)
            default: result.append(scalar)
            }
        }
        result.append(quote)
        return String(result)
    }
}
