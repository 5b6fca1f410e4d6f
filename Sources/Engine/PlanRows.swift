import Bytes
import Repository
import Tables

extension Plan {
    /// Whether a RESTORE of rows would find its point, tables and keys once all that is queued has
    /// succeeded. What is in the way of rows shows when its turn comes.
    mutating func putBack(
        _ statement: Statement, _ restore: Statement.Restore, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        var request = RowsRequest(
            moment: try restore.point.map { at throws(Failure) in
                try moment(at, of: name, statement)
            } ?? .newest, rules: restore.rules)
        request.rules.isStrict = restore.isStrict
        for table in restore.tables ?? [] {
            let path = try resolve(table.path, statement)
            let target = try resolve(table.target ?? table.path, statement)
            request.tables.append(
                RowsRequest.Table(
                    path: path, target: target, rows: try rows(table, of: name, statement)))
        }
        // A queued backup may change what the newest point has.
        let awaitsBackup =
            if case .newest = request.moment { state.queuedBackups > 0 } else { false }
        if let collection = engine.collection(name), collection.isForeign {
            throw statement.refusal(
                .unsupported,
                "\(name) holds tables of YDB, and no rows of them can be put into a table that is "
                    + "there: RESTORE the table whole", at: statement.position)
        }
        if let collection = engine.collection(name), !awaitsBackup {
            try check(request, restore, of: collection, statement)
        }
        state.queued += 1
        return .queue(.putBack(request))
    }

    private func rows(
        _ table: Statement.Restore.Table, of name: String, _ statement: Statement
    ) throws(Failure) -> RowsRequest.Rows {
        switch table.rows {
        case .changed(let since): .changed(since: try moment(since, of: name, statement))
        case .keys(let keys): .keys(keys.map { TableKey(fields: $0.value) })
        case nil: .keys([])
        }
    }

    /// Points, tables and keys as they are now.
    private func check(
        _ request: RowsRequest, _ restore: Statement.Restore, of collection: CollectionState,
        _ statement: Statement
    ) throws(Failure) {
        let point = try located(restore.point?.position, statement) { () throws(Failure) in
            try request.moment.point(in: collection, now: engine.now)
        }
        var targets: [RowTarget] = []
        for (written, table) in zip(restore.tables ?? [], request.tables) {
            targets.append(
                try located(written.path.position, statement) { () throws(Failure) in
                    let record = try table.record(of: collection, at: point)
                    return RowTarget(
                        path: table.path, target: table.target, schema: record.schema)
                })
            let schema = targets[targets.count - 1].schema
            switch written.rows {
            case .changed(let since):
                if case .changed(let moment) = table.rows {
                    _ = try located(since.position, statement) { () throws(Failure) in
                        try moment.point(in: collection, now: engine.now)
                    }
                }
            case .keys(let keys):
                for key in keys {
                    try located(key.position, statement) { () throws(Failure) in
                        try TableKey(fields: key.value).check(schema, of: table.path)
                    }
                }
            case nil: break
            }
        }
        try checkTargets(targets, restore, statement)
    }

    /// Whether the tables are there, unless a queued RESTORE will have made them.
    private func checkTargets(
        _ targets: [RowTarget], _ restore: Statement.Restore, _ statement: Statement
    ) throws(Failure) {
        guard let destination = try openDestination() else { return }
        let made = Set(restoredTargets.map { Self.identity(of: $0, destination.names) })
        for (target, written) in zip(targets, restore.tables ?? [])
        where !made.contains(Self.identity(of: target.target, destination.names)) {
            try located((written.target ?? written.path).position, statement) {
                () throws(Failure) in
                _ = try unlessLocked { try destination.checkTargets(of: [target]) }
            }
        }
    }
}

extension TableKey {
    /// Throws `.invalid` unless it can be a key of the table.
    fileprivate func check(_ schema: TableSchema, of path: String) throws(Failure) {
        if values(in: schema) != nil { return }
        let columns = schema.lookupKey.map { schema.columns[$0] }
        throw Failure(
            .invalid,
            "\(pathName) is no key of \(path), which is known by "
                + columns.map { "\($0.name) (\($0.type.name))" }.joined(separator: ", "))
    }
}
