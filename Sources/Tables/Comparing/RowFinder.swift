import Bytes

extension Snapshot {
    /// The slice whose keys a normalized storage key is among.
    func place(of key: [UInt8]) throws -> SlicePlace {
        let blocks = try root().blocks
        let block = Self.last(blocks.count) { isBefore(key, blocks[$0].lowerBound) }
        let content = try pool.block(blocks[block].reference, schema: schema)
        let slice = try Self.last(content.slices.count) {
            try isBefore(key, content.lowerBound($0))
        }
        return SlicePlace(block: block, slice: slice)
    }

    /// The last of some, the first of which always counts, that isn't behind something.
    private static func last(_ count: Int, isBehind: (Int) throws -> Bool) rethrows -> Int {
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if try isBehind(middle) { high = middle } else { low = middle }
        }
        return low
    }

    /// The row with a normalized storage key; nil if there is none. Reads key columns of the pages that
    /// may hold it, and the page that does.
    package func row(forKey key: [UInt8]) throws -> RowBatch? {
        let slice = try slice(place(of: key)).slice
        let list = KeyList(key)
        var base = try BaseRows(slice, schema: schema, pool: pool, isSequential: false)
        let (position, isHit) = try base.position(of: list, 0)
        let first = slice.edits.firstIndex(at: position)
        let behind = slice.edits.firstIndex(at: position + 1)
        var inserts = first..<behind
        if let last = inserts.last, slice.edits[last].kind != .insert {
            inserts = first..<last
            if isHit {
                return slice.edits[last].kind == .replace
                    ? try stored(slice.edits[last].row) : nil
            }
        }
        if isHit {
            let (batch, row) = try base.row(at: position)
            return batch.row(row, schema)
        }
        return try inserted(slice, inserts, list)
    }

    /// The row of a key among inserts at one position, which are in key order.
    private func inserted(
        _ slice: Slice, _ inserts: Range<Int>, _ key: KeyList
    ) throws -> RowBatch? {
        let ofKey = schema.ofKey
        var reader = SliceReader(slice, schema: ofKey, pool: pool, isSequential: false)
        let scratch = ByteBuffer(capacity: 256)
        var (low, high) = (inserts.lowerBound, inserts.upperBound)
        while low < high {
            let middle = (low + high) / 2
            let (batch, row) = try reader.row(slice.edits[middle].row)
            scratch.removeAll()
            NormalizedKey.append(batch, row: row, schema: ofKey, to: scratch)
            let order = key.compare(0, scratch)
            if order == 0 { return try stored(slice.edits[middle].row) }
            if order > 0 { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    /// A row by where it is stored.
    func stored(_ row: RunRow) throws -> RowBatch {
        let place = try pool.runPlace(of: row)
        let batch = try pool.runPage(place).batch(schema, pool)
        return batch.row(Int(row.row) - place.rows.lowerBound, schema)
    }
}

extension RowBatch {
    /// A row as a batch of its own.
    func row(_ row: Int, _ schema: TableSchema) -> RowBatch {
        let copy = RowBatch(schema)
        copy.append(self, row: row)
        return copy
    }
}

/// Finds the rows of one key in any number of snapshots of a table, and remembers what they have in
/// common: slices that are the same are looked into once. Used by one thread.
///
/// Mostly there is one row or none; of a key that holds NULL there may be more.
package final class RowFinder {
    private struct Candidates: Hashable {
        let file: UInt64
        let schema: TableSchema
    }
    private struct Place: Hashable {
        let slice: SliceIdentity
        let key: [UInt8]
        let schema: TableSchema
    }

    package let key: TableKey
    private let checkpoint: () throws -> Void
    /// By row file, storage keys of its rows that have the key.
    private var candidates: [Candidates: Set<[UInt8]>] = [:]
    /// What was found last, by slice.
    private var known: [Place: RowBatch?] = [:]
    private var pool: FilePool?

    /// More rows of one key aren't shown.
    private static let maxRows = 10_000

    /// - Parameter checkpoint: called now and then; throws to stop.
    package init(_ key: TableKey, checkpoint: @escaping () throws -> Void = {}) {
        self.key = key
        self.checkpoint = checkpoint
    }

    /// The rows, all columns, in the order of the storage key.
    package func rows(of snapshot: Snapshot) throws -> RowBatch {
        let schema = snapshot.schema
        let result = RowBatch(schema)
        if pool !== snapshot.pool { (candidates, known) = ([:], [:]) }
        pool = snapshot.pool
        guard let row = key.values(in: schema) else { return result }
        let ofKey = schema.ofLookupKey
        let wanted = NormalizedKey.of(row, row: 0, schema: ofKey)
        let keys = try storageKeys(snapshot, row, wanted)
        var found: [Place: RowBatch?] = [:]
        for key in keys.sorted(by: isBefore) {
            try checkpoint()
            let slice = try snapshot.bareSlice(snapshot.place(of: key))
            let place = Place(slice: SliceIdentity(slice), key: key, schema: schema)
            let row = try known[place] ?? snapshot.row(forKey: key)
            found[place] = .some(row)
            guard let row else { continue }
            // The row may have got another key since.
            let columns = ofKey.groups(schema.lookupKey.map { row.columns[$0] })
            guard NormalizedKey.of(columns, row: 0, schema: ofKey) == wanted,
                self.key.isKey(of: row, 0, schema)
            else { continue }
            guard result.count < Self.maxRows else {
                throw Failure(
                    .unsupported,
                    "more than \(Self.maxRows) rows have the key \(self.key.pathName): read the table"
                )
            }
            result.append(row, row: 0)
        }
        known = found
        return result
    }

    /// Normalized storage keys of rows that may have the key.
    private func storageKeys(
        _ snapshot: Snapshot, _ row: RowBatch, _ wanted: [UInt8]
    ) throws -> Set<[UInt8]> {
        let schema = snapshot.schema
        // Several literals may be meant.
        if Set(schema.lookupKey) == Set(schema.key),
            !schema.ofKey.columns.contains(where: \.isLiteral)
        {
            let columns = schema.key.map { row.columns[schema.lookupKey.firstIndex(of: $0)!] }
            return [
                NormalizedKey.of(RowBatch(columns: columns), row: 0, schema: schema.ofKey)
            ]
        }
        let buffer = ByteBuffer(capacity: 64)
        buffer.append(wanted)
        let hash = KeyedFile.hash(buffer)
        var keys = Set<[UInt8]>()
        for (file, rows) in try snapshot.files() where rows > 0 {
            let place = Candidates(file: file, schema: schema)
            let found =
                try candidates[place]
                ?? KeyedFile(file, schema, snapshot.pool).storageKeys(
                    of: wanted, hash: hash, checkpoint: checkpoint)
            candidates[place] = found
            keys.formUnion(found)
        }
        return keys
    }
}
