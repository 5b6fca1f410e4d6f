import CDeflate
import CXXHash

/// The checksums of the repository's formats.
package enum Checksum {
    /// XXH3, 64 bits: of index blocks.
    package static func xxh3(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        XXH3_64bits(bytes.baseAddress, bytes.count)
    }

    package static func xxh3(_ buffer: ByteBuffer) -> UInt64 { buffer.withBytes { xxh3($0) } }

    package static func xxh3(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { xxh3(UnsafeRawBufferPointer($0)) }
    }

    /// The CRC-32 of gzip, which Parquet's pages carry; `before` is that of the bytes in front of these.
    package static func crc32(
        _ bytes: UnsafeRawBufferPointer, after before: UInt32 = 0
    ) -> UInt32 {
        // Without an address it answers that of nothing.
        bytes.isEmpty ? before : libdeflate_crc32(before, bytes.baseAddress, bytes.count)
    }
}
