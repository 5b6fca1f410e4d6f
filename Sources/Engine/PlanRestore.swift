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
        if restore.tables?.first?.rows != nil { return try putBack(statement, restore, &state) }
        let destination = try openDestination()
        var request = RestoreRequest(
            moment: try restore.point.map { at throws(Failure) in
                try moment(at, of: name, statement)
            } ?? .newest,
            tables: try restore.tables.map { tables throws(Failure) in
                try self.tables(tables, destination?.names, statement)
            }, isStrict: restore.isStrict)
        // A queued backup may change what the newest point has.
        let awaitsBackup =
            if case .newest = request.moment { state.queuedBackups > 0 } else { false }
        if let collection = engine.collection(name), !awaitsBackup {
            let point = try located(restore.point?.position, statement) { () throws(Failure) in
                try request.moment.point(in: collection, now: engine.now)
            }
            let selection = try located(restore.tables?.first?.path.position, statement) {
                () throws(Failure) in try request.selection(of: collection, at: point)
            }
            request.targets = selection.tables.map(\.target)
            try checkTargets(request.targets, destination?.names, statement)
            if let destination {
                let isForeign = collection.isForeign
                let obstacles = try unlessLocked {
                    try destination.obstacles(
                        to: selection.restored(at: point, foreignTo: isForeign ? destination : nil))
                }
                if let refusal = engine.refusal(obstacles ?? []) { throw refusal }
            }
        } else {
            request.targets = request.tables?.map(\.target) ?? []
            try checkTargets(request.targets, destination?.names, statement)
        }
        restoredTargets += request.targets
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

    /// - Parameter names: the database's rules; nil if it can't be asked now, and will be later.
    private func tables(
        _ tables: [Statement.Restore.Table], _ names: (any TableNameRules)?,
        _ statement: Statement
    ) throws(Failure) -> [(path: String, target: String)] {
        var result: [(String, String)] = []
        var targets: Set<[UInt8]> = []
        for table in tables {
            let path = try resolve(table.path, statement)
            let target = try resolve(table.target ?? table.path, statement)
            let position = (table.target ?? table.path).position
            if !path.hasSameBytes(as: target), let names, !names.allow(target) {
                throw statement.refusal(.invalid, "no table can be named \(target)", at: position)
            }
            if !targets.insert(Self.identity(of: target, names)).inserted {
                throw statement.refusal(
                    .invalid, "two tables would be named \(target)", at: position)
            }
            result.append((path, target))
        }
        return result
    }

    static func identity(of name: String, _ names: (any TableNameRules)?) -> [UInt8] {
        names?.identity(of: name) ?? Array(name.utf8)
    }

    /// Refuses names that a queued restore will have taken.
    private func checkTargets(
        _ targets: [String], _ names: (any TableNameRules)?, _ statement: Statement
    ) throws(Failure) {
        let queued = Set(restoredTargets.map { Self.identity(of: $0, names) })
        let taken = targets.filter { queued.contains(Self.identity(of: $0, names)) }
        if taken.isEmpty { return }
        throw statement.refusal(
            .exists,
            "a queued RESTORE will have made \(taken.joined(separator: ", ")): restore under "
                + "other names with AS", at: statement.position)
    }

    /// Where it would be restored into; nil if that is locked now: the operation has time to wait, and
    /// asks again all that is asked here.
    func openDestination() throws(Failure) -> (any RestoreDestination)? {
        try unlessLocked { try engine.openDestination(patience: Engine.handlerPatience) }
    }

    func unlessLocked<R>(_ body: () throws -> R) throws(Failure) -> R? {
        do {
            return try body()
        } catch let failure as Failure {
            switch failure.code {
            case .busy: return nil
            case .denied, .readOnly, .unsupported, .corrupt, .noSpace: throw failure
            default: throw Failure(.unreachable, failure.message)
            }
        } catch {
            throw Failure(.unreachable, "\(error)")
        }
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
}
