import Bytes
import Tables

/// Renders pages ahead of sequential readers, so that both a reader and the processors have
/// something to do. Requests beyond the queue's limit are dropped: reading ahead is only a favour.
final class Prefetcher: Sendable {
    private struct State {
        var queue: [(reader: CSVReader, page: Snapshot.PageAddress)] = []
        var isClosed = false
    }

    private static let queueLimit = 32
    private let state = Monitor(State())
    private let threads: [WorkerThread]

    init(threads count: Int) {
        let state = state
        threads = (0..<count).map { _ in
            WorkerThread {
                while true {
                    let next: (CSVReader, Snapshot.PageAddress)?? = state.wait { state in
                        if state.isClosed { return .some(nil) }
                        return state.queue.isEmpty ? nil : .some(state.queue.removeFirst())
                    }
                    guard case .some(.some(let (reader, page))) = next else { return }
                    reader.prefetch(page)
                }
            }
        }
    }

    func request(_ page: Snapshot.PageAddress, of reader: CSVReader) {
        state.update { state in
            if state.queue.count < Self.queueLimit { state.queue.append((reader, page)) }
        }
    }

    func close() {
        state.update { $0.isClosed = true }
        for thread in threads { thread.join() }
    }
}

/// One open CSV file: finds pages, and notices sequential reading.
final class CSVReader: Sendable {
    private struct Position {
        /// Where a sequential reader would go on.
        var next: UInt64 = 0
        var sequentialReads = 0
        /// Pages up to here have been asked for ahead.
        var prefetched: UInt64 = 0
        /// Bytes read so far of pages that were read in part, by where they begin.
        var partlyRead: [UInt64: Int] = [:]
    }

    /// How far ahead of a sequential reader pages are rendered.
    private static let windowBytes: UInt64 = 4 << 20
    /// More pages read in part are forgotten at once.
    private static let maxPartlyRead = 64
    private let snapshot: Snapshot
    private let prefetcher: Prefetcher
    private let position = Monitor(Position())

    init(_ snapshot: Snapshot, prefetcher: Prefetcher) {
        self.snapshot = snapshot
        self.prefetcher = prefetcher
    }

    /// Appends at most `count` bytes at `offset`; fewer only at the end.
    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws {
        let header = snapshot.csvHeader
        var offset = offset
        var rest = count
        if offset < UInt64(header.count) {
            let part = header[Int(offset)...].prefix(rest)
            output.append(Array(part))
            offset += UInt64(part.count)
            rest -= part.count
        }
        let isSequential = readAhead(from: offset, to: offset + UInt64(rest))
        while rest > 0, let page = try snapshot.page(atCSVOffset: offset) {
            let bytes = try snapshot.csvPage(page)
            let start = Int(offset - page.offset)
            let part = min(rest, bytes.count - start)
            output.append(bytes, from: start, count: part)
            offset += UInt64(part)
            rest -= part
            if isSequential { leave(page, part) }
        }
    }

    /// Two reads in a row, give or take what the kernel reorders, make a sequential reader: pages in
    /// front of it are asked for.
    private func readAhead(from start: UInt64, to end: UInt64) -> Bool {
        let header = UInt64(snapshot.csvHeader.count)
        var ahead = header..<header
        let isSequential = position.withLock { position in
            let isNear =
                start <= position.next + Self.windowBytes && end + Self.windowBytes > position.next
            if !isNear { position = Position() }
            position.sequentialReads += isNear ? 1 : 0
            position.next = max(end, position.next)
            guard position.sequentialReads >= 2 else { return false }
            let from = max(position.next, position.prefetched, header)
            let to = position.next + Self.windowBytes
            position.prefetched = max(to, position.prefetched)
            if from < to { ahead = from..<to }
            return true
        }
        // Damage is told by those who read the page.
        var offset = ahead.lowerBound
        while offset < ahead.upperBound, let page = try? snapshot.page(atCSVOffset: offset) {
            if !snapshot.isRendered(page) { prefetcher.request(page, of: self) }
            offset = page.offset + page.bytes
        }
        return isSequential
    }

    /// Drops a page that a sequential reader has read to its end: the kernel's cache has it now, and
    /// its memory, still in the processor's, serves the next one.
    private func leave(_ page: Snapshot.PageAddress, _ part: Int) {
        let isRead = position.withLock { position in
            let read = (position.partlyRead.removeValue(forKey: page.offset) ?? 0) + part
            if read >= page.bytes { return true }
            if position.partlyRead.count >= Self.maxPartlyRead { position.partlyRead = [:] }
            position.partlyRead[page.offset] = read
            return false
        }
        if isRead { snapshot.forget(page) }
    }

    /// Renders a page that was asked for ahead, unless the reader has passed it since.
    fileprivate func prefetch(_ page: Snapshot.PageAddress) {
        let isPassed = position.withLock { page.offset + page.bytes <= $0.next }
        // Whoever reads the page meets the same error and reports it.
        if !isPassed { _ = try? snapshot.csvPage(page) }
    }
}
