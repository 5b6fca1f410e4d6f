import Bytes
import Tables

/// What is looked at before a table may be published: that it is sound, and which of its own rules its
/// rows don't keep.
extension SQLiteRestore {
    /// SQLite's own check of the table's b-trees and indexes. Throws what they are wrong in.
    func checkStructure(_ number: Int, _ table: HiddenTable) throws {
        let lines = try connection.rows("PRAGMA main.integrity_check(\(literal(table.name)))") {
            table.withoutHiddenNames($0.text(0))
        }
        // SQLite ends after 100 lines, which may all be of values. Its indexes it has built itself from
        // this very table.
        let isOfValues = lines.filter { Self.isOfValue($0, in: table.source.target) }
        if let fault = lines.first(where: { $0 != "ok" && !isOfValues.contains($0) }) {
            throw Failure(.corrupt, "what was loaded is not sound: \(fault)")
        }
        for line in Set(isOfValues).sorted() {
            tables[number]!.notes.append(
                "\(table.source.target): holds values that are older than a column's type (\(line))"
            )
        }
    }

    /// `TEXT value in t.v`: a value that its column wouldn't take any more, and no fault of a b-tree.
    private static func isOfValue(_ line: String, in table: String) -> Bool {
        let words = line.split(separator: " ", maxSplits: 3)
        guard words.count == 4, words[1] == "value", words[2] == "in" else { return false }
        return words[3].hasPrefix("\(table).")
    }

    /// Notes of rules that the rows don't keep, or that can't be asked here: the rows are what was backed
    /// up, and the rules hold from now on.
    func checkLaws(_ number: Int, _ table: HiddenTable) throws {
        let target = table.source.target
        var notes = table.brokenNotNulls.map {
            "\(target): column \($0) is NOT NULL, and holds NULL in rows from before it was"
        }
        notes += try faults(table, table.checks.map { "CHECK (\(shown($0.text)))" }) { numbers in
            let checks = numbers.map { "max(NOT (\(table.checks[$0].sql)))" }
            return
                "SELECT \(checks.joined(separator: ", ")) FROM main.\(quoted(table.name)) NOT INDEXED"
        }
        for (column, sql) in table.computations {
            do {
                _ = try connection.prepare("SELECT (\(sql)) FROM main.\(quoted(table.name))")
            } catch let failure as Failure where failure.code == .system {
                notes.append(
                    "\(target): column \(column) is computed by what only its application has "
                        + "(\(reason(failure, table)))")
            }
        }
        tables[number]!.notes += notes
    }

    /// What is wrong with laws of a table: all are asked at once, and one by one if that fails.
    private func faults(
        _ table: HiddenTable, _ laws: [String], _ query: ([Int]) -> String
    ) throws -> [String] {
        if laws.isEmpty { return [] }
        func broken(_ numbers: [Int]) throws -> [String] {
            let row =
                try connection.rows(query(numbers)) { row in
                    numbers.indices.map { row.integer(CInt(truncatingIfNeeded: $0)) != 0 }
                }.first ?? []
            return zip(numbers, row).filter(\.1).map {
                "\(table.source.target): rows from before don't keep \(laws[$0.0])"
            }
        }
        do {
            return try broken(Array(laws.indices))
        } catch let failure as Failure where failure.code == .system {
            return try laws.indices.flatMap { number -> [String] in
                do {
                    return try broken([number])
                } catch let failure as Failure where failure.code == .system {
                    return [
                        "\(table.source.target): \(laws[number]) can't be asked here "
                            + "(\(reason(failure, table)))"
                    ]
                }
            }
        }
    }

    /// An expression for a note.
    private func shown(_ expression: String) -> String {
        let line = expression.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return line.count > 80 ? line.prefix(80) + "…" : line
    }
}
