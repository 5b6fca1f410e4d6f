import Bytes

/// What was done at a point to keep its table quick to read, beside recording what changed.
package struct Upkeep: Sendable, Hashable {
    /// Slices written anew because of their edits, because of one page's, and to join small ones.
    package var rebased: UInt64 = 0
    package var thinned: UInt64 = 0
    package var joined: UInt64 = 0
    /// Slices written anew because a file that they need is mostly dead.
    package var salvaged: UInt64 = 0
    /// Rows written for all of these.
    package var rowsRewritten: UInt64 = 0
    /// Slices given up because no row of theirs is left, and pages cut off at slices' ends.
    package var slicesDropped: UInt64 = 0
    package var pagesDropped: UInt64 = 0
    /// Slices made of new rows as the run holds them, and slices cut in two to let some in.
    package var slicesInserted: UInt64 = 0
    package var slicesSplit: UInt64 = 0
    /// Slices whose edits were gathered from many runs, and their rows.
    package var gathered: UInt64 = 0
    package var rowsGathered: UInt64 = 0
    /// Times that tiers of a slice's edits were merged.
    package var tiersMerged: UInt64 = 0

    package init() {}

    package static func += (a: inout Upkeep, b: Upkeep) {
        a.rebased += b.rebased
        a.thinned += b.thinned
        a.joined += b.joined
        a.salvaged += b.salvaged
        a.rowsRewritten += b.rowsRewritten
        a.slicesDropped += b.slicesDropped
        a.pagesDropped += b.pagesDropped
        a.slicesInserted += b.slicesInserted
        a.slicesSplit += b.slicesSplit
        a.gathered += b.gathered
        a.rowsGathered += b.rowsGathered
        a.tiersMerged += b.tiersMerged
    }
}

/// Which slices of a table a point writes anew: those with most edits first, then groups of small
/// neighbours, within a budget, so that no point rewrites the table because many fall due at once.
///
/// What the point itself changes isn't known yet when it begins. So the budget is measured by what
/// the point before changed, which comes to the same over a chain. Nor is a slice cut in pieces: one
/// more than the budget allows is taken as often as makes the budget come true on average, where the
/// parent's content decides, so that the same history gives the same files.
struct RewritePlan {
    enum Reason { case edits, smallNeighbours, deadFiles }

    private(set) var slices: [SlicePlace: Reason] = [:]
    private(set) var blocks: Set<Int> = []

    /// - Parameters:
    ///   - deadFiles: files of which so little is left that it is to be copied out of them, and how
    ///     many of their rows are dead. Slices that need one come first, if there is more to be won
    ///     than to be written.
    ///   - dice: any number from the parent's content.
    init(
        _ parent: Snapshot, parentChanges: UInt64, deadFiles: [UInt64: UInt64], dice: UInt64,
        limits: FormatLimits
    ) throws {
        var due: [(reason: Reason, percent: UInt64, rows: UInt64, places: [SlicePlace])] = []
        for (number, block) in try parent.root().blocks.enumerated() {
            let sums = try parent.sliceSums(of: block)
            for (index, slice) in sums.enumerated() where limits.isDue(slice.pages) {
                let percent = slice.pages.edits * 100 / max(slice.pages.baseRows, 1)
                let place = SlicePlace(block: number, slice: index)
                due.append((.edits, percent, slice.pages.rows, [place]))
            }
            for group in Self.smallNeighbours(sums.map(\.pages), limits) {
                let rows = sums[group].reduce(0) { $0 + $1.pages.rows }
                let places = group.map { SlicePlace(block: number, slice: $0) }
                due.append((.smallNeighbours, 0, rows, places))
            }
            for (index, dead) in try parent.slices(of: block, needing: deadFiles)
            where dead >= sums[index].pages.rows {
                let place = SlicePlace(block: number, slice: index)
                due.append((.deadFiles, .max, sums[index].pages.rows, [place]))
            }
        }
        due.sort { $0.percent > $1.percent }
        var budget = limits.rebaseBudget(forChanges: parentChanges)
        for item in due {
            if item.rows > budget {
                if dice % item.rows >= budget { break }
                budget = item.rows
            }
            budget -= item.rows
            for place in item.places {
                slices[place] = slices[place] ?? item.reason
                blocks.insert(place.block)
            }
        }
    }

    /// Neighbours that together make a good part of a row group, or are many.
    static func smallNeighbours(_ slices: [PageSums], _ limits: FormatLimits) -> [Range<Int>] {
        var groups: [Range<Int>] = []
        var first = 0
        while first < slices.count {
            var end = first
            var rows = 0
            while end < slices.count, rows < limits.rowGroupRows, limits.isSmall(slices[end]) {
                rows += Int(slices[end].rows)
                end += 1
            }
            if end - first > 1, rows >= limits.rowGroupRows / 2 || end - first >= limits.joinSlices
            {
                groups.append(first..<end)
            }
            first = max(end, first + 1)
        }
        return groups
    }
}

extension FormatLimits {
    /// Rows that may be written anew for so many that changed.
    func rebaseBudget(forChanges rows: UInt64) -> UInt64 { rows * UInt64(rebaseBudget) / 100 }

    /// Whether a slice has so many edits that it should be written anew when there is time.
    func isDue(_ sums: PageSums) -> Bool { exceeds(sums, percent: rebasePercent) }

    /// Whether a slice is to be written anew now, whatever it costs.
    func isOverdue(_ sums: PageSums) -> Bool { exceeds(sums, percent: rebaseAlwaysPercent) }

    private func exceeds(_ sums: PageSums, percent: Int) -> Bool {
        sums.edits > UInt64(rebaseMinEdits) && sums.edits * 100 > sums.baseRows * UInt64(percent)
    }

    /// Whether so many rows were inserted into a page that reading a few of them costs too much.
    func isFat(_ page: PageSums) -> Bool {
        page.rows > UInt64(pageRows * fatPages) && page.rows > page.baseRows
    }

    /// Whether the changes of many points made a page so large that the next ones could make it larger
    /// than readers can bear.
    func isHeavy(_ page: PageSums) -> Bool {
        page.edits > 0 && page.rows > 1 && page.valueBytes > UInt64(heavyPageBytes * 16)
    }

    /// Whether new rows at one place are so many, or so large, that they become slices.
    func fillSlice(rows: Int, bytes: UInt64) -> Bool {
        rows >= insertedSliceRows || bytes >= UInt64(rowGroupBytes)
    }

    /// Whether a slice would be better joined with its neighbours. Counts bytes too, as row groups
    /// of large rows have few of them.
    func isSmall(_ sums: PageSums) -> Bool {
        sums.rows < UInt64(max(rowGroupRows / 4, 1)) && sums.csvBytes < UInt64(rowGroupBytes / 8)
    }
}
