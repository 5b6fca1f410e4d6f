import CZlib

/// Undoes the compression of gzip members.
package final class GzipStream: UnpackingStream {
    package let part = "gzip member"
    package private(set) var isWithinPart = false
    package private(set) var hasMore = false
    private var hasEnded = false
    private let stream: UnsafeMutablePointer<z_stream>

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = ydbfs_gunzip_begin(stream)
        precondition(code == Z_OK, "zlib has no memory")
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    package func unpack(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], atMost count: Int
    ) throws(Failure) -> Int {
        var padding = 0
        if hasEnded, !isWithinPart {
            // What tapes and the like fill the last block with.
            padding = input.prefix { $0 == 0 }.count
            if padding == input.count { return padding }
        }
        let input = input.from(padding)
        let given = UInt32(clamping: input.count)
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = given
        var code = Z_OK
        let piece = [UInt8](unsafeUninitializedCapacity: count) { room, initialized in
            let capacity = UInt32(clamping: count)
            stream.pointee.next_out = room.baseAddress
            stream.pointee.avail_out = capacity
            code = inflate(stream, Z_NO_FLUSH)
            initialized = Int(capacity - stream.pointee.avail_out)
        }
        switch code {
        case Z_OK, Z_BUF_ERROR: isWithinPart = true
        case Z_STREAM_END:
            (isWithinPart, hasEnded) = (false, true)
            inflateReset(stream)
        default:
            throw Failure(
                .corrupt, stream.pointee.msg.map { String(cString: $0) } ?? "error \(code)")
        }
        output += piece
        hasMore = isWithinPart && piece.count == count
        return padding + Int(given - stream.pointee.avail_in)
    }
}
