/// Parquet's DELTA_BINARY_PACKED: integers as differences, packed into as few bits as each 32 of
/// them need. Keys, dates and counters shrink to a few bits, and are decoded much faster than any
/// general compression is undone.
///
/// ```
/// v block size (values) | v miniblocks of a block | v number of values | z first value
/// for each block   z least difference | u8 bit width of each miniblock | miniblocks
/// miniblock        differences − the least one, `bit width` bits each, lowest bits first
/// ```
/// `v` is a LEB128, `z` a zigzag one. Differences wrap around at the width of the type; a last
/// miniblock is filled up, those behind it have no bytes. Source: Parquet's format description,
/// "Encodings".
enum DeltaCodec {
    private static let blockValues = 128
    private static let miniblockValues = 32
    private static let miniblocks = blockValues / miniblockValues
    /// Bytes that a miniblock may be read or written beyond its end.
    private static let slack = 8

    // MARK: Writing

    /// Appends `count` values of `T` that lie at `source`, one after another.
    static func encode<T: FixedWidthInteger & SignedInteger & BitwiseCopyable>(
        _ type: T.Type, _ source: UnsafeRawPointer, count: Int, into output: ByteBuffer
    ) {
        Varint.append(UInt64(blockValues), to: output)
        Varint.append(UInt64(miniblocks), to: output)
        Varint.append(UInt64(count), to: output)
        @inline(__always)
        func value(_ index: Int) -> T {
            source.loadUnaligned(fromByteOffset: index * MemoryLayout<T>.size, as: T.self)
        }
        var previous = count > 0 ? value(0) : 0
        Varint.append(zigzag(Int64(previous)), to: output)
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: blockValues) { block in
            var next = 1
            while next < count {
                let used = min(blockValues, count - next)
                var least = T.max
                for index in 0..<used {
                    let current = value(next + index)
                    let difference = current &- previous
                    block[index] = UInt64(bitPattern: Int64(difference))
                    least = min(least, difference)
                    previous = current
                }
                append(block, used, least: least, to: output)
                next += used
            }
        }
    }

    private static func append<T: FixedWidthInteger & SignedInteger>(
        _ block: UnsafeMutableBufferPointer<UInt64>, _ used: Int, least: T, to output: ByteBuffer
    ) {
        let base = UInt64(bitPattern: Int64(least))
        let mask = UInt64.max >> UInt64(64 - T.bitWidth)
        Varint.append(zigzag(Int64(least)), to: output)
        let widths = output.count
        for miniblock in 0..<miniblocks {
            var bits: UInt64 = 0
            for index in miniblock * miniblockValues..<(miniblock + 1) * miniblockValues {
                block[index] = index < used ? (block[index] &- base) & mask : 0
                bits |= block[index]
            }
            output.append(byte: UInt8(64 - bits.leadingZeroBitCount))
        }
        for miniblock in 0..<miniblocks where miniblock * miniblockValues < used {
            let width = Int(output.load(at: widths + miniblock, as: UInt8.self))
            output.append(room: miniblockValues / 8 * width + slack) { room in
                pack(block.baseAddress! + miniblock * miniblockValues, width, room.baseAddress!)
                return miniblockValues / 8 * width
            }
        }
    }

    private static func pack(
        _ values: UnsafePointer<UInt64>, _ width: Int, _ target: UnsafeMutableRawPointer
    ) {
        var pending: UInt128 = 0
        var bits = 0
        var next = target
        for index in 0..<miniblockValues {
            pending |= UInt128(values[index]) << UInt128(bits)
            bits += width
            if bits >= 64 {
                next.storeBytes(of: UInt64(truncatingIfNeeded: pending), as: UInt64.self)
                next += 8
                pending >>= 64
                bits -= 64
            }
        }
        // 32 values end at a multiple of four bytes.
        if bits > 0 { next.storeBytes(of: UInt64(truncatingIfNeeded: pending), as: UInt64.self) }
    }

    private static func zigzag(_ value: Int64) -> UInt64 {
        UInt64(bitPattern: value << 1 ^ value >> 63)
    }

    // MARK: Reading

    /// The values of `body` from `start` to its end, of which there must be `count`, one after
    /// another; nil if it is damaged.
    static func decode<T: FixedWidthInteger & SignedInteger & BitwiseCopyable>(
        _ type: T.Type, _ body: ByteBuffer, from start: Int, count: Int
    ) -> ByteBuffer? {
        var position = start
        let end = body.count
        guard let blockValues = Varint.read(body, at: &position, end: end),
            let miniblocks = Varint.read(body, at: &position, end: end),
            let total = Varint.read(body, at: &position, end: end),
            let first = Varint.read(body, at: &position, end: end),
            total == UInt64(count), blockValues == UInt64(Self.blockValues),
            miniblocks == UInt64(Self.miniblocks),
            // What a block has at least: so much memory isn't taken for a number in a damaged file.
            (count - 1) / Self.blockValues * (1 + Self.miniblocks) <= end - position
        else { return nil }
        let output = ByteBuffer(capacity: max(count * MemoryLayout<T>.size, 1))
        if count == 0 { return position == end ? output : nil }
        // A miniblock near the end is read from here, where there is something behind it.
        let last = ByteBuffer(capacity: miniblockValues * 8 + slack)
        var isWhole = true
        output.append(room: count * MemoryLayout<T>.size) { room in
            let values = room.baseAddress!
            var value = T(truncatingIfNeeded: unzigzag(first))
            values.storeBytes(of: value, as: T.self)
            var next = 1
            blocks: while next < count {
                guard let least = Varint.read(body, at: &position, end: end),
                    position + Self.miniblocks <= end
                else { break }
                let base = T(truncatingIfNeeded: unzigzag(least))
                let widths = position
                position += Self.miniblocks
                for miniblock in 0..<Self.miniblocks where next < count {
                    let width = Int(body.load(at: widths + miniblock, as: UInt8.self))
                    let bytes = miniblockValues / 8 * width
                    guard width <= T.bitWidth, position + bytes <= end else { break blocks }
                    var packed = UnsafeRawPointer(body.base + position)
                    if position + bytes + slack > body.capacity {
                        last.removeAll()
                        last.append(body, from: position, count: bytes)
                        packed = UnsafeRawPointer(last.base)
                    }
                    let used = min(miniblockValues, count - next)
                    unpack(packed, width, used, base, &value, values + next * MemoryLayout<T>.size)
                    next += used
                    position += bytes
                }
            }
            isWhole = next >= count && position == end
            return count * MemoryLayout<T>.size
        }
        return isWhole ? output : nil
    }

    /// Unpacks `count` differences and adds them up from `value`.
    @inline(__always)
    private static func unpack<T: FixedWidthInteger & SignedInteger & BitwiseCopyable>(
        _ packed: UnsafeRawPointer, _ width: Int, _ count: Int, _ base: T, _ value: inout T,
        _ target: UnsafeMutableRawPointer
    ) {
        let size = MemoryLayout<T>.size
        var current = value
        if width == 0 {
            for index in 0..<count {
                current &+= base
                target.storeBytes(of: current, toByteOffset: index * size, as: T.self)
            }
        } else {
            let mask = UInt64.max >> UInt64(64 - width)
            var bit = 0
            for index in 0..<count {
                let offset = UInt64(bit & 7)
                var bits = packed.loadUnaligned(fromByteOffset: bit >> 3, as: UInt64.self) >> offset
                if width > 57 {
                    let more = packed.load(fromByteOffset: bit >> 3 + 8, as: UInt8.self)
                    bits |= (UInt64(more) << 1) << (63 - offset)
                }
                current = current &+ base &+ T(truncatingIfNeeded: bits & mask)
                target.storeBytes(of: current, toByteOffset: index * size, as: T.self)
                bit += width
            }
        }
        value = current
    }

    private static func unzigzag(_ value: UInt64) -> Int64 {
        Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }
}
