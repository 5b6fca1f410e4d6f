/// Bounds of the memory that sorting takes, and of the files that it has open.
package struct SortLimits: Sendable {
    /// Of the records of a run in memory.
    package var runBytes = 8 << 20
    /// Of a record; what has larger rows goes through a file of its own.
    package var recordBytes = 32 << 10
    /// Of the buffers of all runs that are merged, if there is room for a record in each.
    package var mergeBytes = 32 << 20
    /// Runs that are merged at once.
    package var mergedRuns = 512

    package init() {}
}

/// Sorted records: in a file, or in memory if they are all there are.
package struct SortedRun: Sendable {
    enum Place: Sendable {
        case stored(SpillFile, Range<Int>)
        case held(ByteBuffer)
    }

    let place: Place
    /// So many first bytes are the same in all keys, those of earlier runs included.
    let common: Int
    /// Where long records have their content.
    let long: SpillFile?
}

/// One run that is being merged: a buffer with the records that come next.
private final class RunReader {
    private let file: SpillFile?
    /// Where the bytes behind the buffer's lie.
    private var rest: Range<Int>
    private let buffer: ByteBuffer

    /// - Parameter bufferBytes: room for a record at least.
    init(_ run: SortedRun, bufferBytes: Int) {
        switch run.place {
        case .stored(let file, let range):
            self.file = file
            rest = range
            buffer = ByteBuffer(capacity: bufferBytes)
        case .held(let records):
            file = nil
            rest = 0..<0
            buffer = records
        }
    }

    /// Bytes in the buffer.
    var held: Int { buffer.count }

    /// The last `left` bytes that the buffer had, and what more there is room for.
    func more(keeping left: Int) throws -> UnsafeRawBufferPointer {
        buffer.base.copyMemory(from: buffer.base + buffer.count - left, byteCount: left)
        buffer.count = left
        if let file {
            let count = min(buffer.capacity - left, rest.count)
            try buffer.append(room: count) { room in
                try file.read(at: rest.lowerBound, into: room)
                return count
            }
            rest = rest.lowerBound + count..<rest.upperBound
        }
        return UnsafeRawBufferPointer(start: buffer.base, count: buffer.count)
    }
}

/// Several sorted runs as one: a tree of losers, whose winner is the record that comes next (Knuth,
/// The Art of Computer Programming 3, 5.4.1).
package final class RunMerge {
    /// The record of a run that comes next, and the end of those in the run's buffer.
    private struct Head {
        var record: SortRecord?
        /// Of its key; the largest number at the run's end.
        var prefix = UInt64.max
        var end: UnsafeRawPointer?
    }

    private let runs: [RunReader]
    private let heads: UnsafeMutableBufferPointer<Head>
    /// The run that lost at each inner node, and at 0 the winner.
    private let losers: UnsafeMutableBufferPointer<Int>
    private let common: Int
    private let long: SpillFile?

    /// - Parameter sorted: one at least, in the order in which they were made.
    package init(_ sorted: [SortedRun], limits: SortLimits) throws {
        let bufferBytes = max(limits.mergeBytes / sorted.count, limits.recordBytes)
        runs = sorted.map { RunReader($0, bufferBytes: bufferBytes) }
        common = sorted.reduce(.max) { min($0, $1.common) }
        long = sorted.reduce(nil) { $0 ?? $1.long }
        heads = .allocate(capacity: runs.count)
        heads.initialize(repeating: Head())
        losers = .allocate(capacity: runs.count)
        losers.initialize(repeating: 0)
        for run in runs.indices { try fill(run, keeping: runs[run].held) }
        losers[0] = try play(1)
    }

    deinit {
        heads.deallocate()
        losers.deallocate()
    }

    /// The winner below a node; notes the losers. Leaves are the nodes from `runs.count` on.
    private func play(_ node: Int) throws -> Int {
        if node >= runs.count { return node - runs.count }
        let (left, right) = (try play(2 * node), try play(2 * node + 1))
        let leftWins = try isBefore(left, right)
        losers[node] = leftWins ? right : left
        return leftWins ? left : right
    }

    @inline(__always)
    private func isBefore(_ a: Int, _ b: Int) throws -> Bool {
        let (left, right) = (heads[a].prefix, heads[b].prefix)
        return left != right ? left < right : try isBeforeByKey(a, b)
    }

    @inline(never)
    private func isBeforeByKey(_ a: Int, _ b: Int) throws -> Bool {
        guard let left = heads[a].record, let right = heads[b].record else {
            return heads[a].record != nil
        }
        return try left.compare(right, long) < 0
    }

    /// Appends rows to the columns that they were made of until there are `maxRows`, or more than
    /// `maxBytes` bytes; false if there was none left.
    package func next(into columns: [ColumnVector], maxRows: Int, maxBytes: Int) throws -> Bool {
        try withExtendedLifetime(columns) {
            let targets = columns.map { Unmanaged.passUnretained($0) }
            let start = columns[0].count
            var count = start
            var bytes = columns.reduce(0) { $0 + $1.byteCount }
            while count < maxRows, bytes <= maxBytes, let record = next {
                bytes += try record.append(to: targets, long)
                count += 1
                try advance()
            }
            return count > start || next != nil
        }
    }

    /// Writes all records into one run.
    package func write(
        to file: SpillFile, _ checkpoint: () throws -> Void
    ) throws -> SortedRun {
        let start = file.end
        var count = 0
        while let record = next {
            try file.append(UnsafeRawBufferPointer(start: record.base, count: record.byteCount))
            try advance()
            count += 1
            if count % 4096 == 0 { try checkpoint() }
        }
        try file.flush()
        return SortedRun(place: .stored(file, start..<file.end), common: common, long: long)
    }

    /// The record that comes next, valid until `advance`; nil at the end.
    @inline(__always)
    private var next: SortRecord? { heads[losers[0]].record }

    /// On to the record behind `next`.
    @inline(__always)
    private func advance() throws {
        var winner = losers[0]
        try advance(winner)
        var node = (winner + heads.count) / 2
        while node > 0 {
            let loser = losers[node]
            if try isBefore(loser, winner) {
                losers[node] = winner
                winner = loser
            }
            node /= 2
        }
        losers[0] = winner
    }

    @inline(__always)
    private func advance(_ run: Int) throws {
        let record = heads[run].record!
        let next = SortRecord(base: record.base + record.byteCount)
        let left = heads[run].end! - next.base
        if left >= 4, left >= next.byteCount {
            heads[run].record = next
            heads[run].prefix = next.prefix(skipping: common)
        } else {
            try fill(run, keeping: left)
        }
    }

    /// Has the next records of a run, of which `left` bytes are at hand, in its buffer.
    @inline(never)
    private func fill(_ run: Int, keeping left: Int) throws {
        let bytes = try runs[run].more(keeping: left)
        heads[run] = Head()
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        let record = SortRecord(base: start)
        precondition(bytes.count >= record.byteCount)
        heads[run] = Head(
            record: record, prefix: record.prefix(skipping: common), end: start + bytes.count)
    }
}
