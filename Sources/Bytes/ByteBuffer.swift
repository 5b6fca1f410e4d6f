/// Growable bytes in stable memory: what pages are rendered into and replies are built in.
///
/// A reference, so that pools and caches hand it on without copies. Not thread-safe while written;
/// once nobody writes any more, every thread may read it.
package final class ByteBuffer: @unchecked Sendable {
    // Nobody holds one of these while another changes it: they are plain values, looked at for
    // every appended byte, so that checks of exclusive access would cost more than the work.
    @exclusivity(unchecked)
    @usableFromInline package private(set) var base: UnsafeMutableRawPointer
    @exclusivity(unchecked)
    package internal(set) var count = 0
    @exclusivity(unchecked)
    package private(set) var capacity: Int

    package init(capacity: Int = 256) {
        precondition(capacity > 0)
        self.capacity = capacity
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { base.deallocate() }

    package func removeAll() { count = 0 }

    /// Takes the bytes of another buffer, which gets those that there were.
    package func exchange(with other: ByteBuffer) {
        swap(&base, &other.base)
        swap(&count, &other.count)
        swap(&capacity, &other.capacity)
    }

    /// Makes room for `extra` more bytes; doubles, so that appending stays linear.
    @inline(__always)
    package func reserve(_ extra: Int) {
        if count + extra > capacity { grow(to: count + extra) }
    }

    @inline(never)
    private func grow(to needed: Int) {
        var grown = capacity
        while grown < needed { grown *= 2 }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
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

    package func append(byte: UInt8) {
        reserve(1)
        base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    /// Appends the little-endian bytes of an integer or IEEE number.
    package func append<T: BitwiseCopyable>(fixed value: T) {
        reserve(MemoryLayout<T>.size)
        base.storeBytes(of: value, toByteOffset: count, as: T.self)
        count += MemoryLayout<T>.size
    }

    /// Appends `repeated` copies of `byte`.
    package func append(byte: UInt8, repeated: Int) {
        reserve(repeated)
        (base + count).initializeMemory(as: UInt8.self, repeating: byte, count: repeated)
        count += repeated
    }

    /// Overwrites bytes that are there already.
    package func replace<T: BitwiseCopyable>(at offset: Int, with value: T) {
        precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count)
        base.storeBytes(of: value, toByteOffset: offset, as: T.self)
    }

    package func load<T: BitwiseCopyable>(at offset: Int, as type: T.Type) -> T {
        precondition(offset >= 0 && offset + MemoryLayout<T>.size <= count)
        return base.loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// The bytes, valid during the call.
    package func withBytes<R, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// A part as text; nil if it is no UTF-8.
    package func text(_ range: Range<Int>) -> String? {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        let bytes = UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
        // Repairing and comparing is many times as fast as validating.
        let text = String(decoding: bytes, as: UTF8.self)
        return text.utf8.elementsEqual(bytes) ? text : nil
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
