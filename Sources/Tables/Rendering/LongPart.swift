import Bytes
import Synchronization

/// The bytes of a long part, from the first to the last, in pieces. Used by one thread at a time.
package protocol PartStream: AnyObject, Sendable {
    /// Appends the next piece to an empty buffer; false if there is none.
    func next(into output: ByteBuffer) throws -> Bool
}

extension FilePart {
    /// Whether it is so large that it goes into no cache: who reads it renders it as he goes on.
    package var isLong: Bool {
        if case .page = place { return bytes > UInt64(RowBatch.largeBytes) }
        return false
    }
}

/// Reads the long parts of a file for one of its readers, one at a time: it goes on from where the last
/// read ended, and nothing is rendered twice. Who goes back far begins anew.
package final class LongPartReader: Sendable {
    /// What was rendered, counted from the file's begin.
    private struct Piece {
        let start: UInt64
        let bytes: ByteBuffer
        var end: UInt64 { start + UInt64(bytes.count) }
    }
    private struct State {
        var part: FilePart?
        var stream: (any PartStream)?
        /// How far the part has been rendered.
        var end: UInt64 = 0
        /// The last ones, as requests don't always come in order.
        var pieces: [Piece] = []
    }

    /// What requests may be apart: the kernel has many under way.
    private static let nearBytes: UInt64 = 4 << 20

    private let file: any PartedFile
    private let state = Mutex(State())

    package init(_ file: any PartedFile) { self.file = file }

    /// Appends at most `count` bytes of a part, one at least; answers how many.
    package func read(
        _ part: FilePart, at offset: UInt64, count: Int, into output: ByteBuffer
    ) throws -> Int {
        try state.withLock { state in
            let piece =
                try state.pieces.last { $0.start <= offset && offset < $0.end }
                ?? advance(&state, to: offset, of: part)
            let copied = min(count, Int(piece.end - offset))
            output.append(piece.bytes, from: Int(offset - piece.start), count: copied)
            return copied
        }
    }

    /// Renders up to an offset.
    private func advance(
        _ state: inout State, to offset: UInt64, of part: FilePart
    ) throws -> Piece {
        if state.part != part || offset < state.end {
            state.part = nil
            state.stream = nil
            state.pieces.removeAll {
                $0.end > part.offset || $0.bytes.count > Self.nearBytes
            }
            state.stream = try file.open(part)
            state.part = part
            state.end = part.offset
        }
        // Should this fail, the next read begins anew.
        state.part = nil
        while offset >= state.end { try advance(&state, in: part) }
        state.part = part
        return state.pieces[state.pieces.count - 1]
    }

    private func advance(_ state: inout State, in part: FilePart) throws {
        let bytes = ByteBuffer(capacity: 1)
        let stream = state.stream!
        let start = state.end
        let end = part.offset + part.bytes
        guard try stream.next(into: bytes), UInt64(bytes.count) <= end - start,
            try start + UInt64(bytes.count) < end || !stream.next(into: ByteBuffer())
        else {
            throw Failure(
                .corrupt, "a page has other bytes than the \(part.bytes) that are recorded")
        }
        state.end += UInt64(bytes.count)
        state.pieces.append(Piece(start: start, bytes: bytes))
        while state.pieces[0].end + Self.nearBytes < state.end { state.pieces.removeFirst() }
    }

    /// The reader has come to `offset`, and isn't going to need what lies far before it.
    package func letGo(before offset: UInt64) {
        state.withLock { state in
            if state.part != nil, state.end + Self.nearBytes < offset { state = State() }
        }
    }
}
