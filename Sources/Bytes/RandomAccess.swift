/// A stored object of known size, read at any offset by any thread.
package protocol RandomAccess: Sendable {
    /// For messages.
    var name: String { get }
    var sizeBytes: UInt64 { get }
    /// Appends exactly `count` bytes at `offset`; throws `Failure(.corrupt)` if they aren't there.
    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws
    /// Says that these bytes are going to be read soon: what is wanted from several places is
    /// fetched from all of them at once. Does nothing where that isn't possible.
    func willNeed(at offset: UInt64, count: Int)
}

extension RandomAccess {
    package func willNeed(at offset: UInt64, count: Int) {}
}

/// An object that is being written from its first byte to its last.
package protocol ByteSink: AnyObject {
    /// Bytes written so far.
    var position: UInt64 { get }
    func append(_ buffer: ByteBuffer) throws
}

/// An object in memory: for tests, and for what was just written.
package final class MemoryObject: RandomAccess, ByteSink, @unchecked Sendable {
    package let name: String
    private let buffer = ByteBuffer()

    package init(name: String = "memory") { self.name = name }

    package var sizeBytes: UInt64 { UInt64(buffer.count) }
    package var position: UInt64 { UInt64(buffer.count) }

    package func append(_ other: ByteBuffer) { buffer.append(other, from: 0, count: other.count) }

    package func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws {
        guard count >= 0, offset <= sizeBytes, UInt64(count) <= sizeBytes - offset else {
            throw Failure(.corrupt, "\(name) ends before byte \(offset) + \(count)")
        }
        output.append(buffer, from: Int(offset), count: count)
    }
}
