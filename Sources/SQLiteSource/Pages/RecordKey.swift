import Bytes
import Tables

/// The key at the beginning of a WITHOUT ROWID table's record, cut out of a page, and made our
/// normalized key once the types of its columns are known.
/// ```
/// u8 columns | serial types, a varint each | their values      (sqlite.org/fileformat2.html §2.1)
/// ```
/// No bytes: the key isn't whole where it was looked for.
enum RecordKey {
    /// Appends the first columns of a record, as many as there are up to `columns`.
    static func append(
        _ record: UnsafeRawBufferPointer, columns: Int, to output: inout RecordWriter
    ) {
        guard let base = record.baseAddress,
            let (header, first) = PageBytes.varint(base, 0, record.count),
            header <= UInt64(record.count)
        else { return }
        var end = first
        var valueBytes = 0
        var count: UInt8 = 0
        while count < columns, end < Int(header) {
            guard let (type, next) = PageBytes.varint(base, end, Int(header)),
                let size = valueSize(type), valueBytes + size <= record.count - Int(header)
            else { return }
            valueBytes += size
            end = next
            count += 1
        }
        output.append(count)
        output.append(UnsafeRawBufferPointer(rebasing: record[first..<end]))
        output.append(
            UnsafeRawBufferPointer(rebasing: record[Int(header)..<Int(header) + valueBytes]))
    }

    /// Bytes of a value; nil if there is no such type, or no record could hold so much.
    private static func valueSize(_ type: UInt64) -> Int? {
        switch type {
        case 0, 8, 9: 0
        case 1...4: Int(type)
        case 5: 6
        case 6, 7: 8
        case 12...0xFFFF_FFFF: Int(type - 12) / 2
        default: nil
        }
    }

    /// Appends the normalized key; false if the values aren't such as the types say.
    static func normalize(
        _ key: UnsafeRawBufferPointer, types: [ColumnType], into output: ByteBuffer
    ) -> Bool {
        guard let base = key.baseAddress, key.count > 0, Int(key[0]) >= types.count else {
            return false
        }
        var typeOffset = 1
        var valueOffset = 1
        for _ in 0..<key[0] {
            guard let (_, next) = PageBytes.varint(base, valueOffset, key.count) else {
                return false
            }
            valueOffset = next
        }
        for type in types {
            guard let (serial, next) = PageBytes.varint(base, typeOffset, key.count),
                let size = valueSize(serial), valueOffset + size <= key.count
            else { return false }
            let value = UnsafeRawBufferPointer(start: base + valueOffset, count: size)
            guard append(serial, value, as: type, to: output) else { return false }
            typeOffset = next
            valueOffset += size
        }
        return true
    }

    private static func append(
        _ serial: UInt64, _ value: UnsafeRawBufferPointer, as type: ColumnType,
        to output: ByteBuffer
    ) -> Bool {
        switch type {
        case .int64:
            guard let integer = integer(serial, value) else { return false }
            NormalizedKey.append(integer, to: output)
        case .double:
            // SQLite stores whole numbers of REAL columns as integers.
            if let integer = integer(serial, value) {
                NormalizedKey.append(Double(integer), to: output)
            } else if serial == 7 {
                let bits = value.loadUnaligned(as: UInt64.self)
                NormalizedKey.append(Double(bitPattern: UInt64(bigEndian: bits)), to: output)
            } else {
                return false
            }
        case .utf8:
            guard serial >= 13, serial % 2 == 1 else { return false }
            NormalizedKey.append(bytes: value, to: output)
        case .string:
            guard serial >= 12, serial % 2 == 0 else { return false }
            NormalizedKey.append(bytes: value, to: output)
        default: return false
        }
        return true
    }

    /// Nil if the value is no integer.
    private static func integer(_ serial: UInt64, _ value: UnsafeRawBufferPointer) -> Int64? {
        switch serial {
        case 1...6:
            var bits: Int64 = value[0] >= 0x80 ? -1 : 0
            for byte in value { bits = bits << 8 | Int64(byte) }
            return bits
        case 8: return 0
        case 9: return 1
        default: return nil
        }
    }
}
