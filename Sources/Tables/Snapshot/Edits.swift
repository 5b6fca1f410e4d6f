import Bytes

/// Where a row of a run lies: the file's number in the collection, and the row counted from the
/// file's begin.
package struct RunRow: Sendable, Hashable {
    package var file: UInt64
    package var row: UInt32

    package init(file: UInt64, row: UInt32) {
        self.file = file
        self.row = row
    }
}

/// One difference between a slice and its rows at a point, at a position of the slice.
///
/// Positions are 0…n of a slice of n base rows. At one position come first inserts, which stand
/// before the base row, in key order, then at most one replace or delete of the base row. A key
/// equal to a base row's is never an insert, also after a delete.
package struct Edit: Sendable, Hashable {
    package enum Kind: UInt8, Sendable {
        case delete, replace, insert
        /// Nothing at this position any more, whatever older tiers say. Within tiers only.
        case clear

        /// Whether there is a row of a run.
        var hasRow: Bool { self == .replace || self == .insert }
    }

    package var position: UInt32
    package var kind: Kind
    /// The row that replaces or is inserted; else of no meaning.
    package var row: RunRow

    package init(_ kind: Kind, at position: UInt32, row: RunRow = RunRow(file: 0, row: 0)) {
        self.position = position
        self.kind = kind
        self.row = row
    }
}

/// One step of a change to a slice's edits: what stands in front of the old edit at `index`, and
/// whether that one goes.
///
/// Splices of later keys have the same or a higher index, so that parts of a slice can be worked on
/// apart from each other and put together in order.
package struct Splice: Sendable, Hashable {
    package var index: Int
    package var removes: Bool
    package var edit: Edit?

    package init(index: Int, removes: Bool, edit: Edit?) {
        self.index = index
        self.removes = removes
        self.edit = edit
    }
}

/// A place between two neighbours in a slice, base rows and inserts alike.
package struct InsertPlace: Sendable, Hashable {
    /// Of the base row behind it.
    package var position: UInt32
    /// Index of the old edit behind it.
    package var edit: Int
}

extension Splice {
    /// Where it puts in a row whose key had neither a base row nor an edit.
    var insertPlace: InsertPlace? {
        guard !removes, let edit, edit.kind == .insert else { return nil }
        return InsertPlace(position: edit.position, edit: index)
    }
}

/// Walks the edits of a slice in key order and says how changes alter them: the edit algebra.
///
/// For each change, in strictly increasing key order: `seek` to where its key belongs, look at the
/// edit that is there, then `keep`, `put` or `remove`. It never reads a row: the caller compares
/// keys of inserted rows when asked.
package struct EditWalker {
    private let old: [Edit]
    private var next: Int
    private var isAtEdit = false

    /// - Parameter position: no key before it will be sought.
    package init(_ edits: [Edit], from position: UInt32 = 0) {
        old = edits
        next = edits.firstIndex(at: Int(position))
    }

    /// Moves to the place of a key that belongs at `position`; `hitsBase` if the base row there has
    /// this very key. Answers the edit that concerns the key now, if any.
    ///
    /// `order` compares the key of an inserted row with the one that is sought: negative if it is
    /// before. It is asked only for inserts at `position`, and never if `hitsBase`.
    package mutating func seek(
        position: UInt32, hitsBase: Bool, order: (RunRow) throws -> Int
    ) rethrows -> Edit? {
        precondition(!isAtEdit)
        while next < old.count {
            let edit = old[next]
            if edit.position > position { return nil }
            if edit.position == position {
                if hitsBase, edit.kind != .insert { return found(edit) }
                if !hitsBase {
                    if edit.kind != .insert { return nil }
                    let order = try order(edit.row)
                    if order == 0 { return found(edit) }
                    if order > 0 { return nil }
                }
            }
            next += 1
        }
        return nil
    }

    private mutating func found(_ edit: Edit) -> Edit {
        isAtEdit = true
        return edit
    }

    /// Leaves things as they are at the place sought.
    package mutating func keep() { _ = splice(nil) }

    /// Puts an edit where the key sought belongs, instead of the one found there, if any.
    package mutating func put(_ edit: Edit) -> Splice { splice(edit) }

    /// Takes away the edit found.
    package mutating func remove() -> Splice {
        precondition(isAtEdit)
        return splice(nil)
    }

    private mutating func splice(_ edit: Edit?) -> Splice {
        defer {
            if isAtEdit { next += 1 }
            isAtEdit = false
        }
        return Splice(index: next, removes: isAtEdit, edit: edit)
    }

    /// What a change of a key does, given whether the base has the key (at `position`) and which
    /// edit concerns it now: the new edit, or none. `row` is nil for a deletion.
    package static func outcome(
        position: UInt32, hitsBase: Bool, row: RunRow?
    ) -> Edit? {
        switch (hitsBase, row) {
        case (true, let row?): Edit(.replace, at: position, row: row)
        case (true, nil): Edit(.delete, at: position)
        case (false, let row?): Edit(.insert, at: position, row: row)
        case (false, nil): nil
        }
    }
}

/// Puts splices, which come in order, into the edits that they are of.
package struct EditSplicer {
    private let old: [Edit]
    private var result: [Edit] = []
    private var next = 0

    package init(_ edits: [Edit]) { old = edits }

    package mutating func put(_ splice: Splice) {
        result.append(contentsOf: old[next..<splice.index])
        next = splice.index + (splice.removes ? 1 : 0)
        if let edit = splice.edit { result.append(edit) }
    }

    /// The new edits that stand in front of the old one at `index` and weren't taken yet.
    package mutating func take(upTo index: Int) -> [Edit] {
        result.append(contentsOf: old[next..<index])
        next = index
        defer { result = [] }
        return result
    }

    /// All that weren't taken yet.
    package mutating func finish() -> [Edit] { take(upTo: old.count) }
}

/// Edits of a slice are stored in tiers, so that a point writes in proportion to what it changed: a
/// newer tier overrides older ones, position by position, all edits at a position at once.
extension [Edit] {
    /// The tier that makes `new` of these edits.
    package func difference(to new: [Edit]) -> [Edit] {
        var result: [Edit] = []
        var (i, j) = (0, 0)
        while i < count || j < new.count {
            let position = Swift.min(
                i < count ? self[i].position : .max, j < new.count ? new[j].position : .max)
            let (before, after) = (
                end(ofPosition: position, from: i), new.end(ofPosition: position, from: j)
            )
            if i == before || j == after || self[i..<before] != new[j..<after] {
                if j == after { result.append(Edit(.clear, at: position)) }
                result.append(contentsOf: new[j..<after])
            }
            (i, j) = (before, after)
        }
        return result
    }

    /// This tier and a newer one as one.
    package func overridden(by newer: [Edit]) -> [Edit] {
        var result: [Edit] = []
        result.reserveCapacity(count + newer.count)
        var (i, j) = (0, 0)
        while j < newer.count {
            let position = newer[j].position
            while i < count, self[i].position < position {
                result.append(self[i])
                i += 1
            }
            i = end(ofPosition: position, from: i)
            while j < newer.count, newer[j].position == position {
                result.append(newer[j])
                j += 1
            }
        }
        result.append(contentsOf: self[i...])
        return result
    }

    /// All tiers of a slice, oldest first, as its edits.
    package static func merging(_ tiers: [[Edit]]) -> [Edit] {
        guard var result = tiers.last else { return [] }
        for tier in tiers.dropLast().reversed() { result = tier.overridden(by: result) }
        result.removeAll { $0.kind == .clear }
        return result
    }

    private func end(ofPosition position: UInt32, from start: Int) -> Int {
        var end = start
        while end < count, self[end].position == position { end += 1 }
        return end
    }
}

extension [Edit] {
    /// The edits of a slice that begins so many rows later.
    func shifted(by rows: Int) -> [Edit] {
        rows == 0 ? self : map { Edit($0.kind, at: $0.position - UInt32(rows), row: $0.row) }
    }

    /// How many files the rows of edits lie in. They are few.
    var runs: Int {
        var files: [UInt64] = []
        for edit in self where edit.kind.hasRow {
            if !files.contains(edit.row.file) { files.append(edit.row.file) }
        }
        return files.count
    }

    /// Checks what `Edit` promises, but for key order; for edits that come from a file.
    func isValid(sliceRows: Int) -> Bool {
        var previous: Edit?
        for edit in self {
            if edit.kind == .clear { return false }
            if edit.kind == .insert ? edit.position > sliceRows : edit.position >= sliceRows {
                return false
            }
            if let previous {
                if edit.position < previous.position { return false }
                if edit.position == previous.position, previous.kind != .insert { return false }
            }
            previous = edit
        }
        return true
    }

    /// Index of the first edit at `position` or behind.
    func firstIndex(at position: Int) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if Int(self[middle].position) < position { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
