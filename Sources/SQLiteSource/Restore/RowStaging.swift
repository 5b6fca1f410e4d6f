import Bytes
import Tables

/// Rows of one table that are laid aside in a temporary one, and the SQL that brings them home.
///
/// ```
/// c0 …   the point's values, with the affinities of the table's own columns, so that they are what
///        they will be there
/// x0 …   of columns that the point hasn't got: what the row there has now
/// rid    the rowid at the point
/// live   what finds the row that is there: its rowid, or 1 in a table without rowids; NULL: none is
/// done   1: nothing is left to do for it
/// ```
/// `l` is the table, `s` the temporary one. Row values are compared, since expressions can't be nested
/// as deep as a table may have columns.
struct RowStaging {
    let live: LiveTable
    /// The temporary table.
    let name: String
    private let table: String
    private let rowID: String?

    init(_ live: LiveTable, number: Int) {
        self.live = live
        name = "temp.ydbfs_rows_\(number + 1)"
        table = "main.\(quoted(live.definition.name))"
        rowID = live.definition.rowIDName
    }

    // MARK: Laying aside

    var creation: String {
        let columns =
            live.common.enumerated().map { "c\($0) \($1.affinity.typeName)" }
            + live.added.enumerated().map { "x\($0) \($1.affinity.typeName)" }
            + ["rid INTEGER", "live INTEGER", "done INTEGER"]
        return
            "CREATE TEMP TABLE \(name.dropFirst("temp.".count)) (\(columns.joined(separator: ", ")))"
    }

    /// The columns of the point that `insertion` takes, in order.
    var sources: [Int] { live.common.map(\.index) + (live.rowID.map { [$0] } ?? []) }

    var insertion: String {
        let columns = staged + (live.rowID == nil ? [] : ["rid"])
        let values = columns.indices.map { "?\($0 + 1)" }.joined(separator: ", ")
        return "INSERT INTO \(name) (\(columns.joined(separator: ", "))) VALUES (\(values))"
    }

    /// Affinities by the point's columns.
    var affinities: [Affinity] {
        var result = live.source.schema.columns.map { _ in Affinity.none }
        for column in live.common { result[column.index] = column.affinity }
        return result
    }

    // MARK: Conditions

    private var staged: [String] { live.common.indices.map { "c\($0)" } }

    private var key: [(column: String, staged: String)] {
        live.common.enumerated().filter(\.element.isKey).map { (quoted($1.name), "c\($0)") }
    }

    private var hasKey: String {
        key.isEmpty ? "0" : key.map { "s.\($0.staged) IS NOT NULL" }.joined(separator: " AND ")
    }

    /// The table's column on the left: it has the collation by which it tells keys apart.
    private var keyMatches: String {
        key.map { "l.\($0.column) = s.\($0.staged)" }.joined(separator: " AND ")
    }

    private var rowMatches: String { rowID.map { "l.\($0) = s.live" } ?? keyMatches }

    private var isSame: String {
        let columns = live.common.enumerated()
        func row(_ values: [String]) -> String { "(\(values.joined(separator: ", ")))" }
        return row(columns.map { "typeof(l.\(quoted($1.name)))" }) + " IS "
            + row(columns.map { "typeof(s.c\($0.offset))" }) + " AND "
            + row(columns.map { "l.\(quoted($1.name))" }) + " IS "
            + row(columns.map { "s.c\($0.offset) COLLATE BINARY" })
    }

    private static let isConflict = "s.done IS NULL AND s.live IS NOT NULL"
    private static let isNew = "s.done IS NULL AND s.live IS NULL"

    // MARK: Looking

    /// Finds the rows that are there, and rowids that others have by now.
    var searches: [String] {
        guard let rowID else {
            return [
                "UPDATE \(name) AS s SET live = (SELECT 1 FROM \(table) AS l WHERE \(keyMatches))"
            ]
        }
        var searches: [String] = []
        if !live.isKeyless {
            searches.append(
                """
                UPDATE \(name) AS s SET live =
                (SELECT l.\(rowID) FROM \(table) AS l WHERE \(keyMatches)) WHERE \(hasKey)
                """)
        }
        if live.rowID != nil {
            // Of a keyed table only a row that has no whole key either.
            let isOther =
                live.isKeyless
                ? ""
                : "AND (" + key.map { "l.\($0.column) IS NULL" }.joined(separator: " OR ") + ")"
            searches.append(
                """
                UPDATE \(name) AS s SET live =
                (SELECT l.\(rowID) FROM \(table) AS l WHERE l.\(rowID) = s.rid \(isOther))
                WHERE NOT (\(hasKey))
                """)
            searches.append(
                """
                UPDATE \(name) AS s SET rid = NULL WHERE s.live IS NULL
                AND EXISTS (SELECT 1 FROM \(table) AS l WHERE l.\(rowID) = s.rid)
                """)
        }
        return searches
    }

    var marksSame: String {
        """
        UPDATE \(name) AS s SET done = 1 WHERE \(Self.isConflict)
        AND EXISTS (SELECT 1 FROM \(table) AS l WHERE \(rowMatches) AND \(isSame))
        """
    }

    var countsConflicts: String { "SELECT count(*) FROM \(name) AS s WHERE \(Self.isConflict)" }

    var countsNew: String { "SELECT count(*) FROM \(name) AS s WHERE \(Self.isNew)" }

    var countsMoved: String {
        live.rowID == nil
            ? "SELECT 0" : "SELECT count(*) FROM \(name) AS s WHERE \(Self.isNew) AND s.rid IS NULL"
    }

    /// Some keys of rows that are others by now, as literals.
    func conflictingKeys(limit: Int) -> String {
        let values = key.isEmpty ? ["rid"] : key.map(\.staged)
        let list = values.map { "quote(s.\($0))" }.joined(separator: " || ', ' || ")
        return "SELECT \(list) FROM \(name) AS s WHERE \(Self.isConflict) LIMIT \(limit)"
    }

    var skipsConflicts: String {
        "UPDATE \(name) AS s SET done = 1 WHERE \(Self.isConflict)"
    }

    // MARK: Writing

    /// Nil if there is nothing that could be another one.
    var update: String? {
        let isRowID = live.definition.keyIsRowID
        let columns = live.common.enumerated().filter { !(isRowID && $1.isKey) }
        if columns.isEmpty { return nil }
        let values = columns.map { "\(quoted($1.name)) = s.c\($0)" }.joined(separator: ", ")
        return """
            UPDATE \(table) AS l SET \(values) FROM \(name) AS s
            WHERE \(Self.isConflict) AND \(rowMatches)
            """
    }

    /// The same if rows are in each other's way, such as those that swapped a value that only one may
    /// have: all of them go, and come again with what the point hasn't got of them.
    var replacement: [String] {
        var steps: [String] = []
        if !live.added.isEmpty {
            let values = live.added.enumerated().map { number, column in
                "x\(number) = (SELECT l.\(quoted(column.name)) FROM \(table) AS l WHERE \(rowMatches))"
            }
            steps.append(
                "UPDATE \(name) AS s SET \(values.joined(separator: ", ")) WHERE \(Self.isConflict)"
            )
        }
        let there = rowID ?? "(\(key.map(\.column).joined(separator: ", ")))"
        let gone = rowID == nil ? key.map(\.staged).joined(separator: ", ") : "s.live"
        steps.append(
            """
            DELETE FROM \(table) WHERE \(there) IN
            (SELECT \(gone) FROM \(name) AS s WHERE \(Self.isConflict))
            """)
        var columns = live.common.map { quoted($0.name) } + live.added.map { quoted($0.name) }
        var values = staged + live.added.indices.map { "x\($0)" }
        if let rowID, !live.definition.keyIsRowID {
            columns.append(rowID)
            values.append("live")
        }
        steps.append(
            """
            INSERT INTO \(table) (\(columns.joined(separator: ", ")))
            SELECT \(values.joined(separator: ", ")) FROM \(name) AS s WHERE \(Self.isConflict)
            """)
        return steps
    }

    /// Those that keep their rowids first, so that none of them is given to another.
    ///
    /// - Parameter skips: rows that hold what only one row may have, and another has, are left out.
    func addition(skips: Bool) -> String {
        var columns = live.common.map { quoted($0.name) }
        var values = staged
        if let rowID, live.rowID != nil {
            columns.append(rowID)
            values.append("rid")
        }
        return """
            INSERT INTO \(table) (\(columns.joined(separator: ", ")))
            SELECT \(values.joined(separator: ", ")) FROM \(name) AS s WHERE \(Self.isNew)
            ORDER BY rid IS NULL, rid\(skips ? " ON CONFLICT DO NOTHING" : "")
            """
    }

    // MARK: Looking again

    /// Rows that were written and can't be read as they were at the point.
    var countsOthers: String {
        let matches = live.isKeyless ? "l.\(rowID ?? "rowid") = s.rid" : keyMatches
        return """
            SELECT count(*) FROM \(name) AS s WHERE s.done IS NULL
            AND \(live.isKeyless ? "1" : hasKey)
            AND NOT EXISTS (SELECT 1 FROM \(table) AS l WHERE \(matches) AND \(isSame))
            """
    }

    /// Rows that were written and refer to a row that isn't there; nil if the columns aren't the
    /// point's.
    ///
    /// - Parameter columns: of this table, and of the one that they refer to.
    func countsOrphans(of parent: String, _ columns: [(from: String, to: String)]) -> String? {
        var terms: [String] = []
        var conditions: [String] = []
        for (from, to) in columns {
            guard let number = live.common.firstIndex(where: { folded($0.name) == folded(from) })
            else { return nil }
            terms.append("s.c\(number) IS NOT NULL")
            conditions.append("p.\(quoted(to)) = s.c\(number)")
        }
        return """
            SELECT count(*) FROM \(name) AS s WHERE s.done IS NULL
            AND \(terms.joined(separator: " AND ")) AND NOT EXISTS
            (SELECT 1 FROM main.\(quoted(parent)) AS p WHERE \(conditions.joined(separator: " AND ")))
            """
    }
}

extension Affinity {
    /// A type that has it.
    fileprivate var typeName: String {
        switch self {
        case .integer: "INTEGER"
        case .real: "REAL"
        case .text: "TEXT"
        case .numeric: "NUMERIC"
        case .blob, .none: ""
        }
    }
}
