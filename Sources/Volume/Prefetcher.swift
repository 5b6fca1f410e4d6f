import Bytes
import Tables

/// Renders pages ahead of sequential readers, so that both a reader and the processors have
/// something to do. Requests beyond the queue's limit are dropped: reading ahead is only a favour.
final class Prefetcher: Sendable {
    private struct State {
        var queue: [(snapshot: Snapshot, page: Snapshot.PageAddress)] = []
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
                    let next: (Snapshot, Snapshot.PageAddress)?? = state.wait { state in
                        if state.isClosed { return .some(nil) }
                        return state.queue.isEmpty ? nil : .some(state.queue.removeFirst())
                    }
                    guard case .some(.some(let (snapshot, page))) = next else { return }
                    // Whoever reads the page meets the same error and reports it.
                    _ = try? snapshot.csvPage(page)
                }
            }
        }
    }

    func request(_ snapshot: Snapshot, _ page: Snapshot.PageAddress) {
        state.update { state in
            if state.queue.count < Self.queueLimit { state.queue.append((snapshot, page)) }
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
    }

    /// How far ahead of a sequential reader pages are rendered.
    private static let windowBytes: UInt64 = 4 << 20
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
        readAhead(of: offset + UInt64(rest), from: offset)
        while rest > 0, let page = try snapshot.page(atCSVOffset: offset) {
            let bytes = try snapshot.csvPage(page)
            let start = Int(offset - page.offset)
            let part = min(rest, bytes.count - start)
            output.append(bytes, from: start, count: part)
            offset += UInt64(part)
            rest -= part
        }
    }

    /// Two reads in a row, give or take what the kernel reorders, make a sequential reader.
    private func readAhead(of end: UInt64, from start: UInt64) {
        let window: (from: UInt64, to: UInt64)? = position.withLock { position in
            let isNear =
                start <= position.next + Self.windowBytes && end + Self.windowBytes > position.next
            position.sequentialReads = isNear ? position.sequentialReads + 1 : 0
            if !isNear { position.prefetched = 0 }
            position.next = max(end, isNear ? position.next : 0)
            guard position.sequentialReads >= 2 else { return nil }
            let from = max(position.next, position.prefetched)
            let to = position.next + Self.windowBytes
            position.prefetched = max(to, position.prefetched)
            return from < to ? (from, to) : nil
        }
        guard let window else { return }
        var from = max(window.from, UInt64(snapshot.csvHeader.count))
        while from < window.to, let page = try? snapshot.page(atCSVOffset: from) {
            if !snapshot.isRendered(page) { prefetcher.request(snapshot, page) }
            from = page.offset + page.bytes
        }
    }
}
