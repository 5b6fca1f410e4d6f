import Glibc

/// One row on its way through a sort: its key as a byte string, and its values.
///
/// ```
/// u32 bytes of the record, these included | u32 bytes of key here, top bit: long
/// key | cells
/// key's beginning | u64 place | u64 end | u64 bytes of key             a long record, whose whole
///                                  key and cells lie in the file of long rows from place to end
/// cell of a fixed column      00 = NULL, or 01 and the value
/// cell of a variable column   u32 length | bytes; 0xFFFFFFFF = NULL
/// ```
/// Long records keep what is held in memory small: of many runs that are merged, each has a record
/// there.
struct SortRecord {
    let base: UnsafeRawPointer

    static let headerBytes = 8
    private static let longBit: UInt32 = 1 << 31
    private static let placeBytes = 24

    var byteCount: Int { Int(base.loadUnaligned(as: UInt32.self)) }

    private var keyWord: UInt32 { base.loadUnaligned(fromByteOffset: 4, as: UInt32.self) }

    private var isLong: Bool { keyWord & Self.longBit != 0 }

    /// The key, or the beginning of a long one.
    var key: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: base + Self.headerBytes, count: Int(keyWord & ~Self.longBit))
    }

    /// Eight bytes of the key behind the first `skip`, such that they compare as a number.
    @inline(__always)
    func prefix(skipping skip: Int) -> UInt64 {
        let key = key
        if key.count >= skip + 8 {
            return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: skip, as: UInt64.self))
        }
        var value: UInt64 = 0
        for index in skip..<skip + 8 {
            value = value << 8 | (index < key.count ? UInt64(key[index]) : 0)
        }
        return value
    }

    /// What follows the key.
    private var rest: UnsafeRawBufferPointer {
        let start = Self.headerBytes + key.count
        return UnsafeRawBufferPointer(start: base + start, count: byteCount - start)
    }

    /// Whole key and cells of a long record.
    private var place: Range<Int> {
        let start = rest.loadUnaligned(as: Int.self)
        return start..<rest.loadUnaligned(fromByteOffset: 8, as: Int.self)
    }

    private var keyBytes: Int {
        isLong ? rest.loadUnaligned(fromByteOffset: 16, as: Int.self) : key.count
    }

    /// Negative, zero or positive, as the key is before, equal to or after that of `other`.
    func compare(_ other: SortRecord, _ long: SpillFile?) throws -> Int {
        let (mine, theirs) = (key, other.key)
        let order = memcmp(
            mine.baseAddress!, theirs.baseAddress!, min(mine.count, theirs.count))
        if order != 0 { return Int(order) }
        if isLong, other.isLong, mine.count < keyBytes, theirs.count < other.keyBytes {
            return try compareWhole(other, long!)
        }
        return keyBytes - other.keyBytes
    }

    /// Compares keys that are too long to be held.
    private func compareWhole(_ other: SortRecord, _ file: SpillFile) throws -> Int {
        var (mine, theirs) = (SpillReader(file, place), SpillReader(file, other.place))
        var left = min(keyBytes, other.keyBytes)
        return try withUnsafeTemporaryAllocation(byteCount: 1 << 13, alignment: 16) { room in
            while left > 0 {
                let count = min(left, room.count / 2)
                let a = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
                let b = UnsafeMutableRawBufferPointer(rebasing: room[count..<2 * count])
                try mine.read(into: a)
                try theirs.read(into: b)
                let order = memcmp(a.baseAddress!, b.baseAddress!, count)
                if order != 0 { return Int(order) }
                left -= count
            }
            return keyBytes - other.keyBytes
        }
    }

    /// Appends the row to the columns; returns about how many bytes it takes there.
    @inline(__always)
    func append(to columns: [Unmanaged<ColumnVector>], _ long: SpillFile?) throws -> Int {
        if isLong {
            var reader = SpillReader(long!, place.lowerBound + keyBytes..<place.upperBound)
            for column in columns {
                try column._withUnsafeGuaranteedRef { try $0.append(cellFrom: &reader) }
            }
            return place.count - keyBytes
        } else {
            var rest = rest
            for column in columns {
                rest = column._withUnsafeGuaranteedRef { $0.append(firstOf: rest) }
            }
            precondition(rest.count == 0)
            return byteCount
        }
    }
}

extension SortRecord {
    /// Appends a record to `output`; false, and nothing is appended, if it would be longer than
    /// `limit`.
    static func append(
        key: ByteBuffer, _ columns: UnsafeBufferPointer<CellColumn>, row: Int,
        to output: ByteBuffer, limit: Int
    ) -> Bool {
        if key.count > limit / 2 { return false }
        output.reserve(limit)
        let start = output.base + output.count
        let end = start + limit
        var target = start + headerBytes
        target.copyMemory(from: key.base, byteCount: key.count)
        target += key.count
        for column in columns {
            guard let next = column.copy(row, to: target, end) else { return false }
            target = next
        }
        start.storeBytes(of: UInt32(target - start), as: UInt32.self)
        start.storeBytes(of: UInt32(key.count), toByteOffset: 4, as: UInt32.self)
        output.count += target - start
        return true
    }

    /// Appends a long record, whose content goes to `file`.
    static func appendLong(
        key: ByteBuffer, _ columns: [ColumnVector], row: Int, to output: ByteBuffer, limit: Int,
        _ file: SpillFile
    ) throws {
        let held = min(key.count, limit / 2)
        output.append(fixed: UInt32(headerBytes + held + placeBytes))
        output.append(fixed: UInt32(held) | longBit)
        output.append(key, from: 0, count: held)
        output.append(fixed: file.end)
        try key.withBytes { try file.append($0) }
        for column in columns { try column.append(cellOf: row, to: file) }
        output.append(fixed: file.end)
        output.append(fixed: key.count)
    }
}

/// Where a column's values lie, without a reference to be counted for every value. Whoever uses it
/// keeps the column.
struct CellColumn {
    private let values: UnsafeRawPointer
    private let marks: UnsafeRawPointer
    /// 0 for a variable column.
    private let width: Int
    private let hasNulls: Bool

    init(_ column: ColumnVector) {
        values = column.address
        marks = UnsafeRawPointer(column.marks.base)
        hasNulls = column.nullCount > 0
        if case .fixed(let width) = column.layout { self.width = width } else { width = 0 }
    }

    /// Writes a row's cell and returns its end; nil if there is no room for it before `end`.
    @inline(__always)
    fileprivate func copy(
        _ row: Int, to target: UnsafeMutableRawPointer, _ end: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer? {
        if width == 0 {
            let start = marks.load(fromByteOffset: row * 4, as: UInt32.self)
            if end - target < 4 { return nil }
            if start == ColumnVector.null {
                target.storeBytes(of: ColumnVector.nullCell, as: UInt32.self)
                return target + 4
            }
            // The length stands in front of the value there too.
            let source = values + Int(start) - 4
            let count = 4 + Int(source.loadUnaligned(as: UInt32.self))
            if end - target < count { return nil }
            target.copyMemory(from: source, byteCount: count)
            return target + count
        }
        if end - target <= width { return nil }
        let isNull = hasNulls && marks.load(fromByteOffset: row, as: UInt8.self) == 0
        target.storeBytes(of: isNull ? 0 : 1, as: UInt8.self)
        if isNull { return target + 1 }
        if width == 8 {
            let value = values.loadUnaligned(fromByteOffset: row * 8, as: UInt64.self)
            (target + 1).storeBytes(of: value, as: UInt64.self)
        } else {
            (target + 1).copyMemory(from: values + row * width, byteCount: width)
        }
        return target + 1 + width
    }
}

extension ColumnVector {
    fileprivate static var nullCell: UInt32 { .max }

    fileprivate func append(cellOf row: Int, to file: SpillFile) throws {
        let isNull = isNull(row)
        try withBytes(row) { bytes in
            var head = isNull ? Self.nullCell : UInt32(bytes.count)
            if layout != .variable { head = isNull ? 0 : 1 }
            try withUnsafeBytes(of: &head) { head in
                try file.append(
                    UnsafeRawBufferPointer(rebasing: head[..<(layout == .variable ? 4 : 1)]))
            }
            if !isNull { try file.append(bytes) }
        }
    }

    /// Appends the value of the first of `cells`; returns the others.
    @inline(__always)
    fileprivate func append(firstOf cells: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let used: Int
        if case .fixed(let width) = layout {
            used = cells[0] == 0 ? 1 : 1 + width
            if used == 1 {
                appendNull()
            } else if width == 8 {
                append(cells.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
            } else {
                append(bytes: UnsafeRawBufferPointer(rebasing: cells[1..<used]))
            }
        } else {
            let length = cells.loadUnaligned(as: UInt32.self)
            used = length == Self.nullCell ? 4 : 4 + Int(length)
            if length == Self.nullCell {
                appendNull()
            } else {
                append(sized: UnsafeRawBufferPointer(rebasing: cells[..<used]))
            }
        }
        return cells.from(used)
    }

    fileprivate func append(cellFrom reader: inout SpillReader) throws {
        if case .fixed(let width) = layout {
            if try reader.read(UInt8.self) == 0 { return appendNull() }
            try append(room: width) { try reader.read(into: $0) }
        } else {
            let length = try reader.read(UInt32.self)
            if length == Self.nullCell { return appendNull() }
            try append(room: Int(length)) { try reader.read(into: $0) }
        }
    }
}
