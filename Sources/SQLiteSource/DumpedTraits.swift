import Bytes
import Tables

/// What a dump for YDB says of one of SQLite's tables beyond columns and key: NOT NULL, defaults that are
/// literals, and indexes over columns. All else is named.
extension TableDefinition {
    /// - Parameter schema: of the columns that are backed up.
    func traits(of schema: TableSchema) -> DumpedTraits {
        var traits = DumpedTraits()
        for shown in schema.visibleColumns {
            guard
                let column = columns.first(where: { $0.name.utf8.elementsEqual(shown.name.utf8) })
            else { continue }
            if column.isNotNull { traits.notNull.append(shown.id) }
            if column.isGenerated {
                traits.leftOut.append("column \(shown.name): how it is computed")
            } else if let text = column.byDefault {
                switch DefaultLiteral(text)?.field(shown, column.affinity) {
                case .some(let field): traits.columns[shown.id] = field
                case nil where folded(text) == Array("null".utf8): break
                case nil:
                    traits.leftOut.append(
                        "column \(shown.name): its default, as it is no \(shown.type.name)")
                }
            }
        }
        traits.notNull.sort()
        addIndexes(to: &traits, schema)
        return traits
    }

    private func addIndexes(to traits: inout DumpedTraits, _ schema: TableSchema) {
        var count = 0
        for index in indexes where !index.isPrimaryKey {
            let found = index.columns.map { position in
                positions[position].flatMap { known in
                    schema.columns.firstIndex {
                        $0.name.utf8.elementsEqual(columns[known].name.utf8)
                    }
                }
            }
            let names = found.compactMap { $0.map { schema.columns[$0].name } }
            let problem: String? =
                if !index.isCreated {
                    nil
                } else if index.isPartial {
                    "it has some rows only"
                } else if names.count < found.count {
                    "it is over an expression or what isn't backed up"
                } else if count >= DumpTable.maxIndexes {
                    "YDB has at most \(DumpTable.maxIndexes) of a table"
                } else {
                    DumpTable.problem(index: index.name, on: found.compactMap(\.self), of: schema)
                }
            if !index.isCreated {
                traits.leftOut.append("UNIQUE (\(names.joined(separator: ", ")))")
            } else if let problem {
                traits.leftOut.append("index \(index.name): \(problem)")
            } else {
                traits.table += DumpedTraits.index(index.name, on: names)
                count += 1
                if index.isUnique {
                    traits.leftOut.append("index \(index.name): that it is UNIQUE")
                }
            }
        }
    }
}

/// A default that is a literal.
private enum DefaultLiteral {
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    /// Nil for any other expression.
    init?(_ sql: String) {
        let first = sql.utf8.first
        if let number = Int64(sql) {
            self = .integer(number)
        } else if let text = sql.unwrapped(from: "'") {
            self = .text(text)
        } else if first == UInt8(ascii: "x") || first == UInt8(ascii: "X"),
            let digits = String(Substring(sql.utf8.dropFirst())).unwrapped(from: "'"),
            let blob = [UInt8](hex: digits.utf8)
        {
            self = .blob(blob)
        } else if first.map({ !(65...122).contains($0) }) == true, let number = Double(sql),
            number.isFinite
        {
            self = .real(number)
        } else {
            return nil
        }
    }

    /// For a column of this type, as a row has it that was inserted without a value; nil if it can't be.
    func field(_ column: Column, _ affinity: Affinity) -> String? {
        value(column, affinity).map { DumpedTraits.byDefault(column.type.dumped, $0) }
    }

    private func value(_ column: Column, _ affinity: Affinity) -> String? {
        if column.isLiteral {
            // Columns of several types hold SQL literals.
            switch self {
            case .integer(let number) where affinity != .text && affinity != .real:
                return "text_value: \"\(number)\""
            case .text(let text) where affinity == .text || affinity == .blob || affinity == .none:
                return "text_value: " + DumpedTraits.quoted(text.wrapped(in: "'").utf8)
            default: return nil
            }
        }
        switch (column.type, self) {
        case (.int64, .integer(let number)): return "int64_value: \(number)"
        case (.int64, .text(let text)) where affinity == .integer || affinity == .numeric:
            return Int64(text).map { "int64_value: \($0)" }
        case (.double, .real(let number)): return "double_value: \(number)"
        case (.double, .integer(let number)):
            return Double(exactly: number).map { "double_value: \($0)" }
        case (.utf8, .text(let text)): return "text_value: " + DumpedTraits.quoted(text.utf8)
        case (.utf8, .integer(let number)) where affinity == .text:
            return "text_value: \"\(number)\""
        case (.string, .blob(let bytes)): return "bytes_value: " + DumpedTraits.quoted(bytes)
        default: return nil
        }
    }
}
