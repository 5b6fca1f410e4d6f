import Bytes
import Synchronization
import Tables
import Testing

/// A collection's files in memory, written and read through the same doors as stored ones.
final class MemoryFiles: FileFactory, FileOpener {
    private struct State {
        var files: [UInt64: MemoryObject] = [:]
        var next: UInt64 = 1
        var index: UInt64?
        var finished: [UInt64: UInt64] = [:]
    }
    private let state = Mutex(State())

    private func create() -> (number: UInt64, object: MemoryObject) {
        state.withLock {
            let number = $0.next
            let object = MemoryObject(name: "file \(number)")
            $0.files[number] = object
            $0.next += 1
            return (number, object)
        }
    }

    func createRowFile() throws -> (number: UInt64, sink: any ByteSink) {
        let (number, object) = create()
        return (number, object)
    }

    func finishRowFile(_ number: UInt64, rows: UInt64) {
        state.withLock { $0.finished[number] = rows }
    }

    func indexFile() throws -> (number: UInt64, sink: any ByteSink) {
        if let number = state.withLock({ $0.index }) {
            return (number, state.withLock { $0.files[number]! })
        }
        let (number, object) = create()
        state.withLock { $0.index = number }
        return (number, object)
    }

    /// The next backup gets an index file of its own.
    func endBackup() { state.withLock { $0.index = nil } }

    func progress(rows: UInt64) throws {}

    func open(file number: UInt64) throws -> any RandomAccess {
        guard let file = state.withLock({ $0.files[number] }) else {
            throw Failure(.corrupt, "there is no file \(number)")
        }
        return file
    }

    /// Expects that a table's stored sums, bounds and order are those of its rows.
    func expectSound(_ result: TableResult, _ schema: TableSchema) throws {
        let pool = FilePool(self, cache: SharedCache(maxBytes: 1 << 20))
        let outcome = try TableAudit(pool) { _ in }.audit(result.snapshot, schema: schema)
        #expect(outcome.faults == [])
        #expect(outcome.contentHash == result.contentHash && outcome.rows == result.sums.rows)
        // What the snapshot doesn't say of a format can't be compared; CSV's it always says here.
        let said = outcome.sizes.filter { result.sizes[$0.key] != nil }
        #expect(said == result.sizes && said["csv"] != nil)
    }

    var all: [UInt64: MemoryObject] { state.withLock { $0.files } }
}

/// Rows given as a batch, as a source would give them.
final class BatchCursor: RowCursor, ChangeCursor {
    private let batch: RowBatch
    private let present: [Bool]
    private var next = 0

    init(_ batch: RowBatch, present: [Bool] = []) {
        self.batch = batch
        self.present = present
    }

    func next(into output: RowBatch, maxRows: Int, maxBytes: Int) -> Bool {
        while next < batch.count, output.count < maxRows, output.byteCount < maxBytes {
            output.append(batch, row: next)
            next += 1
        }
        return next < batch.count
    }

    func next(
        into output: RowBatch, present flags: inout [Bool], maxRows: Int, maxBytes: Int
    ) -> Bool {
        let start = next
        let more = next(into: output, maxRows: maxRows, maxBytes: maxBytes)
        flags += present[start..<next]
        return more
    }
}
