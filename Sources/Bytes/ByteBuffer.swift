/// Growable bytes in stable memory: what pages are rendered into and replies are built in.
///
/// A reference, so that pools and caches hand it on without copies. Not thread-safe while written;
/// once nobody writes any more, every thread may read it.
package final class ByteBuffer: @unchecked Sendable {
    package private(set) var count = 0
    package private(set) var capacity: Int
    @usableFromInline package private(set) var base: UnsafeMutableRawPointer

    package init(capacity: Int = 4096) {
        precondition(capacity > 0)
        self.capacity = capacity
        base = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit { base.deallocate() }

    package func removeAll() { count = 0 }

    /// Makes room for `extra` more bytes; doubles, so that appending stays linear.
    package func reserve(_ extra: Int) {
        let needed = count + extra
        if needed <= capacity { return }
        var grown = capacity
        while grown < needed { grown *= 2 }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 64)
        memory.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = memory
        capacity = grown
    }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        reserve(bytes.count)
        if let source = bytes.baseAddress {
            (base + count).copyMemory(from: source, byteCount: bytes.count)
        }
        count += bytes.count
    }

    package func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    package func append(_ other: ByteBuffer, from offset: Int, count size: Int) {
        precondition(offset >= 0 && size >= 0 && offset + size <= other.count)
        append(UnsafeRawBufferPointer(start: other.base + offset, count: size))
    }

    package func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// The bytes, valid during the call.
    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    package var array: [UInt8] { withBytes { [UInt8]($0) } }

    /// Lets `fill` write up to `room` bytes behind the present ones; it returns how many it wrote.
    package func append<E: Error>(
        room: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        reserve(room)
        let written = try fill(UnsafeMutableRawBufferPointer(start: base + count, count: room))
        precondition(written >= 0 && written <= room)
        count += written
    }
}
