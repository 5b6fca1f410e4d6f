extension Sequence<UInt64> {
    /// The sum; of numbers that come to more than `UInt64.totalLimit`, as forged ones may, that limit.
    package var total: UInt64 {
        reduce(0) { Swift.min($0 + Swift.min($1, .totalLimit), .totalLimit) }
    }
}

extension UInt64 {
    /// More than anything that is counted comes to, and so little that two of them can be added.
    package static var totalLimit: UInt64 { 1 << 62 }
}
