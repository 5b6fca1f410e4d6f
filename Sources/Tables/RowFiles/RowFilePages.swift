import Bytes
import Synchronization

/// Pages of a row file: fetched, decoded, or as they are stored.
extension RowFile {
    /// Decodes one page of some columns.
    package func readPage(
        rowGroup: Int, page: Int, columns: [ColumnPlace]
    ) throws -> [ColumnVector] {
        let index = try pageIndex(rowGroup)
        guard index.firstRows.indices.contains(page) else { throw damaged("page \(page)") }
        let first = index.firstRows[page]
        let end =
            page + 1 < index.firstRows.count ? index.firstRows[page + 1] : groups[rowGroup].rows
        return try columns.map { place in
            let column = place.index
            do {
                return try decode(
                    offset: index.offsets[column][page], size: index.sizes[column][page],
                    rows: end - first, layout: place.layout, optional: optional[column],
                    codec: groups[rowGroup].chunks[column].codec)
            } catch let failure as Failure where failure.code == .corrupt {
                throw damaged(failure, column, first..<end, rowGroup)
            }
        }
    }

    /// Compares every page with its checksum, without undoing its compression. `progress` may throw to
    /// end it.
    package func checkPages(progress: () throws -> Void) throws {
        for group in groups.indices {
            let index = try pageIndex(group)
            for (column, offsets) in index.offsets.enumerated() {
                try progress()
                for (page, offset) in offsets.enumerated() {
                    do {
                        try check(offset: offset, size: index.sizes[column][page])
                    } catch let failure as Failure where failure.code == .corrupt {
                        throw Failure(
                            .corrupt,
                            "row file \(file.name) is damaged in column \(columnNames[column]), page "
                                + "\(page) of row group \(group): \(failure.message)")
                    }
                }
            }
        }
    }

    private func check(offset: Int, size: Int) throws {
        guard UInt64(offset) + UInt64(size) <= file.sizeBytes else {
            throw Failure(.corrupt, "a page lies behind the file's end")
        }
        try Scratch.with { stored in
            try file.read(at: UInt64(offset), count: size, into: stored)
            var header = PageHeader()
            let bodyStart = try header.parse(stored, from: 0)
            try stored.withBytes { bytes in
                guard header.crc == Checksum.crc32(bytes.from(bodyStart)) else {
                    throw PageHeader.wrongChecksum
                }
            }
        }
    }

    /// Bytes that a page of some columns takes in the file.
    func storedBytes(
        rowGroup: Int, page: Int, columns: [ColumnPlace]
    ) throws -> Int {
        let index = try pageIndex(rowGroup)
        return columns.reduce(0) { $0 + index.sizes[$1.index][page] }
    }

    /// The same of all columns.
    func storedBytes(rowGroup: Int, page: Int) throws -> Int {
        try pageIndex(rowGroup).sizes.reduce(0) { $0 + $1[page] }
    }

    /// Has the pages of these columns fetched at once.
    func willNeed(
        rowGroup: Int, page: Int, columns: [ColumnPlace]
    ) throws {
        let index = try pageIndex(rowGroup)
        guard columns.count > 1, index.firstRows.indices.contains(page) else { return }
        for column in columns.lazy.map(\.index) {
            file.willNeed(
                at: UInt64(index.offsets[column][page]), count: index.sizes[column][page])
        }
    }

    /// Has the pages of all columns that hold these rows fetched at once.
    func willNeed(rowGroup: Int, rows: Range<Int>) throws {
        guard !rows.isEmpty else { return }
        let (first, _) = try page(of: rows.lowerBound, rowGroup: rowGroup)
        let (last, _) = try page(of: rows.upperBound - 1, rowGroup: rowGroup)
        let index = try pageIndex(rowGroup)
        var wanted: [Range<Int>] = []
        for (offsets, sizes) in zip(index.offsets, index.sizes) {
            let range = offsets[first]..<offsets[last] + sizes[last]
            if let before = wanted.last, before.upperBound <= range.lowerBound,
                range.lowerBound - before.upperBound <= Self.smallGroupBytes / 8
            {
                wanted[wanted.count - 1] = before.lowerBound..<range.upperBound
            } else {
                wanted.append(range)
            }
        }
        for range in wanted { file.willNeed(at: UInt64(range.lowerBound), count: range.count) }
    }

    /// Has a whole row group fetched, for who reads many of its pages in turn; once, and not if it is
    /// large. A page of each column lies far from those of the others: fetched one by one they cost
    /// more than the row group.
    func willNeed(rowGroup: Int) throws {
        let isNew = fetched.withLock { last in
            defer { last = rowGroup }
            return last != rowGroup
        }
        let index = try pageIndex(rowGroup)
        let first = index.offsets.compactMap(\.first).min() ?? 0
        let ends = zip(index.offsets, index.sizes).map { ($0.last ?? 0) + ($1.last ?? 0) }
        let bytes = (ends.max() ?? 0) - first
        if isNew, bytes <= Self.fetchedBytes { file.willNeed(at: UInt64(first), count: bytes) }
    }

    /// Larger row groups aren't fetched as a whole.
    private static let fetchedBytes = 8 << 20

    /// The pages of all columns that hold the same rows, as they are stored: one read where the row
    /// group is small.
    func storedPage(rowGroup: Int, page: Int) throws -> StoredPage {
        let index = try pageIndex(rowGroup)
        guard index.firstRows.indices.contains(page) else { throw damaged("page \(page)") }
        let end =
            page + 1 < index.firstRows.count ? index.firstRows[page + 1] : groups[rowGroup].rows
        let places = index.offsets.indices.map {
            index.offsets[$0][page]..<index.offsets[$0][page] + index.sizes[$0][page]
        }
        let first = places.map(\.lowerBound).min()!
        let last = places.map(\.upperBound).max()!
        guard first >= 0, UInt64(last) <= file.sizeBytes else { throw damaged("page \(page)") }
        let bytes = ByteBuffer(capacity: max(places.reduce(0) { $0 + $1.count }, 1))
        var starts: [Int] = []
        if last - first <= Self.smallGroupBytes {
            try Scratch.with { whole in
                try file.read(at: UInt64(first), count: last - first, into: whole)
                for place in places {
                    starts.append(bytes.count)
                    bytes.append(whole, from: place.lowerBound - first, count: place.count)
                }
            }
        } else {
            for place in places {
                starts.append(bytes.count)
                try file.read(at: UInt64(place.lowerBound), count: place.count, into: bytes)
            }
        }
        return StoredPage(
            file: self, bytes: bytes, starts: starts + [bytes.count], rowGroup: rowGroup,
            rows: index.firstRows[page]..<end)
    }

    /// A page is read with all that lies between its columns, if that isn't more.
    private static let smallGroupBytes = 256 << 10

    private func decode(
        offset: Int, size: Int, rows: Int, layout: ColumnVector.Layout, optional: Bool, codec: Int
    ) throws -> ColumnVector {
        guard UInt64(offset) + UInt64(size) <= file.sizeBytes else {
            throw Failure(.corrupt, "a page lies behind the file's end")
        }
        return try Scratch.with { stored in
            if size > RowBatch.largeBytes {
                let (body, encoding) = try openLarge(
                    offset: offset, size: size, rows: rows, codec: codec, stored)
                return try PageCodec.decode(
                    body, rows: rows, layout: layout, optional: optional, as: encoding)
            }
            try file.read(at: UInt64(offset), count: size, into: stored)
            return try Self.decode(
                stored, 0..<size, rows: rows, layout: layout, optional: optional, codec: codec)
        }
    }

    /// What a large page holds, read and decompressed piece by piece, so that it isn't in memory twice.
    private func openLarge(
        offset: Int, size: Int, rows: Int, codec: Int, _ piece: ByteBuffer
    ) throws -> (body: ByteBuffer, PageCodec.Encoding) {
        try file.read(at: UInt64(offset), count: Self.pieceBytes, into: piece)
        var header = PageHeader()
        let bodyStart = try header.parse(piece, from: 0)
        let encoding = try header.check(rows: rows, bodyBytes: size - bodyStart, codec: codec)
        var start = bodyStart
        var position = piece.count
        var crc: UInt32 = 0
        var frame = try ZstdDecompression(
            of: piece, from: start, size: header.uncompressedBytes,
            compressed: header.compressedBytes)
        while true {
            try piece.withBytes { bytes in
                crc = Checksum.crc32(bytes.from(start), after: crc)
                try frame.add(bytes.from(start))
            }
            if position == size { break }
            piece.removeAll()
            start = 0
            let count = min(Self.pieceBytes, size - position)
            try file.read(at: UInt64(offset + position), count: count, into: piece)
            position += count
        }
        guard header.crc == crc else { throw PageHeader.wrongChecksum }
        return (try frame.finish(), encoding)
    }

    private static let pieceBytes = 256 << 10

    /// Appends one page of a column as the body of a page that is PLAIN, uncompressed and optional;
    /// answers its bytes in the file. Nil, with nothing appended, if it isn't stored alike.
    func appendBody(
        rowGroup: Int, page: Int, column: ColumnPlace, into output: ByteBuffer
    ) throws -> Int? {
        let rows = try rowCount(rowGroup: rowGroup, page: page)
        let index = try pageIndex(rowGroup)
        let (offset, size) = (index.offsets[column.index][page], index.sizes[column.index][page])
        do {
            let isAlike = try Scratch.with { stored in
                try file.read(at: UInt64(offset), count: size, into: stored)
                return try Self.open(
                    stored, 0..<size, rows: rows, codec: groups[rowGroup].chunks[column.index].codec
                ) { header, encoding, compressed in
                    guard encoding == .plain else { return false }
                    return try PageCodec.append(
                        stored: compressed, size: header.uncompressedBytes, rows: rows,
                        optional: optional[column.index], into: output)
                }
            }
            return isAlike ? size : nil
        } catch let failure as Failure where failure.code == .corrupt {
            let first = index.firstRows[page]
            throw damaged(failure, column.index, first..<first + rows, rowGroup)
        }
    }

    /// Checks a stored page's header and checksum and hands on what it holds.
    private static func open<R>(
        _ stored: ByteBuffer, _ place: Range<Int>, rows: Int, codec: Int,
        _ body: (PageHeader, PageCodec.Encoding, UnsafeRawBufferPointer) throws -> R
    ) throws -> R {
        var header = PageHeader()
        let bodyStart = try header.parse(stored, from: place.lowerBound)
        let encoding = try header.check(
            rows: rows, bodyBytes: place.upperBound - bodyStart, codec: codec)
        return try stored.withBytes { bytes in
            let compressed = UnsafeRawBufferPointer(rebasing: bytes[bodyStart..<place.upperBound])
            guard header.crc == Checksum.crc32(compressed) else { throw PageHeader.wrongChecksum }
            return try body(header, encoding, compressed)
        }
    }

    private static func decode(
        _ stored: ByteBuffer, _ place: Range<Int>, rows: Int, layout: ColumnVector.Layout,
        optional: Bool, codec: Int
    ) throws -> ColumnVector {
        let (body, encoding) = try open(stored, place, rows: rows, codec: codec) {
            (try Zstd.decompress($2, size: $0.uncompressedBytes), $1)
        }
        return try PageCodec.decode(
            body, rows: rows, layout: layout, optional: optional, as: encoding)
    }

    /// A column of a stored page.
    func decode(
        _ page: StoredPage, column: Int, layout: ColumnVector.Layout
    ) throws -> ColumnVector {
        do {
            return try Self.decode(
                page.bytes, page.starts[column]..<page.starts[column + 1], rows: page.rows.count,
                layout: layout, optional: optional[column],
                codec: groups[page.rowGroup].chunks[column].codec)
        } catch let failure as Failure where failure.code == .corrupt {
            throw damaged(failure, column, page.rows, page.rowGroup)
        }
    }

    func damaged(
        _ failure: Failure, _ column: Int, _ rows: Range<Int>, _ rowGroup: Int
    ) -> Failure {
        Failure(
            .corrupt,
            "row file \(file.name) is damaged in column \(columnNames[column]), rows "
                + "\(rows) of row group \(rowGroup): \(failure.message)")
    }
}
