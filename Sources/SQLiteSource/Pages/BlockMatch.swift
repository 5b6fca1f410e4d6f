import Bytes
import Tables

/// The blocks of a table now against those of the parent: what neither has as the other has it lies in
/// `ranges`.
///
/// A block that has the first key, the number of rows and the hash that the parent's had holds the same
/// rows. Two such blocks that follow each other in both lists have nothing between them. Everywhere else
/// there is a range, from the last key of one known block to the first of the next, or without a bound
/// where there is none.
struct BlockMatch {
    private(set) var ranges = KeyRanges()
    /// Rows in blocks that are the parent's.
    private(set) var unchangedRows: UInt64 = 0
    /// Rows in the others, now.
    private(set) var changedRows: UInt64 = 0

    /// Key of the last row of the last known block.
    private let lastKnown = ByteBuffer(capacity: 64)
    /// Whether there is something between that block and what comes now.
    private var isOpen = false

    init(_ kept: KeptBlocks, _ walk: BlockWalk, rules: PageRules) throws {
        var (old, new) = (kept, walk)
        var hasOld = try old.next()
        var hasNew = try new.next()
        while hasOld || hasNew {
            let order =
                !hasNew
                ? -1
                : !hasOld
                    ? 1
                    : old.first.compare(0..<old.first.count, new.first, 0..<new.first.count)
            if order == 0, old.rows == new.rows, (old.sum ^ new.sum) & rules.hashMask == 0 {
                try know(new)
            } else {
                if order >= 0 {
                    changedRows += new.rows
                    isOpen = true
                }
                if order <= 0, rules.looksBetweenBlocks { isOpen = true }
            }
            if order <= 0 { hasOld = try old.next() }
            if order >= 0 { hasNew = try new.next() }
        }
        if isOpen { try addRange(before: nil) }
    }

    private mutating func know(_ block: BlockWalk) throws {
        if isOpen { try addRange(before: block.first.array) }
        isOpen = false
        lastKnown.removeAll()
        lastKnown.append(block.last, from: 0, count: block.last.count)
        unchangedRows += block.rows
    }

    private mutating func addRange(before upper: [UInt8]?) throws {
        try ranges.append(after: lastKnown.count == 0 ? nil : lastKnown.array, before: upper)
    }
}
