import Synchronization

/// Buffers for what is needed only for a moment, used again and again: fresh memory of some hundred
/// kilobytes costs a page fault for every four.
package enum Scratch {
    private static let spare = Mutex<[ByteBuffer]>([])
    private static let maxSpare = 8
    /// Larger ones, as large values make them, are given back to the system.
    private static let maxBytes = 2 << 20

    /// Lends an empty buffer to `body`, which must not keep it.
    package static func with<R, E: Error>(
        _ body: (ByteBuffer) throws(E) -> R
    ) throws(E) -> R {
        let buffer = spare.withLock { $0.popLast() } ?? ByteBuffer(capacity: 1 << 16)
        defer {
            if buffer.capacity <= maxBytes {
                buffer.removeAll()
                spare.withLock { if $0.count < maxSpare { $0.append(buffer) } }
            }
        }
        return try body(buffer)
    }
}
