import CZstd

/// Undoes the compression of zstd frames. Memory is bounded: a frame that needs a window of more than
/// 128 MiB is refused.
package final class ZstdStream: UnpackingStream {
    package let part = "zstd frame"
    package private(set) var isWithinPart = false
    package private(set) var hasMore = false
    private let context: OpaquePointer

    private static let maxWindowLog: Int32 = 27

    package init() {
        context = ZSTD_createDCtx()!
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.maxWindowLog)
    }

    deinit { ZSTD_freeDCtx(context) }

    package func unpack(
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
        isWithinPart = wanted > 0
        hasMore = isWithinPart && piece.count == count
        return source.pos
    }

    /// How many bytes the first frame of a file holds, if its beginning says so.
    package static func contentSize(ofFrame head: [UInt8]) -> UInt64? {
        let size = ZSTD_getFrameContentSize(head, head.count)
        // The two highest numbers stand for errors.
        return size < UInt64.max - 1 ? size : nil
    }
}
