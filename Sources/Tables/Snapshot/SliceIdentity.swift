/// What decides a slice's rows: equal ones have equal rows.
struct SliceIdentity: Hashable, Sendable {
    let file: UInt64
    let rowGroup: Int
    let firstRow: Int
    let baseRows: [UInt64]
    let tiers: [EditTier]

    init(_ slice: Slice) {
        file = slice.file
        rowGroup = slice.rowGroup
        firstRow = slice.firstRow
        baseRows = slice.pages.map(\.baseRows)
        tiers = slice.tiers
    }
}
