import Bytes
import Synchronization

/// A page of a run: rows that edits show. Kept as it is stored; columns are decoded when they are
/// first asked for, so that who reads one column pays for one. Of a large page nothing is kept. Safe for
/// concurrent use.
final class RunPage: Sendable {
    private let place: RunPlace
    var file: UInt64 { place.number }
    /// Counted from the file's begin.
    var rows: Range<Int> { place.rows }
    /// As stored, and once all columns are decoded.
    let byteCount: Int
    /// Nil if it is large.
    private let stored: StoredPage?
    /// Two schemas may give one id to columns of other types: one of a point that was dropped, and one
    /// that came after it. Then rows that are older than both have stand-ins of their own for each.
    private struct Key: Hashable {
        let id: UInt32
        let type: ColumnType
        let standIn: StandIn?
    }
    private let columns = Mutex<[Key: ColumnVector]>([:])

    fileprivate init(_ place: RunPlace, stored: StoredPage?, byteCount: Int) {
        self.place = place
        self.stored = stored
        self.byteCount = byteCount
    }

    func column(_ column: Column, _ pool: FilePool) throws -> ColumnVector {
        guard let stored else {
            return try pool.page(
                place.file, rowGroup: place.rowGroup, page: place.page, columns: [column])[0]
        }
        let key = Key(id: column.id, type: column.type, standIn: column.standIn)
        return try columns.withLock { columns in
            if let known = columns[key] { return known }
            let decoded = try stored.decode(column)
            columns[key] = decoded
            pool.count(pages: 1, decodedBytes: decoded.byteCount)
            return decoded
        }
    }

    /// All columns of a schema.
    func batch(_ schema: TableSchema, _ pool: FilePool) throws -> RowBatch {
        RowBatch(columns: try schema.columns.map { try column($0, pool) })
    }
}

/// Where a page of a run is stored.
struct RunPlace: Sendable {
    let file: RowFile
    let number: UInt64
    let rowGroup: Int
    let page: Int
    /// Counted from the file's begin.
    let rows: Range<Int>

    func key(_ pool: FilePool) -> SharedCache.Key {
        pool.key(.runPage, number, UInt64(rowGroup) << 32 | UInt64(page))
    }

    func willNeed() throws {
        let start = file.groups[rowGroup].firstRow
        try file.willNeed(
            rowGroup: rowGroup, rows: rows.lowerBound - start..<rows.upperBound - start)
    }
}

extension FilePool {
    /// Finds the page of a run that holds `row`, without reading it.
    func runPlace(of row: RunRow) throws -> RunPlace {
        let file = try rowFile(row.file)
        let (group, rowInGroup) = try file.rowGroup(of: Int(row.row))
        let (page, rows) = try file.page(of: rowInGroup, rowGroup: group)
        let start = Int(row.row) - rowInGroup
        return RunPlace(
            file: file, number: row.file, rowGroup: group, page: page,
            rows: start + rows.lowerBound..<start + rows.upperBound)
    }

    func runPage(_ place: RunPlace) throws -> RunPage {
        try cache.value(place.key(self)) {
            let size = try place.file.storedBytes(rowGroup: place.rowGroup, page: place.page)
            if size > RowBatch.largeBytes { return large(place) }
            let stored = try place.file.storedPage(rowGroup: place.rowGroup, page: place.page)
            let bytes = try stored.byteCounts()
            count(readBytes: bytes.stored)
            if bytes.decoded > RowBatch.largeBytes { return large(place) }
            let page = RunPage(
                place, stored: stored,
                byteCount: bytes.stored + bytes.decoded + 512 + stored.starts.count * 384)
            return (page, bytes: page.byteCount)
        }
    }

    private func large(_ place: RunPlace) -> (RunPage, bytes: Int) {
        let page = RunPage(place, stored: nil, byteCount: 512)
        return (page, bytes: page.byteCount)
    }
}
