import Bytes

/// By which rules blocks of rows are made and known again. There is one right set; the others leave out
/// what is easily left out, for tests that show that they notice.
package struct PageRules: Sendable {
    /// Rows of a block, on the average; a power of two.
    package var blockRows: UInt64 = 8
    /// Of what is kept of pages during a cut, so much lies in memory, the rest in a temporary file.
    package var memoryBytes = 24 << 20
    /// Bits of a block's hash that count.
    package var hashBits = 128
    /// What lies in overflow pages counts.
    package var countsOverflow = true
    /// Rows in inner pages of WITHOUT ROWID tables count.
    package var countsInteriorRows = true
    /// Between two blocks that are both known there may have been others.
    package var looksBetweenBlocks = true
    /// What was kept of a table is used for that table, as it was defined, and for none else.
    package var tellsTablesApart = true
    /// As many rows must be found as blocks say.
    package var countsRows = true

    /// What a chain's first cut hashes with. A random secret, but in tests that are to see the same again.
    package var newHash: @Sendable () -> KeyedHash = { KeyedHash() }

    package init() {}

    /// Whether a block begins with the row: so of one in `blockRows` rowids, without a pattern.
    @inline(__always)
    func startsBlock(rowID: Int64) -> Bool {
        var bits = UInt64(bitPattern: rowID) &* 0x9E37_79B9_7F4A_7C15
        bits ^= bits >> 29
        bits = bits &* 0xBF58_476D_1CE4_E5B9
        bits ^= bits >> 32
        return bits & (blockRows - 1) == 0
    }

    @inline(__always)
    func startsBlock(hash: UInt128) -> Bool {
        UInt64(truncatingIfNeeded: hash) & (blockRows - 1) == 0
    }

    var hashMask: UInt128 { hashBits >= 128 ? .max : (1 << hashBits) - 1 }
}
