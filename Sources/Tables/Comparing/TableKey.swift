import Bytes

/// The key of rows as people write it: each value as a field of CSV, NULL as nothing and the empty
/// string as `""`. What the values mean depends on the table's version; in a column of literals the key
/// is what they stand for.
///
/// The key is the one that the table declares, or its storage key where it declares none.
package struct TableKey: Sendable, Hashable {
    package let fields: [String]

    package init(fields: [String]) { self.fields = fields }

    /// The key of a row.
    package init(_ rows: RowBatch, _ row: Int, _ schema: TableSchema) {
        fields = schema.lookupKey.map {
            ValueText.field(of: rows.columns[$0], row, in: schema.columns[$0])
        }
    }

    // MARK: Words

    /// A key from words, one for each column, or all in one with commas in between as in CSV.
    package init(words: [String], of schema: TableSchema) throws(Failure) {
        let names = schema.lookupKey.map { schema.columns[$0].name }
        fields = words.count == 1 && names.count > 1 ? Self.fields(ofRecord: words[0]) : words
        guard fields.count == names.count else {
            throw Failure(
                .invalid,
                "the key has \(names.count) \(names.count == 1 ? "column" : "columns") "
                    + "(\(names.joined(separator: ", "))), not \(fields.count)")
        }
    }

    /// The fields of a line of CSV, with their quotes.
    private static func fields(ofRecord record: String) -> [String] {
        var fields: [[UInt8]] = [[]]
        var isQuoted = false
        for byte in record.utf8 {
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            if byte == UInt8(ascii: ","), !isQuoted {
                fields.append([])
            } else {
                fields[fields.count - 1].append(byte)
            }
        }
        return fields.map { String(decoding: $0, as: UTF8.self) }
    }

    /// A text as a field of a key. Quotes tell the empty text from NULL, and those of its own from these.
    package static func field(ofText text: String) -> String {
        let needsQuotes = text.isEmpty || text.utf8.first == UInt8(ascii: "\"")
        return needsQuotes ? text.wrapped(in: "\"") : text
    }

    // MARK: Names of files

    /// The key that a file is named by: fields with commas in between, in which control bytes, `%`,
    /// `/` and `,` are percent-encoded. Nil if it is no such name.
    package init?(pathName name: String) {
        var fields: [[UInt8]] = [[]]
        var bytes = name.utf8[...]
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: ","): fields.append([])
            case UInt8(ascii: "%"):
                guard let code = [UInt8](hex: Substring(bytes.prefix(2)).utf8),
                    let decoded = code.first
                else { return nil }
                bytes = bytes.dropFirst(2)
                fields[fields.count - 1].append(decoded)
            default: fields[fields.count - 1].append(byte)
            }
        }
        let texts = fields.map { String(decoding: $0, as: UTF8.self) }
        guard zip(texts, fields).allSatisfy({ $0.utf8.elementsEqual($1) }) else { return nil }
        self.fields = texts
    }

    package var pathName: String {
        fields.map { field in
            var name: [UInt8] = []
            for byte in field.utf8 {
                if byte < 32 || byte == 127 || Self.encoded.contains(byte) {
                    let digits = String(byte, radix: 16, uppercase: true)
                    name += Array((byte < 16 ? "%0" + digits : "%" + digits).utf8)
                } else {
                    name.append(byte)
                }
            }
            return String(decoding: name, as: UTF8.self)
        }.joined(separator: ",")
    }

    private static let encoded = [UInt8]("%/,".utf8)

    // MARK: Values

    /// The values as one row of the table's key columns, as `groups` has them; nil if they can't be a
    /// key of the table.
    package func values(in schema: TableSchema) -> RowBatch? {
        let key = schema.lookupKey
        guard key.count == fields.count else { return nil }
        let row = key.map { ColumnVector(schema.columns[$0].type.layout) }
        for (index, field) in fields.enumerated() {
            guard let text = ValueText.content(ofField: field) else {
                row[index].appendNull()
                continue
            }
            let column = schema.columns[key[index]]
            if column.isLiteral {
                row[index].append(bytes: LiteralValue.group(Array(text.utf8)))
            } else if !ValueText.append(text, column.type, to: row[index]) {
                return nil
            }
        }
        return RowBatch(columns: row)
    }

    /// Whether a row whose key is in the same group has this very one.
    func isKey(of rows: RowBatch, _ row: Int, _ schema: TableSchema) -> Bool {
        zip(schema.lookupKey, fields).allSatisfy { index, field in
            let values = rows.columns[index]
            guard schema.columns[index].isLiteral, !values.isNull(row) else { return true }
            let text = ValueText.content(ofField: field) ?? ""
            return LiteralValue(values.bytes(row)).isMeant(by: Array(text.utf8))
        }
    }
}

extension TableSchema {
    /// The columns by which users know rows: those of the declared key, or of the storage key where
    /// none is declared.
    package var lookupKey: [Int] { primaryKey.isEmpty ? key : primaryKey }

    /// Those columns as a table of their own.
    var ofLookupKey: TableSchema {
        var schema = self
        schema.columns = lookupKey.map { columns[$0] }
        schema.key = Array(lookupKey.indices)
        schema.primaryKey = []
        return schema
    }
}

extension Column {
    /// The same, whether or not it is hidden.
    var shown: Column {
        var column = self
        column.isHidden = false
        return column
    }
}
