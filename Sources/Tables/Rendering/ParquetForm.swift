import Bytes

/// How a column's values look in a rendered Parquet file: as in our row files, but for what some
/// reader takes ill or has no type for.
struct ParquetForm: Sendable {
    enum Conversion: Sendable {
        /// The same bytes.
        case none
        /// Seconds of 4 bytes, and of 8, to milliseconds: Parquet has no seconds.
        case unsignedSeconds, seconds
        /// 16 bytes to their text: Spark refuses files that have Parquet's UUID.
        case uuidText
    }

    let conversion: Conversion
    /// Of the converted values.
    let layout: ColumnVector.Layout

    /// Bytes of a UUID's text.
    static let uuidBytes = 36
    /// Bytes of every page header: its numbers are padded to the same length.
    static let headerBytes = 29

    init(_ type: ColumnType) {
        switch type {
        case .datetime: (conversion, layout) = (.unsignedSeconds, .fixed(8))
        case .datetime64: (conversion, layout) = (.seconds, .fixed(8))
        case .uuid: (conversion, layout) = (.uuidText, .variable)
        default: (conversion, layout) = (.none, type.layout)
        }
    }

    /// Bytes of a page with its header; there is none without rows.
    func pageBytes(rows: UInt64, nulls: UInt64, valueBytes: UInt64) -> UInt64 {
        if rows == 0 { return 0 }
        let converted =
            conversion == .uuidText ? UInt64(Self.uuidBytes) * (rows - nulls) : valueBytes
        return UInt64(Self.headerBytes)
            + PageCodec.bodyBytes(
                rows: rows, nulls: nulls, layout: layout, valueBytes: converted)
    }
}
