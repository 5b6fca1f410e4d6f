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

/// Reads the long parts of a file for one of its readers, one at a time: from where the last read ended
/// it goes on, and nothing is rendered twice. Who goes back further than a piece begins anew.
package final class LongPartReader: Sendable {
    private struct Piece {
        /// Counted from the part's begin.
        let start: UInt64
        let bytes: ByteBuffer
        var end: UInt64 { start + UInt64(bytes.count) }
    }
    private struct Open {
        let part: FilePart
        let stream: any PartStream
        /// The last ones, as requests don't always come in order.
        var pieces: [Piece] = []
        var begin: UInt64 { pieces.first?.start ?? 0 }
        var end: UInt64 { pieces.last?.end ?? 0 }

        mutating func advance() throws {
            let bytes = ByteBuffer(capacity: 1)
            let start = end
            guard try stream.next(into: bytes), start + UInt64(bytes.count) <= part.bytes else {
                throw Failure(
                    .corrupt, "a page has other bytes than the \(part.bytes) that are recorded")
            }
            if start + UInt64(bytes.count) == part.bytes, try stream.next(into: ByteBuffer()) {
                throw Failure(
                    .corrupt, "a page has more bytes than the \(part.bytes) that are recorded")
            }
            pieces = pieces.suffix(1) + [Piece(start: start, bytes: bytes)]
        }
    }

    private let file: any RenderedFile
    private let open = Mutex<Open?>(nil)

    package init(_ file: any RenderedFile) { self.file = file }

    /// Appends at most `count` bytes of a part, one at least; answers how many.
    package func read(
        _ part: FilePart, at offset: UInt64, count: Int, into output: ByteBuffer
    ) throws -> Int {
        let start = offset - part.offset
        return try open.withLock { state in
            if let known = state, known.part != part || start < known.begin { state = nil }
            var open = try state ?? Open(part: part, stream: file.open(part))
            // Should this fail, the next read begins anew.
            state = nil
            while start >= open.end { try open.advance() }
            let piece = open.pieces.last { $0.start <= start }!
            let copied = min(count, Int(piece.end - start))
            output.append(piece.bytes, from: Int(start - piece.start), count: copied)
            state = open
            return copied
        }
    }

    /// The reader has come to `offset`, and isn't going to need what lies far before it.
    package func letGo(before offset: UInt64) {
        open.withLock { open in
            if let part = open?.part, part.offset + part.bytes + Self.nearBytes < offset {
                open = nil
            }
        }
    }

    /// What requests that don't come in order may be apart.
    private static let nearBytes: UInt64 = 1 << 20
}
