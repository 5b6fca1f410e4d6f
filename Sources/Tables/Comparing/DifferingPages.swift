/// The pages of two snapshots of one table, in the same order, that may show different rows, and which
/// rows of them.
///
/// Snapshots of a chain share most of what they consist of:
/// ```
/// blocks         the same object: the same rows
/// slices         the same stored rows and tiers of edits: the same rows
/// pages          the same stored rows: only rows whose edits differ may be others
/// ```
/// What is the same is in the same order on both sides, so that it can be left out of both. Nothing but
/// indexes is read for it. Keys between two bounds that both snapshots have are looked at at a time.
/// Used by one thread.
final class DifferingPages {
    private struct Choice {
        let place: SlicePlace
        let page: Int
        /// Nil: all rows.
        var shown: [ShownRow]?
    }
    private struct StoredSlice: Hashable {
        let file: UInt64
        let rowGroup: Int
    }
    /// A page of a row group by the base rows that it shows, dead ones included.
    private struct StoredRows: Hashable {
        let slice: StoredSlice
        let rows: Range<Int>
    }
    private final class Side {
        let snapshot: Snapshot
        var walk: SliceWalk
        var choices: [Choice] = []
        var next = 0

        init(_ snapshot: Snapshot) throws {
            self.snapshot = snapshot
            walk = try SliceWalk(snapshot)
        }
    }

    private let old: Side
    private let new: Side
    private let joined: JoinedSchema
    private var isPlain: [UInt64: Bool] = [:]
    private let checkpoint: () throws -> Void

    /// - Parameter checkpoint: called now and then; throws to stop.
    init(
        old: Snapshot, new: Snapshot, joined: JoinedSchema, checkpoint: @escaping () throws -> Void
    ) throws {
        precondition(old.pool === new.pool && joined.haveSameOrder)
        self.old = try Side(old)
        self.new = try Side(new)
        self.joined = joined
        self.checkpoint = checkpoint
    }

    func nextOld() throws -> WantedPage? { try next(old) }

    func nextNew() throws -> WantedPage? { try next(new) }

    private func next(_ side: Side) throws -> WantedPage? {
        while side.next == side.choices.count {
            side.choices = []
            side.next = 0
            guard try advance() else { return nil }
        }
        let choice = side.choices[side.next]
        side.next += 1
        let slice = try side.snapshot.slice(choice.place).slice
        if choice.page == 0, choice.shown == nil { try side.snapshot.pool.willNeed(slice) }
        return WantedPage(
            slice: slice, number: choice.page, isSequential: choice.shown == nil,
            shown: choice.shown)
    }

    /// Looks at the slices up to the next bound that both sides have; false at the end.
    private func advance() throws -> Bool {
        try checkpoint()
        if joined.hasNoDoubt {
            while let block = old.walk.blockAhead, block == new.walk.blockAhead {
                try old.walk.skipBlock()
                try new.walk.skipBlock()
            }
        }
        if old.walk.bound == nil, new.walk.bound == nil { return false }
        var olds = try old.walk.bound == nil ? [] : [old.walk.take()]
        var news = try new.walk.bound == nil ? [] : [new.walk.take()]
        while old.walk.bound != new.walk.bound {
            if let bound = old.walk.bound, new.walk.bound.map({ isBefore(bound, $0) }) ?? true {
                olds.append(try old.walk.take())
            } else {
                news.append(try new.walk.take())
            }
        }
        if olds.count == 1, news.count == 1,
            SliceIdentity(olds[0].slice) == SliceIdentity(news[0].slice),
            try isPlain(olds[0], of: old.snapshot)
        {
            return true
        }
        try choose(olds, news)
        return true
    }

    /// Adds the pages of both sides that may differ.
    private func choose(_ olds: [SliceWalk.Found], _ news: [SliceWalk.Found]) throws {
        let isPair = olds.count == 1 && news.count == 1
        func stored(_ found: SliceWalk.Found) -> StoredSlice {
            StoredSlice(file: found.slice.file, rowGroup: found.slice.rowGroup)
        }
        var shared = Set(olds.map(stored)).intersection(news.map(stored))
        // Slices without base rows are no part of a file.
        if !isPair { shared = shared.filter { $0.file != 0 } }
        var oldChoices: [Choice] = []
        var newChoices: [Choice] = []
        var known: [StoredRows: Int] = [:]
        for found in olds {
            let slice = stored(found)
            let isShared = try shared.contains(slice) && isPlain(found, of: old.snapshot)
            for (page, rows) in found.slice.storedRows.enumerated() {
                if isShared { known[StoredRows(slice: slice, rows: rows)] = oldChoices.count }
                oldChoices.append(Choice(place: found.place, page: page))
            }
        }
        for found in news {
            let slice = stored(found)
            let isShared = try shared.contains(slice) && isPlain(found, of: new.snapshot)
            for (page, rows) in found.slice.storedRows.enumerated() {
                var choice = Choice(place: found.place, page: page)
                let rows = StoredRows(slice: slice, rows: rows)
                if isShared, let index = known.removeValue(forKey: rows) {
                    try compare(&oldChoices[index], &choice)
                }
                newChoices.append(choice)
            }
        }
        old.choices += oldChoices.lazy.filter { $0.shown?.isEmpty != true }
        new.choices += newChoices.lazy.filter { $0.shown?.isEmpty != true }
    }

    /// Leaves out what two pages of the same base rows both show.
    private func compare(_ a: inout Choice, _ b: inout Choice) throws {
        let slices = (
            try old.snapshot.slice(a.place).slice, try new.snapshot.slice(b.place).slice
        )
        (a.shown, b.shown) = PageEdits.differing(
            PageEdits(slices.0, page: a.page), PageEdits(slices.1, page: b.page))
    }

    /// Whether rows that both snapshots show of the same place are the same rows in both.
    private func isPlain(_ found: SliceWalk.Found, of snapshot: Snapshot) throws -> Bool {
        if joined.hasNoDoubt { return true }
        if found.slice.file != 0, try !isPlain(found.slice.file, snapshot.pool) { return false }
        var last: UInt64 = 0
        for edit in try snapshot.slice(found.place).slice.edits
        where edit.kind.hasRow && edit.row.file != last {
            last = edit.row.file
            if try !isPlain(last, snapshot.pool) { return false }
        }
        return true
    }

    private func isPlain(_ file: UInt64, _ pool: FilePool) throws -> Bool {
        if let known = isPlain[file] { return known }
        let plain = joined.isPlain(try pool.rowFile(file).fieldIDs)
        isPlain[file] = plain
        return plain
    }
}

extension Slice {
    /// The rows of the row group that each page shows, dead ones included.
    fileprivate var storedRows: [Range<Int>] {
        var first = firstRow
        return pages.map { page in
            defer { first += Int(page.baseRows) }
            return first..<first + Int(page.baseRows)
        }
    }
}

/// The slices of a snapshot in key order, without their edits.
struct SliceWalk {
    struct Found {
        let place: SlicePlace
        let slice: Slice
    }

    private let snapshot: Snapshot
    private let blocks: [BlockDescriptor]
    private var block = 0
    private var slice = 0
    private var content: IndexBlock?
    /// Where the next slice's keys begin; nil at the end.
    private(set) var bound: [UInt8]?

    init(_ snapshot: Snapshot) throws {
        self.snapshot = snapshot
        blocks = try snapshot.root().blocks
        bound = blocks.first?.lowerBound
    }

    /// The block that the next slice is the first of.
    var blockAhead: BlockReference? {
        slice == 0 && block < blocks.count ? blocks[block].reference : nil
    }

    mutating func skipBlock() throws {
        block += 1
        (slice, content) = (0, nil)
        bound = block < blocks.count ? blocks[block].lowerBound : nil
    }

    mutating func take() throws -> Found {
        let content =
            try self.content
            ?? snapshot.pool.block(blocks[block].reference, schema: snapshot.schema)
        self.content = content
        let found = Found(
            place: SlicePlace(block: block, slice: slice), slice: try content.slice(slice))
        if slice + 1 < content.slices.count {
            slice += 1
            bound = try content.lowerBound(slice)
        } else {
            try skipBlock()
        }
        return found
    }
}

/// The edits of a page, by their place in its slice.
struct PageEdits {
    private let edits: ArraySlice<Edit>
    private let positions: Range<Int>

    init(_ slice: Slice, page: Int) {
        edits = slice.edits(ofPage: page)
        positions = slice.positions(ofPage: page)
    }

    /// What happens at one position: rows inserted in front of the base row, and what becomes of that.
    private struct Place {
        var inserts: Range<Int>
        var change: Int?
        var end: Int
    }

    private func place(at offset: Int, from index: Int) -> Place {
        var end = index
        while end < edits.endIndex, self.offset(end) == offset, edits[end].kind == .insert {
            end += 1
        }
        let inserts = index..<end
        guard end < edits.endIndex, self.offset(end) == offset else {
            return Place(inserts: inserts, change: nil, end: end)
        }
        return Place(inserts: inserts, change: end, end: end + 1)
    }

    private func offset(_ index: Int) -> Int { Int(edits[index].position) - positions.lowerBound }

    /// Of two pages with the same base rows, the rows that only one of them shows, in order.
    static func differing(_ old: PageEdits, _ new: PageEdits) -> ([ShownRow], [ShownRow]) {
        var (olds, news): ([ShownRow], [ShownRow]) = ([], [])
        var (i, j) = (old.edits.startIndex, new.edits.startIndex)
        while i < old.edits.endIndex || j < new.edits.endIndex {
            let offset = min(
                i < old.edits.endIndex ? old.offset(i) : .max,
                j < new.edits.endIndex ? new.offset(j) : .max)
            let (before, after) = (old.place(at: offset, from: i), new.place(at: offset, from: j))
            let kept = Set(old.edits[before.inserts].lazy.map(\.row))
                .intersection(new.edits[after.inserts].lazy.map(\.row))
            olds += old.inserted(before.inserts, without: kept)
            news += new.inserted(after.inserts, without: kept)
            let (was, isNow) = (
                before.change.map { old.edits[$0] }, after.change.map { new.edits[$0] }
            )
            if was?.kind != isNow?.kind || was?.kind == .replace && was?.row != isNow?.row {
                if let row = old.row(at: offset, before.change) { olds.append(row) }
                if let row = new.row(at: offset, after.change) { news.append(row) }
            }
            (i, j) = (before.end, after.end)
        }
        return (olds, news)
    }

    private func inserted(_ range: Range<Int>, without kept: Set<RunRow>) -> [ShownRow] {
        range.filter { !kept.contains(edits[$0].row) }.map { .edit(Int32($0)) }
    }

    /// The row that stands where a base row was; nil if it was deleted.
    private func row(at offset: Int, _ change: Int?) -> ShownRow? {
        guard let change else { return .base(UInt32(positions.lowerBound + offset)) }
        return edits[change].kind == .replace ? .edit(Int32(change)) : nil
    }
}
