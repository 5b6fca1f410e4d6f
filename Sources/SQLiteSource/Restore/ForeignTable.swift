import Bytes
import Tables

/// Tables of another system, YDB's, as SQLite can hold them: it has integers, floating point numbers, text
/// and bytes. Whatever is none of these becomes the text that CSV has for it.
///
/// ```
/// Bool Int8 … Int64 Uint8 … Uint32 Interval     INTEGER
/// Uint64                                        no type: integers, and text beyond 2⁶³ - 1
/// Float Double                                  REAL, a Float by its shortest decimal
/// String Yson                                   BLOB
/// everything else                               TEXT
/// ```
enum ForeignTable {
    /// Rows are told apart by a rowid that is given here, in the order of the key: a key of YDB may be NULL.
    static func form(of table: RestoredTable) throws -> RestoredForm {
        let stored = table.schema.columns
        var columns = stored.map { column in
            var held = column
            (held.type, held.isLiteral) = type(of: column.type)
            held.standIn = nil
            return held
        }
        let names = Set(stored.map { folded($0.name) })
        let hasRowID = ["rowid", "_rowid_", "oid"].contains { !names.contains(folded($0)) }
        if hasRowID { columns.append(.hiddenRowID(beside: names)) }
        let schema = try TableSchema(
            columns: columns, key: hasRowID ? [stored.count] : table.schema.key,
            primaryKey: table.schema.primaryKey)
        return RestoredForm(
            schema: schema, sql: text(of: table), notes: notes(on: table)
        ) { batch, first in
            var columns = try stored.enumerated().map { index, column in
                try held(batch.columns[index], column.type, name: column.name)
            }
            if hasRowID {
                let numbers = ColumnVector(.fixed(8))
                for row in 0..<batch.count { numbers.append(Int64(first) + Int64(row) + 1) }
                columns.append(numbers)
            }
            return RowBatch(columns: columns)
        }
    }

    private static func type(of type: ColumnType) -> (ColumnType, isLiteral: Bool) {
        switch type {
        case .bool, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .interval,
            .interval64:
            (.int64, false)
        case .uint64: (.utf8, true)
        case .float, .double: (.double, false)
        case .string, .yson: (.string, false)
        case .decimal, .date, .datetime, .timestamp, .date32, .datetime64, .timestamp64, .tzDate,
            .tzDatetime, .tzTimestamp, .uuid, .utf8, .json, .jsonDocument, .dyNumber, .pg:
            (.utf8, false)
        }
    }

    // MARK: Definition

    /// Empty for what may be an integer or text.
    private static func declaredType(of column: ColumnType) -> String {
        switch type(of: column) {
        case (.int64, _): "INTEGER"
        case (.double, _): "REAL"
        case (.string, _): "BLOB"
        case (_, let isLiteral): isLiteral ? "" : "TEXT"
        }
    }

    /// A key of YDB may hold NULL, once: so a single integer isn't declared INTEGER, whose NULL SQLite would
    /// number itself.
    private static func keyType(of column: ColumnType) -> String {
        let declared = declaredType(of: column)
        return declared == "INTEGER" ? "BIGINT" : declared
    }

    private static func text(of table: RestoredTable) -> String {
        let key = table.schema.primaryKey
        var lines = table.schema.visibleColumns.enumerated().map { index, column in
            let declared = key == [index] ? keyType(of: column.type) : declaredType(of: column.type)
            return quoted(column.name) + (declared.isEmpty ? "" : " \(declared)")
        }
        if !key.isEmpty {
            let names = key.map { quoted(table.schema.columns[$0].name) }
            lines.append("PRIMARY KEY (\(names.joined(separator: ", ")))")
        }
        return
            "CREATE TABLE \(quoted(table.path)) (\n    \(lines.joined(separator: ",\n    "))\n);\n"
    }

    private static func notes(on table: RestoredTable) -> [String] {
        let plain: Set<ColumnType> = [.int64, .double, .utf8, .string]
        let others = table.schema.visibleColumns.filter { !plain.contains($0.type) }
        var notes: [String] = []
        if !others.isEmpty {
            let words = others.map { column in
                let declared = declaredType(of: column.type)
                let held = declared.isEmpty ? "INTEGER, TEXT beyond 2^63" : declared
                return "\(column.name) (\(column.type.name) as \(held))"
            }
            notes.append(
                "\(table.target): types that SQLite hasn't: \(words.joined(separator: ", "))")
        }
        // Its lines are ours: a name's line feed is escaped.
        let indexes = table.sql.split(separator: "\n").filter { $0.hasPrefix("    INDEX ") }
        if !indexes.isEmpty {
            notes.append("\(table.target): \(indexes.count) indexes of YDB's aren't made")
        }
        return notes
    }

    // MARK: Values

    private static func held(
        _ values: ColumnVector, _ type: ColumnType, name: String
    ) throws -> ColumnVector {
        switch type {
        case .bool: integers(values, UInt8.self)
        case .int8, .int16, .int32: integers(values, Int32.self)
        case .uint8, .uint16, .uint32: integers(values, UInt32.self)
        case .int64, .interval, .interval64, .string, .yson: values
        case .utf8, .json, .jsonDocument, .dyNumber, .tzDate, .tzDatetime, .tzTimestamp, .pg:
            try checked(values, name: name)
        case .uint64:
            each(values) { row, column in
                let number = values.value(row, as: UInt64.self)
                column.append(text: number > Int64.max ? "'\(number)'" : "\(number)")
            }
        case .float:
            try each(values, .fixed(8)) { row, column in
                let number = values.value(row, as: Float.self)
                column.append(try real(Double("\(number)") ?? Double(number), name))
            }
        case .double:
            try each(values, .fixed(8)) { row, column in
                column.append(try real(values.value(row, as: Double.self), name))
            }
        case .decimal, .date, .datetime, .timestamp, .date32, .datetime64, .timestamp64, .uuid:
            each(values) { row, column in
                column.append(text: ValueText.field(of: values, row, type))
            }
        }
    }

    private static func integers<T: FixedWidthInteger & BitwiseCopyable>(
        _ values: ColumnVector, _ type: T.Type
    ) -> ColumnVector {
        each(values, .fixed(8)) { row, column in
            column.append(Int64(values.value(row, as: type)))
        }
    }

    /// SQLite stores what is no number as NULL, which would be another value, and has one zero.
    private static func real(_ number: Double, _ name: String) throws -> Double {
        if number.isNaN {
            throw Failure(
                .unsupported, "column \(name) holds NaN, which SQLite hasn't: it would be NULL")
        }
        return number == 0 ? 0 : number
    }

    /// Text with a NUL character ends there for many of SQLite's functions, so that no text is stored so.
    private static func checked(_ values: ColumnVector, name: String) throws -> ColumnVector {
        for row in 0..<values.count where values.withBytes(row, { $0.contains(0) }) {
            throw Failure(
                .unsupported,
                "column \(name) holds text with a NUL character, which SQLite can't show")
        }
        return values
    }

    private static func each(
        _ values: ColumnVector, _ layout: ColumnVector.Layout = .variable,
        _ append: (Int, ColumnVector) throws -> Void
    ) rethrows -> ColumnVector {
        let column = ColumnVector(layout)
        for row in 0..<values.count {
            if values.isNull(row) { column.appendNull() } else { try append(row, column) }
        }
        return column
    }
}
