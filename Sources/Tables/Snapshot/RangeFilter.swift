import Bytes

/// Picks the rows that lie in ranges of keys out of rows in key order. Safe for concurrent use.
///
/// Few keys are looked at: rows are passed in leaps, from one bound to the next.
struct RangeFilter: Sendable {
    private let ranges: KeyRanges
    private let bounds: KeyList
    private let schema: TableSchema

    init(_ ranges: KeyRanges, schema: TableSchema) {
        self.ranges = ranges
        bounds = ranges.bounds
        self.schema = schema
    }

    /// The rows that lie in some of the ranges: the batch itself if all of them do.
    func rows(of batch: RowBatch, in some: Range<Int>) -> RowBatch {
        let pieces = pieces(of: batch, in: some)
        if pieces == [0..<batch.count] { return batch }
        let result = RowBatch(schema)
        for piece in pieces { result.append(batch, rows: piece) }
        return result
    }

    /// Which rows those are, in order; neighbours in one piece.
    private func pieces(of batch: RowBatch, in some: Range<Int>) -> [Range<Int>] {
        if batch.count == 0 { return [] }
        let keys = KeyProbe(batch, schema)
        var pieces: [Range<Int>] = []
        var row = 0
        var range = ranges.firstIndex(endingBehind: keys.key(0), from: some.lowerBound)
        while range < some.upperBound, row < batch.count {
            let start = keys.firstRow(from: row) { bounds.compare(2 * range, $0) < 0 }
            row = keys.firstRow(from: start) { bounds.compare(2 * range + 1, $0) <= 0 }
            if row > start {
                if let last = pieces.last, last.upperBound == start {
                    pieces[pieces.count - 1] = last.lowerBound..<row
                } else {
                    pieces.append(start..<row)
                }
            }
            range += 1
        }
        return pieces
    }
}

/// The normalized keys of a batch's rows, made one at a time, when they are asked for.
private struct KeyProbe {
    private let batch: RowBatch
    private let schema: TableSchema
    private let scratch = ByteBuffer(capacity: 256)

    init(_ batch: RowBatch, _ schema: TableSchema) {
        self.batch = batch
        self.schema = schema
    }

    private func load(_ row: Int) -> ByteBuffer {
        scratch.removeAll()
        NormalizedKey.append(batch, row: row, schema: schema, to: scratch)
        return scratch
    }

    func key(_ row: Int) -> [UInt8] { load(row).array }

    /// The first row from `start` on of whose key something holds that holds of all later ones too;
    /// the number of rows if there is none. Gallops, as it is most often close.
    func firstRow(from start: Int, where holds: (ByteBuffer) -> Bool) -> Int {
        var low = start
        var high = batch.count
        var step = 1
        while low < high {
            let probe = min(low + step, high) - 1
            if holds(load(probe)) {
                high = probe
                break
            }
            low = probe + 1
            step *= 2
        }
        while low < high {
            let middle = (low + high) / 2
            if holds(load(middle)) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
