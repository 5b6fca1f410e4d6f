/// Records in memory until there are enough to be sorted and written.
package final class SortRun {
    private struct Entry {
        /// Of the key, behind what all keys have in common.
        var prefix: UInt64
        var place: Int
    }

    private let limits: SortLimits
    private let directory: String
    private let records: ByteBuffer
    private var count = 0
    private let key = ByteBuffer()
    private var firstKey: ByteBuffer?
    /// So many first bytes are the same in all keys, those of earlier records included.
    private var common = 0
    /// Where long records have their content.
    private var long: SpillFile?

    package init(limits: SortLimits, directory: String) {
        precondition(limits.recordBytes >= 64 && limits.mergedRuns >= 2)
        self.limits = limits
        self.directory = directory
        records = ByteBuffer(capacity: limits.runBytes + limits.recordBytes)
    }

    package var isEmpty: Bool { count == 0 }

    /// Takes rows; `makeKey` appends the key of one of them to a buffer. Whenever there are enough,
    /// `whenFull` is called, to empty it.
    package func append(
        _ columns: [ColumnVector], makeKey: (_ row: Int, _ key: ByteBuffer) -> Void,
        whenFull: () throws -> Void
    ) throws {
        let rows = columns[0].count
        try columns.map(CellColumn.init).withUnsafeBufferPointer { cells in
            for row in 0..<rows {
                key.removeAll()
                makeKey(row, key)
                narrowCommon()
                let limit = limits.recordBytes
                if !SortRecord.append(key: key, cells, row: row, to: records, limit: limit) {
                    try SortRecord.appendLong(
                        key: key, columns, row: row, to: records, limit: limit, longFile())
                }
                count += 1
                if records.count >= limits.runBytes { try whenFull() }
            }
        }
        withExtendedLifetime(columns) {}
    }

    /// Shortens what all keys have in common by `key`.
    @inline(__always)
    private func narrowCommon() {
        guard let firstKey else {
            common = min(key.count, limits.recordBytes / 2)
            firstKey = ByteBuffer(capacity: common + 1)
            firstKey!.append(key, from: 0, count: common)
            return
        }
        let end = min(common, key.count)
        var same = 0
        while same < end,
            firstKey.base.load(fromByteOffset: same, as: UInt8.self)
                == key.base.load(fromByteOffset: same, as: UInt8.self)
        { same += 1 }
        common = same
    }

    private func longFile() throws -> SpillFile {
        if let long { return long }
        let created = try SpillFile(in: directory)
        long = created
        return created
    }

    /// Sorts the records and empties itself into a file.
    package func write(to file: SpillFile) throws -> SortedRun {
        let start = file.end
        try forEachSorted { try file.append($0) }
        try file.flush()
        return run(.stored(file, start..<file.end))
    }

    /// Sorts the records and empties itself into memory.
    package func held() throws -> SortedRun {
        let sorted = ByteBuffer(capacity: max(1, records.count))
        try forEachSorted { sorted.append($0) }
        return run(.held(sorted))
    }

    private func run(_ place: SortedRun.Place) -> SortedRun {
        records.removeAll()
        count = 0
        return SortedRun(place: place, common: common, long: long)
    }

    // MARK: Sorting

    /// Hands the records, in the order of their keys, to `body`.
    private func forEachSorted(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        try long?.flush()
        try withUnsafeTemporaryAllocation(of: Entry.self, capacity: 2 * count) { room in
            let entries = UnsafeMutableBufferPointer(rebasing: room[..<count])
            fill(entries)
            let sorted = Self.sortByPrefix(
                entries, UnsafeMutableBufferPointer(rebasing: room[count...]))
            try sortAlike(sorted)
            for entry in sorted {
                let record = record(entry)
                try body(UnsafeRawBufferPointer(start: record.base, count: record.byteCount))
            }
        }
    }

    private func record(_ entry: Entry) -> SortRecord {
        SortRecord(base: UnsafeRawPointer(records.base) + entry.place)
    }

    private func fill(_ entries: UnsafeMutableBufferPointer<Entry>) {
        var place = 0
        for index in entries.indices {
            let record = SortRecord(base: UnsafeRawPointer(records.base) + place)
            entries.initializeElement(
                at: index, to: Entry(prefix: record.prefix(skipping: common), place: place))
            place += record.byteCount
        }
    }

    /// Sorts by prefixes, byte by byte from the last one, which is faster than comparing. Uses
    /// `other`, which is as large, and returns the one of both that is sorted.
    private static func sortByPrefix(
        _ entries: UnsafeMutableBufferPointer<Entry>, _ other: UnsafeMutableBufferPointer<Entry>
    ) -> UnsafeMutableBufferPointer<Entry> {
        withUnsafeTemporaryAllocation(of: Int.self, capacity: 8 * 256) { counts in
            counts.initialize(repeating: 0)
            for entry in entries {
                for byte in 0..<8 { counts[byte << 8 | digit(byte, entry)] += 1 }
            }
            var (from, to) = (entries, other)
            for byte in 0..<8 {
                let places = UnsafeMutableBufferPointer(
                    rebasing: counts[byte << 8..<(byte + 1) << 8])
                // All have the same byte here.
                if places.contains(entries.count) { continue }
                var place = 0
                for value in 0..<256 { (places[value], place) = (place, place + places[value]) }
                for entry in from {
                    let value = digit(byte, entry)
                    to.initializeElement(at: places[value], to: entry)
                    places[value] += 1
                }
                swap(&from, &to)
            }
            return from
        }
    }

    @inline(__always)
    private static func digit(_ byte: Int, _ entry: Entry) -> Int {
        Int(truncatingIfNeeded: entry.prefix >> UInt64(byte * 8) & 255)
    }

    /// Sorts entries of equal prefixes by their keys.
    private func sortAlike(_ entries: UnsafeMutableBufferPointer<Entry>) throws {
        var start = 0
        while start < entries.count {
            var end = start + 1
            while end < entries.count, entries[end].prefix == entries[start].prefix { end += 1 }
            if end - start > 1 {
                var alike = UnsafeMutableBufferPointer(rebasing: entries[start..<end])
                try alike.sort { try record($0).compare(record($1), long) < 0 }
            }
            start = end
        }
    }
}
