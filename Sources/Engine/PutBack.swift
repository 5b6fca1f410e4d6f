import Bytes
import Repository
import Tables

/// What a RESTORE of rows asks for.
struct RowsRequest: Sendable {
    enum Rows: Sendable {
        case keys([TableKey])
        /// Those that are others since then.
        case changed(since: Moment)
    }

    struct Table: Sendable {
        let path: String
        let target: String
        let rows: Rows

        /// The table at a point. Throws `.notFound`, or `.unsupported` for what isn't made of rows.
        func record(
            of state: CollectionState, at point: BackupPoint
        ) throws(Failure) -> TableRecord {
            guard let record = state.table(path: path, at: point.sequence) else {
                throw point.missing(path)
            }
            if let owner = record.shadowOf {
                throw Failure(
                    .unsupported,
                    "\(path) holds content of the virtual table \(owner): restore that as a whole")
            }
            return record
        }
    }

    /// Rows are put back as this point has them.
    var moment: Moment
    var tables: [Table] = []
    var rules: RowRules
}

extension Engine {
    /// Puts rows of tables back as a point has them, all in one transaction.
    func putBack(_ request: RowsRequest, _ operation: Operation) throws {
        try refresh()
        guard let repository, let state = collection(operation.collection) else {
            throw Failure(.notFound, "there is no collection \(operation.collection)")
        }
        let point = try request.moment.point(in: state, now: repository.now)
        operation.update { $0.point = point.name }
        let records = try request.tables.map { try $0.record(of: state, at: point) }
        // Whoever drops a point meanwhile: its rows are read to their end.
        var holds = records.map { hold($0, of: state) }
        defer { withExtendedLifetime(holds) {} }
        let destination = try openDestination(patience: nil)
        let restore = try destination.openRows(
            zip(request.tables, records).map {
                RowTarget(path: $0.path, target: $0.target, schema: $1.schema)
            }, rules: request.rules,
            attempt: RestoreAttempt(
                id: "\(operation.id)", isStrict: request.rules.isStrict,
                isCancelled: { operation.isCancelling }, hasWritten: operation.pay))
        defer { restore.abandon() }
        for (number, table) in request.tables.enumerated() {
            let rows = ChosenRows(
                table, records[number], at: point, of: state, operation,
                snapshot: { self.snapshot($0, of: state) },
                hold: { holds.append(self.hold($0, of: state)) })
            try restore.begin(number)
            try rows.run(rules: request.rules, restore.append)
        }
        let outcomes = try restore.finish()
        operation.update { status in
            for (table, rows) in zip(request.tables, outcomes) {
                status.report(rows, of: table.target, isDryRun: request.rules.isDryRun)
            }
        }
    }
}

extension Operation.Status {
    fileprivate mutating func report(_ put: PutBackRows, of table: String, isDryRun: Bool) {
        rows = isDryRun ? 0 : [rows, put.inserted, put.replaced].total
        var words = [
            isDryRun ? "would insert \(put.inserted)" : "inserted \(put.inserted)",
            isDryRun ? "replace \(put.replaced)" : "replaced \(put.replaced)",
        ]
        if put.skipped > 0 { words.append("\(isDryRun ? "leave" : "left") \(put.skipped) alone") }
        if put.same > 0 { words.append("\(put.same) already there as at the point") }
        notes.append("\(table): \(words.joined(separator: ", "))")
        notes += put.notes.map { "\(table): \($0)" }
        for omission in put.omissions { leaveOut(NotBackedUp(path: table, reason: omission)) }
    }
}

/// The rows of one table that are put back: those with some keys, or those that changed between two
/// points.
private struct ChosenRows {
    let table: RowsRequest.Table
    let record: TableRecord
    let point: BackupPoint
    let state: CollectionState
    let operation: Operation
    let snapshot: (TableRecord) -> Snapshot
    let hold: (TableRecord) -> Void

    init(
        _ table: RowsRequest.Table, _ record: TableRecord, at point: BackupPoint,
        of state: CollectionState, _ operation: Operation,
        snapshot: @escaping (TableRecord) -> Snapshot, hold: @escaping (TableRecord) -> Void
    ) {
        self.table = table
        self.record = record
        self.point = point
        self.state = state
        self.operation = operation
        self.snapshot = snapshot
        self.hold = hold
    }

    func run(rules: RowRules, _ take: (RowBatch) throws -> Void) throws {
        switch table.rows {
        case .keys(let keys): try find(keys, rules, take)
        case .changed(let since): try find(changedSince: since, take)
        }
    }

    // MARK: By key

    private static let shownKeys = 5

    private func find(
        _ keys: [TableKey], _ rules: RowRules, _ take: (RowBatch) throws -> Void
    ) throws {
        var missing: [String] = []
        var taken = Set<[UInt8]>()
        let snapshot = snapshot(record)
        for key in keys where try !find(key, in: snapshot, &taken, take) {
            missing.append(key.pathName)
        }
        if missing.isEmpty { return }
        let shown = missing.prefix(Self.shownKeys).joined(separator: "; ")
        let rest =
            missing.count > Self.shownKeys ? "; and \(missing.count - Self.shownKeys) more" : ""
        let words = "\(point.name) has no row \(shown)\(rest)"
        if rules.isStrict || missing.count == keys.count {
            throw Failure(.notFound, "\(table.path): \(words); nothing was put back")
        }
        operation.update { $0.leaveOut(NotBackedUp(path: table.path, reason: words)) }
    }

    /// Takes the rows with a key, unless they were taken already. False if there is none.
    private func find(
        _ key: TableKey, in snapshot: Snapshot, _ taken: inout Set<[UInt8]>,
        _ take: (RowBatch) throws -> Void
    ) throws -> Bool {
        let rows = try RowFinder(key, checkpoint: operation.checkpoint).rows(of: snapshot)
        let new = RowBatch(record.schema)
        let ofKey = record.schema.ofKey
        for row in 0..<rows.count {
            let columns = RowBatch(columns: record.schema.key.map { rows.columns[$0] })
            if taken.insert(NormalizedKey.of(columns, row: row, schema: ofKey)).inserted {
                new.append(rows, row: row)
            }
        }
        if new.count > 0 { try take(new) }
        return rows.count > 0
    }

    // MARK: By what changed

    /// Between two points that is what differs. Since the point itself, or a later one, it is what is
    /// another one at the newest point.
    private func find(
        changedSince moment: Moment, _ take: (RowBatch) throws -> Void
    ) throws {
        let since = try moment.point(in: state)
        let isEarlier = since.sequence < point.sequence
        let end = isEarlier ? point : try Moment.newest.point(in: state)
        if !isEarlier {
            let note =
                "what changed after \(end.name), the newest point, isn't known: take a backup first "
                + "to have that as well"
            operation.update { if !$0.notes.contains(note) { $0.notes.append(note) } }
        }
        let before = state.table(path: table.path, at: since.sequence)
        let after = isEarlier ? record : state.table(path: table.path, at: end.sequence)
        for side in [before, after].compactMap(\.self) { hold(side) }
        guard before != nil || after != nil else { return }
        let diff = try SnapshotDiff(
            old: before.map(snapshot), new: after.map(snapshot),
            areOneTable: before?.id == after?.id, checkpoint: operation.checkpoint)
        if isEarlier {
            try takeRows(of: [.insert, .after], diff, take)
        } else if since.sequence == point.sequence {
            try takeRows(of: [.delete, .before], diff, take)
        } else {
            try takeKeys(of: diff, take)
        }
    }

    /// Rows of a diff one of whose sides is the point's table.
    private func takeRows(
        of types: Set<ChangeType>, _ diff: SnapshotDiff, _ take: (RowBatch) throws -> Void
    ) throws {
        let places = types.contains(.insert) ? diff.newColumns : diff.oldColumns
        while let changed = try diff.next() {
            let batch = RowBatch(record.schema)
            let rows = RowBatch(columns: places.map { changed.rows.columns[$0] })
            for (row, type) in changed.types.enumerated() where types.contains(type) {
                batch.append(rows, row: row)
            }
            if batch.count > 0 { try take(batch) }
        }
    }

    /// Rows that the point has with the keys of a diff between two later ones.
    private func takeKeys(of diff: SnapshotDiff, _ take: (RowBatch) throws -> Void) throws {
        let snapshot = snapshot(record)
        var taken = Set<[UInt8]>()
        while let changed = try diff.next() {
            for row in changed.types.indices {
                let key = TableKey(changed.rows, row, diff.schema)
                _ = try find(key, in: snapshot, &taken, take)
            }
        }
    }
}
