import CZstd
import Synchronization

/// zstd frames, with contexts that are used again and again.
package enum Zstd {
    /// A compression or decompression context. Used by one thread at a time.
    private struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private static let compressors = Mutex<[Context]>([])
    private static let decompressors = Mutex<[Context]>([])

    /// Appends one frame with `input`'s content to `output`.
    package static func compress(
        _ input: UnsafeRawBufferPointer, level: Int, into output: ByteBuffer
    ) throws {
        let context =
            compressors.withLock { $0.popLast() } ?? Context(pointer: ZSTD_createCCtx()!)
        defer { compressors.withLock { $0.append(context) } }
        try output.append(room: ZSTD_compressBound(input.count)) { room in
            let size = ZSTD_compressCCtx(
                context.pointer, room.baseAddress, room.count, input.baseAddress, input.count,
                Int32(level))
            guard ZSTD_isError(size) == 0 else {
                throw Failure(.system, "zstd: \(String(cString: ZSTD_getErrorName(size)))")
            }
            return size
        }
    }

    /// Appends a frame that holds `input` as it is: for what hardly shrinks, so that reading it costs
    /// a copy. Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
    package static func store(_ input: UnsafeRawBufferPointer, into output: ByteBuffer) {
        let maxBlockBytes = 128 << 10
        output.reserve(input.count + 16 + input.count / maxBlockBytes * 3)
        output.append(fixed: UInt32(0xFD2F_B528))
        // One segment, content size in four bytes, no checksum.
        output.append(byte: 0xA0)
        output.append(fixed: UInt32(input.count))
        var offset = 0
        repeat {
            let size = min(maxBlockBytes, input.count - offset)
            let header = UInt32(size) << 3 | (offset + size == input.count ? 1 : 0)
            output.append(byte: UInt8(truncatingIfNeeded: header))
            output.append(fixed: UInt16(truncatingIfNeeded: header >> 8))
            output.append(UnsafeRawBufferPointer(rebasing: input[offset..<offset + size]))
            offset += size
        } while offset < input.count
    }

    /// The content of one frame, which must have exactly `size` bytes. No memory is taken for a
    /// size that the frame doesn't confirm.
    package static func decompress(
        _ input: UnsafeRawBufferPointer, size: Int
    ) throws -> ByteBuffer {
        try check(input, size: size)
        let output = ByteBuffer(capacity: max(size, 1))
        try decompress(input, size: size, into: output)
        return output
    }

    private static func check(_ input: UnsafeRawBufferPointer, size: Int) throws {
        guard ZSTD_getFrameContentSize(input.baseAddress, input.count) == UInt64(size) else {
            throw Failure(.corrupt, "a zstd frame isn't of the size that is recorded for it")
        }
    }

    /// As above, appended.
    package static func decompress(
        _ input: UnsafeRawBufferPointer, size: Int, into output: ByteBuffer
    ) throws {
        try check(input, size: size)
        let context =
            decompressors.withLock { $0.popLast() } ?? Context(pointer: ZSTD_createDCtx()!)
        defer { decompressors.withLock { $0.append(context) } }
        try output.append(room: size) { room in
            let written = ZSTD_decompressDCtx(
                context.pointer, room.baseAddress, room.count, input.baseAddress, input.count)
            guard written == size else { throw Failure(.corrupt, "a zstd frame is damaged") }
            return written
        }
    }
}
