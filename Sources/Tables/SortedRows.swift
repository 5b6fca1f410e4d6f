import Bytes

/// The rows of a cursor in key order, whatever order they come in, in bounded memory.
///
/// ```
/// rows ─→ a run in memory ─→ sorted ─→ file of level 0          as the first row is asked for
///         512 runs of a level ─→ one of the level above
///         the runs of all levels ─→ rows in key order           from then on
/// ```
/// Rows are read by the thread that asks, and sorted by another one meanwhile. Files have no names, so
/// that nothing is left of them however this ends.
package final class SortedRows: RowCursor {
    private let rows: any RowCursor
    private let schema: TableSchema
    private let limits: SortLimits
    private let directory: String
    private let checkpoint: () throws -> Void
    private var levels = [Level()]
    private var merge: RunMerge?

    /// Runs of about the same size, all in one file.
    private struct Level {
        var file: SpillFile?
        var runs: [SortedRun] = []
    }

    /// - Parameters:
    ///   - directory: of temporary files.
    ///   - checkpoint: called now and then as long as there is no first row; throws to stop.
    package init(
        _ rows: any RowCursor, schema: TableSchema, limits: SortLimits = .init(),
        directory: String = SpillFile.defaultDirectory, checkpoint: @escaping () throws -> Void
    ) {
        self.rows = rows
        self.schema = schema
        self.limits = limits
        self.directory = directory
        self.checkpoint = checkpoint
    }

    package func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        let merge = try self.merge ?? sort()
        self.merge = merge
        return try merge.next(into: batch.columns, maxRows: maxRows, maxBytes: maxBytes)
    }

    private func sort() throws -> RunMerge {
        let maker = RunMaker(schema, limits: limits, directory: directory)
        let spare = SpareBatches(schema, maxBytes: 2 * Self.batchBytes)
        let pipeline = OrderedPipeline<RowBatch, (RowBatch, [SortedRun])>(
            threads: 1, capacity: Self.batches,
            transform: { batch in (batch, try maker.add(batch)) },
            consume: { batch, runs in
                spare.give(batch)
                for run in runs { try self.store(run, level: 0) }
            })
        do {
            defer { pipeline.close() }
            var more = true
            while more {
                try checkpoint()
                let batch = spare.take()
                more = try rows.next(
                    into: batch, maxRows: Self.batchRows, maxBytes: Self.batchBytes)
                let isLarge = batch.byteCount > 2 * Self.batchBytes
                try pipeline.submit(batch)
                // Few of them would be many bytes.
                if isLarge { try pipeline.finish() }
            }
            try pipeline.finish()
        }
        let stored = levels.flatMap(\.runs)
        levels = []
        return try RunMerge(stored + maker.finish(isOnly: stored.isEmpty), limits: limits)
    }

    /// So many batches are read ahead while a run is being sorted.
    private static let batches = 64
    private static let batchRows = 1024
    private static let batchBytes = 128 << 10

    /// Keeps a run; enough of them are merged into one of the next level.
    private func store(_ run: SortedRun, level: Int) throws {
        levels[level].runs.append(run)
        guard levels[level].runs.count == limits.mergedRuns else { return }
        let merge = try RunMerge(levels[level].runs, limits: limits)
        levels[level] = Level()
        if level + 1 == levels.count { levels.append(Level()) }
        let file = try levels[level + 1].file ?? SpillFile(in: directory)
        levels[level + 1].file = file
        try store(merge.write(to: file, checkpoint), level: level + 1)
    }
}

/// Makes sorted runs of batches, one after another.
///
/// Used by one thread at a time.
private final class RunMaker: @unchecked Sendable {
    private let run: SortRun
    private let key: [(index: Int, type: ColumnType)]
    private let directory: String
    private let runsPerFile: Int
    private var runs = 0
    private var file: SpillFile?

    init(_ schema: TableSchema, limits: SortLimits, directory: String) {
        run = SortRun(limits: limits, directory: directory)
        key = schema.key.map { ($0, schema.columns[$0].type) }
        runsPerFile = limits.mergedRuns
        self.directory = directory
    }

    /// Takes a batch's rows; returns the runs that became full, most often none.
    func add(_ batch: RowBatch) throws -> [SortedRun] {
        var full: [SortedRun] = []
        let columns = batch.columns
        try run.append(
            columns,
            makeKey: { row, output in
                for (index, type) in key {
                    NormalizedKey.append(columns[index], row: row, type: type, to: output)
                }
            },
            whenFull: { full.append(try write()) })
        return full
    }

    private func write() throws -> SortedRun {
        // Runs that will be merged together have a file of their own: then its space is free again.
        if runs % runsPerFile == 0 { file = try SpillFile(in: directory) }
        runs += 1
        return try run.write(to: file!)
    }

    /// What is left: in memory if it is all there is.
    func finish(isOnly: Bool) throws -> [SortedRun] {
        if isOnly { return [try run.held()] }
        return run.isEmpty ? [] : [try write()]
    }
}
