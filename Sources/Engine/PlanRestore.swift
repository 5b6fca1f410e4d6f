import Bytes
import Repository
import Tables

extension Plan {
    /// Whether a RESTORE would succeed once all that is queued has: no table that is there already
    /// is ever touched.
    mutating func restore(
        _ statement: Statement, _ restore: Statement.Restore, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        try require(statement, state)
        try checkQueue(name, state)
        var request = RestoreRequest(
            moment: try restore.point.map { at throws(Failure) in
                try moment(at, of: name, statement)
            } ?? .newest,
            tables: try restore.tables.map { tables throws(Failure) in
                try self.tables(tables, statement)
            })
        // A queued backup may change what the newest point has.
        let awaitsBackup =
            if case .newest = request.moment { state.queuedBackups > 0 } else { false }
        if let collection = engine.collection(name), !awaitsBackup {
            let point = try located(restore.point?.position, statement) { () throws(Failure) in
                try request.moment.point(in: collection)
            }
            let records = try located(restore.tables?.first?.path.position, statement) {
                () throws(Failure) in try request.records(of: collection, at: point)
            }
            request.targets = records.map(\.target)
            try checkTargets(request.targets, statement)
            try checkObstacles(records.map { RestoredTable($0.record, target: $0.target) })
        } else {
            request.targets = request.tables?.map(\.target) ?? []
            try checkTargets(request.targets, statement)
        }
        for target in request.targets { restoredTargets.insert(Self.folded(target)) }
        state.queued += 1
        return .queue(.restore(request))
    }

    /// The moment that `AT` means.
    func moment(
        _ point: Located<String>, of name: String, _ statement: Statement
    ) throws(Failure) -> Moment {
        try located(point.position, statement) { () throws(Failure) in
            try Moment(point.value, of: name, in: engine.repository)
        }
    }

    private func tables(
        _ tables: [Statement.Restore.Table], _ statement: Statement
    ) throws(Failure) -> [(path: String, target: String)] {
        var result: [(String, String)] = []
        var targets: Set<[UInt8]> = []
        for table in tables {
            let target = try resolve(table.target ?? table.path, statement)
            let position = (table.target ?? table.path).position
            let folded = Self.folded(target)
            if folded.isEmpty || folded.contains(0) || folded.starts(with: "sqlite_".utf8)
                || folded.starts(with: "_ydbfs_".utf8)
            {
                throw statement.refusal(.invalid, "no table can be named \(target)", at: position)
            }
            if !targets.insert(folded).inserted {
                throw statement.refusal(
                    .invalid, "two tables would be named \(target)", at: position)
            }
            result.append((try resolve(table.path, statement), target))
        }
        return result
    }

    /// Refuses names that a queued restore will have taken.
    private func checkTargets(
        _ targets: [String], _ statement: Statement
    ) throws(Failure) {
        let taken = targets.filter { restoredTargets.contains(Self.folded($0)) }
        if taken.isEmpty { return }
        throw statement.refusal(
            .exists,
            "a queued RESTORE will have made \(taken.joined(separator: ", ")): restore under "
                + "other names with AS", at: statement.position)
    }

    private func checkObstacles(_ tables: [RestoredTable]) throws(Failure) {
        let obstacles: [String]
        do {
            obstacles = try engine.openDestination(patience: Engine.handlerPatience)
                .obstacles(to: tables)
        } catch let failure as Failure {
            switch failure.code {
            // A lock passes: the operation has time to wait for it, and looks again.
            case .busy: return
            case .denied, .readOnly, .unsupported, .corrupt, .noSpace: throw failure
            default: throw Failure(.unreachable, failure.message)
            }
        } catch {
            throw Failure(.unreachable, "\(error)")
        }
        if let refusal = engine.refusal(obstacles) { throw refusal }
    }

    /// Says where in the statement the fault of `body` is.
    func located<R>(
        _ position: SourcePosition?, _ statement: Statement, _ body: () throws(Failure) -> R
    ) throws(Failure) -> R {
        do throws(Failure) {
            return try body()
        } catch {
            throw statement.refusal(
                error.code, error.message, at: position ?? statement.position)
        }
    }

    /// A name by which a database tells tables apart: ASCII letters alike.
    static func folded(_ name: String) -> [UInt8] {
        name.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }
    }
}
