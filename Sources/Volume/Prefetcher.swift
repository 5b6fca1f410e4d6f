import Bytes
import Tables

/// Renders parts of files ahead of sequential readers, so that both a reader and the processors have
/// something to do. Requests beyond the queue's limit are dropped: reading ahead is only a favour.
final class Prefetcher: Sendable {
    private struct State {
        var queue: [(reader: FileReader, range: Range<UInt64>)] = []
        var isClosed = false
    }

    private static let queueLimit = 32
    private let state = Monitor(State())
    private let threads: [WorkerThread]

    init(threads count: Int) {
        let state = state
        // Without threads nothing is read ahead.
        threads = (0..<count).compactMap { _ in
            try? WorkerThread {
                while true {
                    let next: (FileReader, Range<UInt64>)?? = state.wait { state in
                        if state.isClosed { return .some(nil) }
                        return state.queue.isEmpty ? nil : .some(state.queue.removeFirst())
                    }
                    guard case .some(.some(let (reader, range))) = next else { return }
                    reader.prefetch(range)
                }
            }
        }
    }

    func request(_ range: Range<UInt64>, of reader: FileReader) {
        state.update { state in
            if state.isClosed || state.queue.count >= Self.queueLimit { return }
            state.queue.append((reader, range))
        }
    }

    /// Ends the threads, and forgets what nobody has begun: the readers in the queue hold this
    /// prefetcher, so that neither would ever go.
    func close() {
        let isFirst = state.update { state in
            defer {
                state.isClosed = true
                state.queue = []
            }
            return !state.isClosed
        }
        // A thread that was joined is gone, and its handle may be another's by now.
        if isFirst { for thread in threads { thread.join() } }
    }
}

/// One open file of a table: finds its parts, and notices sequential reading.
final class FileReader: Sendable {
    private struct Position {
        /// Where a sequential reader would go on.
        var next: UInt64 = 0
        var sequentialReads = 0
        var sequentialBytes: UInt64 = 0
        /// Parts up to here have been asked for ahead.
        var prefetched: UInt64 = 0
        /// Bytes read so far of parts that were read in part, by where they begin.
        var partlyRead: [UInt64: Int] = [:]
    }

    /// How far ahead of a sequential reader parts are rendered: as much as it has read so far, so
    /// that who reads one column of many isn't given the others, but no more than this.
    private static let windowBytes: UInt64 = 4 << 20
    /// What a sequential reader may leave out for the moment: the kernel reorders its requests.
    private static let gapBytes: UInt64 = 1 << 20
    /// What one request to render ahead covers.
    private static let requestBytes: UInt64 = 256 << 10
    /// More parts read in part are forgotten at once.
    private static let maxPartlyRead = 64
    private let file: any PartedFile
    private let prefetcher: Prefetcher
    private let position = Monitor(Position())
    private let long: LongPartReader

    init(_ file: any PartedFile, prefetcher: Prefetcher) {
        self.file = file
        long = LongPartReader(file)
        self.prefetcher = prefetcher
    }

    /// Appends at most `count` bytes at `offset`; fewer only at the end.
    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws {
        var offset = offset
        var rest = count
        let isSequential = readAhead(from: offset, to: offset + UInt64(rest))
        while rest > 0, let part = try file.part(at: offset) {
            if part.isLong {
                let count = try long.read(part, at: offset, count: rest, into: output)
                offset += UInt64(count)
                rest -= count
                continue
            }
            let bytes = try file.render(part, isSequential: isSequential)
            let start = Int(offset - part.offset)
            let count = min(rest, bytes.count - start)
            output.append(bytes, from: start, count: count)
            offset += UInt64(count)
            rest -= count
            if isSequential {
                leave(part, count)
                long.letGo(before: offset)
            }
        }
    }

    /// Two reads in a row, give or take what the kernel reorders, make a sequential reader: parts in
    /// front of it are asked for.
    private func readAhead(from start: UInt64, to end: UInt64) -> Bool {
        var ahead: Range<UInt64> = 0..<0
        let isSequential = position.withLock { position in
            let isNear =
                start <= position.next + Self.gapBytes && end + Self.windowBytes > position.next
            if !isNear { position = Position() }
            position.sequentialReads += isNear ? 1 : 0
            position.sequentialBytes += end - start
            position.next = max(end, position.next)
            guard position.sequentialReads >= 2 else { return false }
            let from = max(position.next, position.prefetched)
            let to = position.next + min(Self.windowBytes, position.sequentialBytes)
            position.prefetched = max(to, position.prefetched)
            if from < to { ahead = from..<to }
            return true
        }
        for from in stride(from: ahead.lowerBound, to: ahead.upperBound, by: Int(Self.requestBytes))
        {
            prefetcher.request(
                from..<min(from + Self.requestBytes, ahead.upperBound), of: self)
        }
        return isSequential
    }

    /// Drops a part that a sequential reader has read to its end: the kernel's cache has it now, and
    /// its memory, still in the processor's, serves the next one.
    private func leave(_ part: FilePart, _ count: Int) {
        let isRead = position.withLock { position in
            let read = (position.partlyRead.removeValue(forKey: part.offset) ?? 0) + count
            if read >= part.bytes { return true }
            if position.partlyRead.count >= Self.maxPartlyRead { position.partlyRead = [:] }
            position.partlyRead[part.offset] = read
            return false
        }
        if isRead { file.forget(part) }
    }

    /// Renders the parts that begin in `range`, but for those that the reader has passed since.
    fileprivate func prefetch(_ range: Range<UInt64>) {
        var offset = range.lowerBound
        // Damage is told by those who read the part.
        while offset < range.upperBound, let part = try? file.part(at: offset) {
            let isPassed = position.withLock { part.offset + part.bytes <= $0.next }
            if part.offset >= range.lowerBound, !isPassed, !part.isLong,
                !file.isRendered(part)
            {
                try? file.willRead(part)
                _ = try? file.render(part, isSequential: true)
            }
            offset = part.offset + part.bytes
        }
    }
}
