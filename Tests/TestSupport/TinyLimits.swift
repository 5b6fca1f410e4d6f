import Tables

extension FormatLimits {
    /// So small that a few dozen rows fill pages, slices and blocks.
    package static var tiny: FormatLimits {
        var limits = FormatLimits()
        limits.pageRows = 3
        limits.runPageRows = 2
        limits.runGroupRows = 5
        limits.rowGroupRows = 8
        limits.blockSlices = 2
        limits.insertedSliceRows = 6
        return limits
    }
}
