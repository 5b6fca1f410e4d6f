import CZstd
import Synchronization

/// zstd frames, with contexts that are used again and again.
package enum Zstd {
    /// A compression or decompression context. Used by one thread at a time.
    fileprivate struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private static let compressors = Mutex<[Context]>([])
    fileprivate static let decompressors = Mutex<[Context]>([])

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

    /// As above, the content being two parts, which needn't lie together: of what is large a copy is
    /// dear. A buffer with room for all that `mostBytes` says isn't grown.
    package static func compress(
        _ head: UnsafeRawBufferPointer, _ rest: UnsafeRawBufferPointer, level: Int,
        into output: ByteBuffer
    ) throws {
        let context =
            compressors.withLock { $0.popLast() } ?? Context(pointer: ZSTD_createCCtx()!)
        defer {
            ZSTD_CCtx_reset(context.pointer, ZSTD_reset_session_and_parameters)
            compressors.withLock { $0.append(context) }
        }
        func check(_ result: Int) throws {
            guard ZSTD_isError(result) == 0 else {
                throw Failure(.system, "zstd: \(String(cString: ZSTD_getErrorName(result)))")
            }
        }
        let size = head.count + rest.count
        try check(ZSTD_CCtx_setParameter(context.pointer, ZSTD_c_compressionLevel, Int32(level)))
        try check(ZSTD_CCtx_setPledgedSrcSize(context.pointer, UInt64(size)))
        try output.append(room: mostBytes(of: size)) { room in
            var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
            for (part, isLast) in [(head, false), (rest, true)] {
                var source = ZSTD_inBuffer(src: part.baseAddress, size: part.count, pos: 0)
                var left = 0
                repeat {
                    left = ZSTD_compressStream2(
                        context.pointer, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
                    try check(left)
                } while source.pos < source.size || isLast && left > 0
            }
            return target.pos
        }
    }

    /// The most bytes of a frame of so many, however it is made.
    package static func mostBytes(of size: Int) -> Int { ZSTD_compressBound(size) + 64 }

    /// Appends a frame that holds what it is made of as it is: for what hardly shrinks, so that reading
    /// it costs a copy. Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
    package static func store(_ parts: UnsafeRawBufferPointer..., into output: ByteBuffer) {
        let maxBlockBytes = 128 << 10
        let size = parts.reduce(0) { $0 + $1.count }
        output.reserve(size + 16 + (size / maxBlockBytes + parts.count) * 3)
        output.append(fixed: UInt32(0xFD2F_B528))
        // One segment, content size in four bytes, no checksum.
        output.append(byte: 0xA0)
        output.append(fixed: UInt32(size))
        for (number, part) in parts.enumerated() {
            let isLast = number == parts.count - 1
            var offset = 0
            repeat {
                let size = min(maxBlockBytes, part.count - offset)
                let ends = isLast && offset + size == part.count
                let header = UInt32(size) << 3 | (ends ? 1 : 0)
                output.append(byte: UInt8(truncatingIfNeeded: header))
                output.append(fixed: UInt16(truncatingIfNeeded: header >> 8))
                output.append(UnsafeRawBufferPointer(rebasing: part[offset..<offset + size]))
                offset += size
            } while offset < part.count
        }
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
        try check(input, size: size, compressed: input.count)
    }

    /// - Parameter compressed: bytes of the whole frame, which `input` is the begin of.
    fileprivate static func check(
        _ input: UnsafeRawBufferPointer, size: Int, compressed: Int
    ) throws {
        // No frame holds more: the 128 KiB of a block take four bytes.
        guard size >= 0, size / (128 << 10) * 4 <= compressed,
            ZSTD_getFrameContentSize(input.baseAddress, input.count) == UInt64(size)
        else {
            throw Failure(.corrupt, "a zstd frame isn't of the size that is recorded for it")
        }
    }

    /// Whether so many bytes are let into memory for the sake of so few: what isn't rows is only
    /// compressed so far, and stored as it is otherwise (`compressModestly`).
    package static func isModest(size: Int, compressed: Int) -> Bool {
        size <= 16 << 20 || size / 512 <= compressed
    }

    /// As `compress`, but such that `isModest` is true.
    package static func compressModestly(
        _ input: UnsafeRawBufferPointer, level: Int, into output: ByteBuffer
    ) throws {
        let start = output.count
        try compress(input, level: level, into: output)
        if isModest(size: input.count, compressed: output.count - start) { return }
        output.count = start
        store(input, into: output)
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

/// Undoes the compression of a frame that comes piece by piece, into memory of its size: of what is
/// large there is never a second copy.
package struct ZstdDecompression: ~Copyable {
    private let context: Zstd.Context
    private let output: ByteBuffer
    private let size: Int
    private var written = 0
    /// What zstd says that it still wants; 0 at the frame's end.
    private var wanted = 1

    /// - Parameters:
    ///   - begin: has the frame's first bytes, from `start` on, which are to be added all the same.
    ///   - compressed: bytes of the frame.
    package init(of begin: ByteBuffer, from start: Int, size: Int, compressed: Int) throws {
        try begin.withBytes { try Zstd.check($0.from(start), size: size, compressed: compressed) }
        self.size = size
        output = ByteBuffer(capacity: max(size, 1))
        context =
            Zstd.decompressors.withLock { $0.popLast() }
            ?? Zstd.Context(pointer: ZSTD_createDCtx()!)
        // The output stays in place, so that zstd needs no window of its own, however large it would
        // be. The parameter is ZSTD_d_stableOutBuffer, which has no name outside of static libraries.
        ZSTD_DCtx_setParameter(context.pointer, ZSTD_d_windowLogMax, 31)
        ZSTD_DCtx_setParameter(context.pointer, ZSTD_d_experimentalParam2, 1)
    }

    deinit {
        ZSTD_DCtx_reset(context.pointer, ZSTD_reset_session_and_parameters)
        let context = context
        Zstd.decompressors.withLock { $0.append(context) }
    }

    package mutating func add(_ piece: UnsafeRawBufferPointer) throws {
        var source = ZSTD_inBuffer(src: piece.baseAddress, size: piece.count, pos: 0)
        while source.pos < source.size {
            var target = ZSTD_outBuffer(dst: output.base, size: size, pos: written)
            wanted = ZSTD_decompressStream(context.pointer, &target, &source)
            written = target.pos
            guard ZSTD_isError(wanted) == 0, wanted > 0 || source.pos == source.size else {
                throw Failure(.corrupt, "a zstd frame is damaged")
            }
        }
    }

    /// The content, once all pieces were added.
    package func finish() throws -> ByteBuffer {
        guard wanted == 0, written == size else {
            throw Failure(.corrupt, "a zstd frame is damaged")
        }
        output.count = size
        return output
    }
}
