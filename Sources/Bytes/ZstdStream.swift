import CZstd

/// Undoes the compression of zstd frames that come piece by piece, one behind the other, as they lie in
/// files of others. Memory is bounded: a frame that needs a window of more than 128 MiB is refused.
package final class ZstdStream {
    private let context: OpaquePointer
    /// A frame has begun and hasn't ended yet.
    package private(set) var isWithinFrame = false
    /// There is more to give out without any more input.
    package private(set) var hasMore = false

    private static let maxWindowLog: Int32 = 27

    package init() {
        context = ZSTD_createDCtx()!
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.maxWindowLog)
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Appends at most `count` bytes; answers how many bytes of the input were used up. The input may
    /// only be empty if there is more.
    ///
    /// - Throws: what zstd says of frames that are damaged.
    package func decompress(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], atMost count: Int
    ) throws(Failure) -> Int {
        var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var wanted = 0
        let piece = [UInt8](unsafeUninitializedCapacity: count) { room, initialized in
            var target = ZSTD_outBuffer(dst: room.baseAddress, size: count, pos: 0)
            wanted = ZSTD_decompressStream(context, &target, &source)
            initialized = target.pos
        }
        guard ZSTD_isError(wanted) == 0 else {
            throw Failure(.corrupt, String(cString: ZSTD_getErrorName(wanted)))
        }
        output += piece
        isWithinFrame = wanted > 0
        hasMore = isWithinFrame && piece.count == count
        return source.pos
    }
}
