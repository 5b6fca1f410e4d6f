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
    private let type: ColumnType

    /// Bytes of a UUID's text.
    private static let uuidBytes = 36
    /// Bytes of every page header: its numbers are padded to the same length.
    private static let headerBytes = 29
    /// Longer values are no bounds.
    static let maxBoundBytes = 64

    init(_ type: ColumnType) {
        self.type = type
        switch type {
        case .datetime: (conversion, layout) = (.unsignedSeconds, .fixed(8))
        case .datetime64: (conversion, layout) = (.seconds, .fixed(8))
        case .uuid: (conversion, layout) = (.uuidText, .variable)
        default: (conversion, layout) = (.none, type.layout)
        }
    }

    // MARK: Pages

    /// Bytes of a page with its header; there is none without rows.
    func pageBytes(rows: UInt64, nulls: UInt64, valueBytes: UInt64) -> UInt64 {
        if rows == 0 { return 0 }
        let converted =
            conversion == .uuidText ? UInt64(Self.uuidBytes) * (rows - nulls) : valueBytes
        return UInt64(Self.headerBytes)
            + PageCodec.bodyBytes(rows: rows, nulls: nulls, layout: layout, valueBytes: converted)
    }

    /// Appends the header of a page of `bytes` bytes, with its header, to an empty buffer.
    static func writeHeader(rows: Int, bytes: Int, into output: ByteBuffer) {
        writeHeader(rows: rows, bodyBytes: bytes - headerBytes, into: output)
    }

    /// The same, given the bytes behind the header.
    static func writeHeader(rows: Int, bodyBytes body: Int, into output: ByteBuffer) {
        var writer = ThriftWriter(into: output)
        writer.element {
            $0.int32(1, 0)
            $0.padded32(2, body)
            $0.padded32(3, body)
            $0.structure(5) {
                $0.padded32(1, rows)
                $0.int32(2, 0)
                $0.int32(3, 3)
                $0.int32(4, 3)
            }
        }
        precondition(output.count == headerBytes)
    }

    /// The values as they are in the file.
    func convert(_ column: ColumnVector) -> ColumnVector {
        if case .none = conversion { return column }
        let converted = ColumnVector(layout)
        for row in 0..<column.count {
            if column.isNull(row) {
                converted.appendNull()
                continue
            }
            switch conversion {
            case .none: break
            case .unsignedSeconds:
                converted.append(Int64(column.value(row, as: UInt32.self)) * 1000)
            case .seconds: converted.append(column.value(row, as: Int64.self) &* 1000)
            case .uuidText: converted.append(uuidText: column, row: row)
            }
        }
        return converted
    }

    // MARK: Bounds

    /// Bytes of the longest bound.
    var boundBytes: Int {
        switch layout {
        case .fixed(let width): width
        case .variable: conversion == .uuidText ? Self.uuidBytes : Self.maxBoundBytes
        }
    }

    /// A value of a column whose rows are in key order, as Parquet's statistics hold it. Nil if it
    /// can't be a bound: if it is too long, if readers differ about it (NaN, zeros), or if our order
    /// isn't Parquet's beyond it (numbers that no database has in such a column).
    func bound(_ column: ColumnVector, row: Int) -> [UInt8]? {
        if column.isNull(row) { return nil }
        let isSound =
            switch type {
            case .float: Self.isSound(Double(column.value(row, as: Float.self)))
            case .double: Self.isSound(column.value(row, as: Double.self))
            case .date: column.value(row, as: UInt32.self) <= UInt32(Int32.max)
            case .timestamp: column.value(row, as: UInt64.self) <= UInt64(Int64.max)
            case .datetime64: column.value(row, as: Int64.self).magnitude <= 1 << 53
            default: true
            }
        guard isSound else { return nil }
        let value = ColumnVector(column.layout)
        value.append(column, row: row)
        let bytes = convert(value).bytes(0)
        return bytes.count <= Self.maxBoundBytes ? bytes : nil
    }

    private static func isSound(_ value: Double) -> Bool { !value.isNaN && value != 0 }
}
