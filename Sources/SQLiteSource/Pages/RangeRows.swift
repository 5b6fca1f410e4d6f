import Bytes
import CSQLite
import Tables

/// The rows of a table whose keys lie in ranges, in key order, read from the table's own b-tree range by
/// range. Throws `DoubtfulChanges` if there are more or fewer than its pages say.
final class RangeRows: RowCursor {
    private let connection: Connection
    private let table: String
    private let reader: RowReader
    private let query: RangeQuery
    private let ranges: KeyRanges
    /// Nil: not counted.
    private let expected: UInt64?
    private var nextRange = 0
    private var found: UInt64 = 0
    private var statement: Statement?

    init(
        _ connection: Connection, table: String, query: RangeQuery, reader: RowReader,
        ranges: KeyRanges, expected: UInt64?
    ) {
        self.connection = connection
        self.table = table
        self.query = query
        self.reader = reader
        self.ranges = ranges
        self.expected = expected
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        try connection.sync { _ in
            let start = batch.count
            var count = start
            var bytes = batch.byteCount
            let targets = RowReader.Targets(batch)
            while count < maxRows, bytes <= maxBytes {
                guard let statement = try statement ?? nextStatement() else { break }
                guard try statement.step() else {
                    statement.reset()
                    self.statement = nil
                    continue
                }
                let rowBytes = try reader.appendRow(of: statement.open(), to: targets)
                bytes += rowBytes
                count += 1
                if rowBytes > RowBatch.largeBytes {
                    // SQLite keeps the row's values until the statement is reset.
                    statement.reset()
                    let key = NormalizedKey.of(batch, row: count - 1, schema: reader.schema)
                    self.statement = try query.statement(
                        behind: key, to: ranges[nextRange - 1].upper, connection)
                }
            }
            found += UInt64(count - start)
            try checkCount()
            return withExtendedLifetime(batch) { count > start || statement != nil }
        }
    }

    private func nextStatement() throws -> Statement? {
        guard nextRange < ranges.count else { return nil }
        let range = ranges[nextRange]
        nextRange += 1
        statement = try query.statement(from: range.lower, to: range.upper, connection)
        return statement
    }

    private func checkCount() throws {
        guard let expected else { return }
        let isAtEnd = statement == nil && nextRange == ranges.count
        guard found <= expected, !isAtEnd || found == expected else {
            throw DoubtfulChanges(
                "reading \(table) by its key finds other rows than its pages hold: "
                    + "look with PRAGMA integrity_check")
        }
    }
}

/// Queries of a table's rows between two keys, prepared once.
final class RangeQuery {
    private let select: String
    private let key: [(expression: String, type: ColumnType)]
    private let isRowID: Bool
    /// By which bounds there are: prepared when needed.
    private var prepared: [Int: Statement] = [:]

    /// - Parameters:
    ///   - select: the query up to its conditions.
    ///   - key: expressions of the storage key's columns, and their types.
    init(select: String, key: [(expression: String, type: ColumnType)], isRowID: Bool) {
        self.select = select
        self.key = key
        self.isRowID = isRowID
    }

    /// A statement about to answer the rows between two normalized keys, neither of them included.
    func statement(
        from lower: [UInt8]?, to upper: [UInt8]?, _ connection: Connection
    ) throws -> Statement {
        let which = isRowID ? 0 : (lower == nil ? 0 : 1) + (upper == nil ? 0 : 2)
        let statement = try prepared[which] ?? prepare(which, connection)
        prepared[which] = statement
        if isRowID {
            let (low, high) = try (lower.map(Self.rowID), upper.map(Self.rowID))
            // Not below the least there is, and no bound beyond the last: there is no such row then.
            let first = low.map { $0 == .max ? nil : $0 + 1 } ?? Int64.min
            let last = high.map { $0 == .min ? nil : $0 - 1 } ?? Int64.max
            guard let first, let last else {
                throw Failure(.corrupt, "a range of rows ends where there can be none")
            }
            statement.bind(1, first)
            statement.bind(2, last)
        } else {
            var next: CInt = 1
            for bound in [lower, upper] {
                if let bound { try KeyBinding.bind(bound, key.map(\.type), statement, &next) }
            }
        }
        return statement
    }

    /// As above; nil if there can be no row behind the lower one.
    func statement(
        behind lower: [UInt8], to upper: [UInt8]?, _ connection: Connection
    ) throws -> Statement? {
        if isRowID, try Self.rowID(lower) == .max { return nil }
        return try statement(from: lower, to: upper, connection)
    }

    private func prepare(_ which: Int, _ connection: Connection) throws -> Statement {
        // As the b-tree is ordered, whatever the columns' collations are elsewhere.
        let terms = key.map { isRowID ? $0.expression : "\($0.expression) COLLATE BINARY" }
        let order = "ORDER BY \(terms.joined(separator: ", "))"
        if isRowID {
            return try connection.prepare("\(select) WHERE \(terms[0]) BETWEEN ?1 AND ?2 \(order)")
        }
        let values = "(\(terms.map { _ in "?" }.joined(separator: ", ")))"
        let row = "(\(terms.joined(separator: ", ")))"
        var conditions: [String] = []
        if which & 1 != 0 { conditions.append("\(row) > \(values)") }
        if which & 2 != 0 { conditions.append("\(row) < \(values)") }
        let filter = conditions.isEmpty ? "" : "WHERE \(conditions.joined(separator: " AND "))"
        return try connection.prepare("\(select) \(filter) \(order)")
    }

    private static func rowID(_ key: [UInt8]) throws -> Int64 {
        guard key.count == 9, key[0] == 1 else { throw KeyBinding.damage }
        let bits = key[1...].reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        return Int64(bitPattern: bits ^ 1 << 63)
    }
}

/// Binds the values of a normalized key, as they are stored.
enum KeyBinding {
    fileprivate static var damage: Failure { Failure(.corrupt, "a bound of a range is no key") }

    static func bind(
        _ key: [UInt8], _ types: [ColumnType], _ statement: Statement, _ next: inout CInt
    ) throws {
        var at = 0
        for type in types {
            guard at < key.count, key[at] == 1 else { throw damage }
            at += 1
            switch type {
            case .int64:
                statement.bind(next, Int64(bitPattern: try number(key, &at) ^ 1 << 63))
            case .double:
                let bits = try number(key, &at)
                statement.bind(
                    next, Double(bitPattern: bits >> 63 == 1 ? bits ^ 1 << 63 : ~bits))
            case .utf8: statement.bind(next, text: try bytes(key, &at))
            case .string: statement.bind(next, blob: try bytes(key, &at))
            default: throw damage
            }
            next += 1
        }
        guard at == key.count else { throw damage }
    }

    private static func number(_ key: [UInt8], _ at: inout Int) throws -> UInt64 {
        guard key.count - at >= 8 else { throw damage }
        defer { at += 8 }
        return key[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func bytes(_ key: [UInt8], _ at: inout Int) throws -> [UInt8] {
        var result: [UInt8] = []
        while key.count - at >= 2 {
            let byte = key[at]
            at += 1
            guard byte == 0 else {
                result.append(byte)
                continue
            }
            at += 1
            if key[at - 1] == 0 { return result }
            result.append(0)
        }
        throw damage
    }
}
