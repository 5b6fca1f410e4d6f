import Bytes
import Repository
import Tables

/// SQL for DuckDB that gives the rows of a table at a point from the repository's row files alone: the
/// newest whole backup of the table, and the runs of changes since, the last change of each key
/// counting. What else a point wrote to be read fast isn't needed.
package final class MergeQuery {
    private let repository: Repository
    private let state: CollectionState
    private let point: BackupPoint
    /// From the first point whose entry is known to `point`, dropped ones included.
    private let chain: [BackupPoint]
    /// By sequence: the row files that a point wrote.
    private var known: [UInt64: [RowFile]] = [:]

    package init(_ repository: Repository, _ state: CollectionState, _ point: BackupPoint) {
        self.repository = repository
        self.state = state
        self.point = point
        let all = Dictionary(
            (state.droppedPoints + state.points).map { ($0.sequence, $0) },
            uniquingKeysWith: { $1 })
        var chain = [point]
        while let parent = chain.last?.parent.flatMap({ all[$0] }) { chain.append(parent) }
        self.chain = chain.reversed()
    }

    /// One `SELECT`, rows in key order. Throws `.unsupported` if it takes files that are gone.
    package func text(of table: TableRecord) throws -> String {
        let (whole, runs) = try parts(of: table)
        let plain = Self.names(table.schema)
        let names = plain.map(quoted)
        let columns = names.joined(separator: ", ")
        let visible = names.indices.filter { !table.schema.columns[$0].isHidden }.map { names[$0] }
        let shown = visible.joined(separator: ", ")
        let keys = table.schema.key.map { names[$0] }
        let order = keys.map { "\($0) NULLS FIRST" }.joined(separator: ", ")
        if whole.isEmpty, runs.isEmpty {
            return "SELECT \(visible.map { "NULL AS \($0)" }.joined(separator: ", ")) WHERE false"
        }
        let base = try whole.first.map { first in
            try "SELECT \(selection(table, names: plain, from: first)) FROM \(Self.source(whole))"
        }
        if runs.isEmpty {
            let rows = visible.count == names.count ? base! : "SELECT \(shown) FROM (\(base!))"
            return "\(rows)\nORDER BY \(order)"
        }
        let (number, operation) = (Self.free("__point", plain), Self.free("__op", plain))
        let changes = try runs.map { run in
            let first = run.files[0]
            return
                "  SELECT \(run.sequence) AS \(number), \(quoted(first.columnNames[0])) AS "
                + "\(operation), \(try selection(table, names: plain, from: first))\n"
                + "  FROM \(Self.source(run.files))"
        }
        let isSame = keys.map { "newest.\($0) IS NOT DISTINCT FROM whole.\($0)" }
        let rest = base.map { base in
            "  SELECT \(columns) FROM (\(base)) AS whole\n"
                + "  ANTI JOIN newest ON \(isSame.joined(separator: " AND "))\n  UNION ALL\n"
        }
        return """
            WITH changes AS (
            \(changes.joined(separator: "\n  UNION ALL\n"))
            ), newest AS (
              SELECT * FROM changes
              QUALIFY row_number() OVER (PARTITION BY \(keys.joined(separator: ", ")) \
            ORDER BY \(number) DESC) = 1
            )
            SELECT \(shown) FROM (
            \(rest ?? "")  SELECT \(columns) FROM newest WHERE \(operation) <> 3
            )
            ORDER BY \(order)
            """
    }

    private struct Run {
        var sequence: UInt64
        /// At least one; their first column says what happened.
        var files: [RowFile]
    }

    /// The files of the newest point that carried the table whole, and the runs of those behind it.
    private func parts(of table: TableRecord) throws -> (whole: [RowFile], runs: [Run]) {
        var runs: [Run] = []
        for point in chain.reversed() {
            guard point.changed.contains(table.id),
                let record = state.table(table.id, at: point.sequence)
            else { continue }
            let isWhole = point.kind == .full || record.isReset
            let files = try self.files(of: point).filter { file in
                file.metadata["ydbfs.kind"] == (isWhole ? "full" : "run")
                    && file.metadata["ydbfs.table"]?.hasSameBytes(as: record.path) == true
            }
            guard !files.contains(where: { PathText.isOdd($0.name) }) else {
                throw refusal("the path of the repository is no UTF-8")
            }
            guard
                files.reduce(0, { $0 + UInt64($1.rows) })
                    == (isWhole ? record.rows : record.changes)
            else { throw refusal("\(point.name) hasn't all rows of \(table.path) any more") }
            if isWhole { return (files, runs.reversed()) }
            if !files.isEmpty { runs.append(Run(sequence: point.sequence, files: files)) }
        }
        throw refusal("the point that carried \(table.path) whole is gone")
    }

    private func files(of point: BackupPoint) throws -> [RowFile] {
        if let files = known[point.sequence] { return files }
        let files = try point.files.filter {
            $0.name.hasSuffix(".parquet") && state.files[$0.number] != nil
        }.map { reference in
            do {
                return try RowFile(repository.file(reference, of: state))
            } catch let failure as Failure where failure.code == .corrupt {
                throw refusal(failure.message)
            }
        }
        known[point.sequence] = files
        return files
    }

    /// The point's columns under these names; in a file they may have older ones.
    private func selection(
        _ table: TableRecord, names: [String], from file: RowFile
    ) throws -> String {
        try zip(table.schema.columns, names).map { column, plain in
            let name = quoted(plain)
            guard let index = file.fieldIDs.firstIndex(of: Int(column.id)) else {
                guard let standIn = column.standIn, let text = standIn.sql(column.type) else {
                    throw refusal("an older file of \(table.path) has no column \(column.name)")
                }
                return "\(text) AS \(name)"
            }
            let stored = file.columnNames[index]
            if stored.hasSameBytes(as: plain) { return name }
            // DuckDB has no word for a column without a name, but it counts them.
            return "\(stored.isEmpty ? "#\(index + 1)" : quoted(stored)) AS \(name)"
        }.joined(separator: ", ")
    }

    private func refusal(_ reason: String) -> Failure {
        Failure(
            .unsupported,
            "no SQL can merge \(state.name)/\(point.name): \(reason); ydbfs export gives its tables"
        )
    }

    // MARK: Words

    /// What the query calls the columns: as they are called, but for those whose name is empty, which
    /// get one from their place, and the hidden ones, which take no name of the others.
    private static func names(_ schema: TableSchema) -> [String] {
        var names = schema.columns.map { $0.isHidden ? "" : $0.name }
        for (index, column) in schema.columns.enumerated() where names[index].isEmpty {
            names[index] = free(column.isHidden ? column.name : "column\(index + 1)", names)
        }
        return names
    }

    /// A name that isn't among `taken`.
    private static func free(_ name: String, _ taken: [String]) -> String {
        taken.contains { $0.lowercased() == name.lowercased() } ? free(name + "_", taken) : name
    }

    private static func source(_ files: [RowFile]) -> String {
        let paths = files.map { file in
            // DuckDB takes paths for patterns.
            let plain = file.name.unicodeScalars.map {
                "*?[".unicodeScalars.contains($0) ? "[\($0)]" : "\($0)"
            }
            .joined()
            return literal(plain)
        }
        return "read_parquet([\(paths.joined(separator: ", "))])"
    }
}

/// `name` as an identifier in DuckDB's SQL.
private func quoted(_ name: String) -> String { name.wrapped(in: "\"") }

/// `text` as a text literal.
private func literal(_ text: String) -> String { text.wrapped(in: "'") }

extension StandIn {
    /// The value in DuckDB's SQL; nil for types that no stand-in has been of yet.
    fileprivate func sql(_ type: ColumnType) -> String? {
        guard let bytes else { return "NULL" }
        let bits = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        switch type {
        case .int64: return "CAST('\(Int64(bitPattern: bits))' AS BIGINT)"
        case .double: return "CAST('\(Double(bitPattern: bits))' AS DOUBLE)"
        case .utf8: return literal(String(decoding: bytes, as: UTF8.self))
        case .string: return "from_hex('\(description.dropFirst(2))')"
        default: return nil
        }
    }
}
