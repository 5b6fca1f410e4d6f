import Bytes
import Crypto

/// What a source kept of the cut that a point shows, so that the next cut finds what changed: one file
/// of a collection, `collections/CID/capture`.
///
/// No point needs it and no entry names it: it may be lost at any time, and one that isn't whole or
/// belongs to another point is as good as none. Everything is compared then.
/// ```
/// content    the source's own
/// trailer     0   8   "YDBFScap"
///             8   4   version of this form
///            12   4   how many cuts have trusted what was kept, since everything was last compared
///            16   8   sequence of the point
///            24  64   SHA-256 of the point's entry, in hexadecimal digits
///            88   8   bytes of the content
///            96  32   SHA-256 of all that precedes
/// ```
/// Numbers are little-endian.
package struct CaptureFile: RandomAccess {
    package let name: String
    /// Bytes of the content.
    package let sizeBytes: UInt64
    /// How many cuts have trusted what was kept, since everything was last compared.
    package let uses: UInt32
    private let object: any StoredObject

    fileprivate static let magic: [UInt8] = Array("YDBFScap".utf8)
    fileprivate static let version: UInt32 = 1
    private static let headBytes = 96
    private static let digestBytes = 32
    private static let pieceBytes = 1 << 20

    /// Throws if it isn't whole, or that of another point.
    fileprivate init(_ object: any StoredObject, name: String, of point: BackupPoint) throws {
        self.object = object
        self.name = name
        let size = try object.sizeBytes
        let trailerBytes = UInt64(Self.headBytes + Self.digestBytes)
        guard size >= trailerBytes else { throw Failure(.corrupt, "\(name) is too short") }
        sizeBytes = size - trailerBytes
        let trailer = ByteBuffer(capacity: Int(trailerBytes))
        try Self.read(object, name, at: sizeBytes, count: Int(trailerBytes), into: trailer)
        uses = trailer.load(at: 12, as: UInt32.self)
        let head = Self.head(of: point, uses: uses, bytes: sizeBytes)
        guard trailer.array.prefix(Self.headBytes).elementsEqual(head.array) else {
            throw Failure(.stale, "\(name) belongs to another point")
        }
        guard try digest(head).elementsEqual(trailer.array.suffix(Self.digestBytes)) else {
            throw Failure(.corrupt, "\(name) is damaged")
        }
    }

    fileprivate static func head(of point: BackupPoint, uses: UInt32, bytes: UInt64) -> ByteBuffer {
        let head = ByteBuffer(capacity: 128)
        head.append(magic)
        head.append(fixed: version)
        head.append(fixed: uses)
        head.append(fixed: point.sequence)
        head.append(point.hash)
        head.append(fixed: bytes)
        return head
    }

    private func digest(_ head: ByteBuffer) throws -> SHA256.Digest {
        var hasher = SHA256()
        let buffer = ByteBuffer(capacity: Self.pieceBytes)
        var position: UInt64 = 0
        while position < sizeBytes {
            buffer.removeAll()
            let count = Int(min(UInt64(Self.pieceBytes), sizeBytes - position))
            try read(at: position, count: count, into: buffer)
            buffer.withBytes { hasher.update(bufferPointer: $0) }
            position += UInt64(count)
        }
        head.withBytes { hasher.update(bufferPointer: $0) }
        return hasher.finalize()
    }

    package func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws {
        guard count >= 0, offset <= sizeBytes, UInt64(count) <= sizeBytes - offset else {
            throw Failure(.corrupt, "\(name): \(count) bytes at \(offset) are beyond its end")
        }
        try Self.read(object, name, at: offset, count: count, into: output)
    }

    private static func read(
        _ object: any StoredObject, _ name: String, at offset: UInt64, count: Int,
        into output: ByteBuffer
    ) throws {
        try output.append(room: count) { (room: UnsafeMutableRawBufferPointer) throws -> Int in
            let found = try object.read(at: offset, into: room)
            guard found == count else { throw Failure(.corrupt, "\(name) ends too soon") }
            return found
        }
    }

    package func willNeed(at offset: UInt64, count: Int) {
        object.willNeed(at: offset, count: count)
    }
}

/// The content as the source writes it.
private final class CaptureSink: ByteSink {
    private(set) var position: UInt64 = 0
    private let writer: any ObjectWriter
    private var hasher = SHA256()
    private let pending = ByteBuffer(capacity: 1 << 12)
    private static let pieceBytes = 1 << 18

    init(_ writer: any ObjectWriter) { self.writer = writer }

    func append(_ buffer: ByteBuffer) throws {
        position += UInt64(buffer.count)
        pending.append(buffer, from: 0, count: buffer.count)
        if pending.count >= Self.pieceBytes { try flush() }
    }

    private func flush() throws {
        pending.withBytes { hasher.update(bufferPointer: $0) }
        try pending.withBytes { try writer.append($0) }
        pending.removeAll()
    }

    func finish(_ point: BackupPoint, uses: UInt32) throws {
        let head = CaptureFile.head(of: point, uses: uses, bytes: position)
        pending.append(head, from: 0, count: head.count)
        try flush()
        pending.append(Array(hasher.finalize()))
        try flush()
        try writer.finish()
    }
}

extension WriterLock {
    private var captureName: String { "collections/\(id)/capture" }

    /// What the newest point's cut kept; nil if there is nothing that can be trusted.
    package func capture() -> CaptureFile? {
        guard let newest = current?.newest else { return nil }
        return try? capture(of: newest)
    }

    private func capture(of point: BackupPoint) throws -> CaptureFile? {
        let storage = repository.storage
        guard let object = try storage.open(captureName) else { return nil }
        return try CaptureFile(object, name: "\(storage.location)/\(captureName)", of: point)
    }

    /// Stores what `write` says of the newest point, in place of what was kept of another. If this
    /// fails, the old file stays, which nobody trusts any more.
    ///
    /// - Parameter uses: how many cuts have trusted what was kept, since everything was last compared.
    package func keepCapture(uses: UInt32, _ write: (any ByteSink) throws -> Void) throws {
        guard let newest = current?.newest else { return }
        // What killed writers left.
        try repository.storage.removeUnfinished(in: "collections/\(id)", olderThan: 0)
        let sink = CaptureSink(try repository.storage.replace(captureName))
        try write(sink)
        try sink.finish(newest, uses: uses)
    }

    /// What an older point's cut kept holds for the newest one too, which has the very same content.
    package func passOnCapture(of older: BackupPoint) throws {
        guard let known = try? capture(of: older) else { return }
        try keepCapture(uses: known.uses) { sink in
            let buffer = ByteBuffer(capacity: 1 << 18)
            var position: UInt64 = 0
            while position < known.sizeBytes {
                buffer.removeAll()
                let count = Int(min(1 << 18, known.sizeBytes - position))
                try known.read(at: position, count: count, into: buffer)
                try sink.append(buffer)
                position += UInt64(count)
            }
        }
    }
}
