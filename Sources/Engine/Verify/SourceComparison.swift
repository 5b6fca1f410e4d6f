import Bytes
import Repository
import Tables

/// Holds the live database against a point: reads both whole, whatever was captured meanwhile, and the
/// database's indexes beside their tables.
struct SourceComparison {
    let repository: Repository
    let state: CollectionState
    let source: any RowSource
    let operation: Operation

    private static let firstKeys = 5
    private static let cacheBytes = 32 << 20

    /// Compares the newest of the report's points.
    func compare(_ report: inout VerifyReport) throws {
        guard let last = report.points.last, let point = state.point(sequence: last.sequence) else {
            return report.notes.append("\(state.name) has no point to compare with the database")
        }
        report.sourcePoint = point.name
        let pool = FilePool(
            CollectionFiles(repository, state), cache: SharedCache(maxBytes: Self.cacheBytes))
        let settings = try CollectionSettings(stored: state.definition?.settings ?? [:])
        let cut = AttributedCut(
            try source.openCut(CutRequest(omitted: Set(settings.omitTables))))
        defer { cut.close() }
        let present = try cut.listTables()
        let names = Set(present.map { Array($0.path.utf8) })
        let tables = state.tables(at: point.sequence)
        let rows = tables.map(\.rows).total
        operation.update { $0.totalRows = ($0.totalRows ?? 0) + rows }
        for table in tables {
            let isThere = names.contains(Array(table.path.utf8))
            do {
                if let difference = try difference(table, pool, cut, isThere: isThere) {
                    report.differences.append(difference)
                }
                if isThere {
                    report.notes += try cut.checkIndexes(
                        table.path, isCancelled: { [operation] in operation.isCancelling })
                }
            } catch let unreadable as UnreadableTable {
                report.leftOut.append(
                    NotBackedUp(
                        path: table.path, reason: "it can't be compared: \(unreadable.reason)"))
            }
        }
        report.leftOut += missing(present, tables, point)
        report.leftOut.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        report.notes.append(
            "compared \(point.name) with \(source.name) as of \(Instant(microseconds: cut.instant))"
        )
    }

    /// Tables that the database has and the point should have.
    private func missing(
        _ present: [SourceTable], _ tables: [TableRecord], _ point: BackupPoint
    ) -> [NotBackedUp] {
        guard let definition = state.definition else { return [] }
        let known = Set(tables.map { Array($0.path.utf8) })
        let seen = Set(present.map { Array($0.path.utf8) })
        // What the point lacks is said, whether the database has it or not.
        let gone = point.notBackedUp.filter { !seen.contains(Array($0.path.utf8)) }
        return gone
            + present.filter { table in
                !known.contains(Array(table.path.utf8))
                    && (definition.isDatabase
                        || definition.tables.contains { $0.hasSameBytes(as: table.path) })
            }.map { table in
                let refused = point.notBackedUp.first { $0.path.hasSameBytes(as: table.path) }
                return refused
                    ?? NotBackedUp(
                        path: table.path, reason: "it was made after \(point.name) was taken")
            }
    }

    private func difference(
        _ table: TableRecord, _ pool: FilePool, _ cut: any SourceCut, isThere: Bool
    ) throws -> VerifyReport.Difference? {
        func differs(_ message: String) -> VerifyReport.Difference {
            VerifyReport.Difference(table: table.path, message: message)
        }
        if !isThere { return differs("the database has no such table now") }
        do {
            let live = try cut.describe(
                table.path, parent: table.schema, nextColumnID: table.nextColumnID, exactly: false)
            if live.schema != table.schema { return differs("its columns are others now") }
            return try rows(of: table, pool, cut)
        } catch let misfit as Misfit {
            return differs("column \(misfit.column) holds a value that doesn't fit its type now")
        }
    }

    private func rows(
        of table: TableRecord, _ pool: FilePool, _ cut: any SourceCut
    ) throws -> VerifyReport.Difference? {
        let stored = Snapshot(table.snapshot, schema: table.schema, pool: pool)
        let diff = try Diff(
            parent: stored,
            live: try cut.scan(
                table.path, schema: table.schema, checkpoint: { try operation.checkpoint() }),
            table: table.path,
            progress: { rows in
                operation.update { $0.rows += rows }
                try operation.checkpoint()
            })
        let keys = KeyText(table.schema)
        var found = VerifyReport.Difference(table: table.path, message: "")
        var gone = 0
        var more = true
        while more {
            let batch = RowBatch(table.schema)
            var present: [Bool] = []
            more = try diff.next(into: batch, present: &present, maxRows: 2048, maxBytes: 1 << 20)
            gone += present.count { !$0 }
            for row in 0..<min(batch.count, Self.firstKeys - found.firstKeys.count) {
                found.firstKeys.append(keys.text(of: batch, row))
            }
            found.rows += UInt64(batch.count)
        }
        if found.rows == 0 { return nil }
        found.message =
            "\(found.rows) rows differ (\(gone) of them are gone from the database)"
        return found
    }
}
