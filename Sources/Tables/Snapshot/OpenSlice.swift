import Bytes

/// A slice of the parent whose changes are being put in, in key order.
///
/// New rows that become slices of their own cut it in two. What lies in front of them is handed out
/// then; the rest goes on, still by the positions, pages and edits of the parent.
struct OpenSlice {
    /// With its edits.
    let parent: Slice
    let isRewritten: Bool
    /// Whether keys behind all others of the table belong to it.
    let isTableEnd: Bool
    var isChanged = false
    /// Runs that its edits lie in.
    var runs = 0
    /// New rows at the place that was reached, which those of the next part may go on.
    var newRows: NewRows?
    private var splicer: EditSplicer
    /// The parent's pages, with the changes so far.
    private var pages: [PageSums]
    /// Bytes of values that were put into a page since it or what is left of it began.
    private var gained = (page: 0, bytes: UInt64(0))
    /// Where what wasn't handed out yet begins.
    private var start = (position: 0, page: 0)
    private var lowerBound: [UInt8]

    init(_ slice: Slice, isRewritten: Bool, isTableEnd: Bool) {
        parent = slice
        self.isRewritten = isRewritten
        self.isTableEnd = isTableEnd
        splicer = EditSplicer(slice.edits)
        pages = slice.pages
        lowerBound = slice.lowerBound
    }

    mutating func put(_ splice: Splice) { splicer.put(splice) }

    mutating func count(_ stretch: Stretch) throws(Failure) {
        try pages[stretch.page].replace(stretch.loss, by: stretch.gain)
        if gained.page != stretch.page { gained = (stretch.page, 0) }
        gained.bytes += stretch.gain.valueBytes
    }

    /// Whether a stretch is to go into another page than what was put into its page so far, because both
    /// are too many bytes.
    func isHeavy(_ stretch: Stretch, limit: Int) -> Bool {
        !isRewritten && gained.page == stretch.page && gained.bytes > 0
            && gained.bytes + stretch.gain.valueBytes > UInt64(limit)
    }

    /// Whether new rows become slices, few as they may be: where a table grows a little at each of
    /// many points, they would pile up in its last page.
    func pilesUp(_ rows: NewRows, limit: Int) -> Bool {
        !isRewritten && isTableEnd && rows.place == parent.end
            && pages[rows.page].edits + UInt64(rows.count) > UInt64(limit)
    }

    /// What lies in front of a place. The rest begins anew.
    ///
    /// - Parameter rest: what the parent has behind the place in its page.
    mutating func cut(at place: InsertPlace, page: Int, rest: Slice) throws(Failure) -> Slice {
        try pages[page].replace(rest.pages[0], by: PageSums())
        pages[page].baseRows -= rest.pages[0].baseRows
        let front = part(
            before: Int(place.position), lastPage: page, edits: splicer.take(upTo: place.edit))
        pages[page] = rest.pages[0]
        gained = (page, 0)
        start = (Int(place.position), page)
        lowerBound = rest.lowerBound
        return front
    }

    /// What is left.
    mutating func finish() -> Slice {
        part(before: parent.count, lastPage: pages.count - 1, edits: splicer.finish())
    }

    private func part(before end: Int, lastPage: Int, edits: [Edit]) -> Slice {
        var part = parent
        part.lowerBound = lowerBound
        part.count = end - start.position
        if part.count == 0 {
            (part.file, part.rowGroup, part.firstRow) = (0, 0, 0)
        } else {
            part.firstRow += start.position
        }
        part.pages = Array(pages[start.page...lastPage])
        part.edits = edits.shifted(by: start.position)
        // Inserts in front of a page belong to the one before it, now that they end the slice.
        if part.pages.count > 1, pages[lastPage].baseRows == 0 {
            part.pages[part.pages.count - 2] += part.pages.removeLast()
        }
        return part
    }
}

/// Inserts at one place of a slice: edits if they stay few, slices if they get many.
struct NewRows {
    let place: InsertPlace
    let page: Int
    private(set) var count = 0
    private(set) var valueBytes: UInt64 = 0
    /// Those that weren't written yet.
    var held: [PlacedRows] = []
    /// Whether they are being written as slices.
    var areSlices = false

    mutating func hold(_ rows: PlacedRows) {
        held.append(rows)
        count += rows.changes.count
        valueBytes += rows.stretch.gain.valueBytes
    }
}

/// A stretch of changes, and where their rows are.
struct PlacedRows {
    let stretch: Stretch
    let changes: ArraySlice<PlacedChange>
    let sources: [ChangeRows]
}
