import Bytes

/// What rows, pages and slices come to in every format: the one place where sizes are counted.
package struct RowMeasure: Sendable {
    private let csv: CSVRenderer
    /// Nil where dumps aren't counted.
    private let dump: CSVRenderer?
    /// What the hidden rowid is as a dump's column: `dump` is of the visible ones.
    private let rowID: (column: Int, form: CSVForm)?
    /// Of the visible columns, as all that is counted here.
    private let isVariable: [Bool]
    private let parquet: [ParquetForm]

    /// - Parameter lacking: formats that aren't counted.
    package init(_ schema: TableSchema, lacking: Set<SizedFormat> = []) {
        csv = CSVRenderer(schema)
        let isDumped = !lacking.contains(.dump)
        dump = isDumped ? CSVRenderer(dumping: schema.visibleColumns) : nil
        rowID =
            isDumped
            ? schema.hiddenRowID.map { ($0, CSVRenderer(dumping: [schema.columns[$0]]).forms[0]) }
            : nil
        isVariable = schema.visibleColumns.map { $0.type.layout == .variable }
        parquet = schema.visibleColumns.map { ParquetForm($0.type) }
    }

    var columns: Range<Int> { parquet.indices }

    /// The sums of consecutive rows; base rows and edits are the caller's to count.
    package func measure(_ batch: RowBatch, _ rows: Range<Int>) -> PageSums {
        var sums = PageSums()
        add(batch, rows, to: &sums)
        return sums
    }

    /// Adds consecutive rows to what there is. Base rows and edits are the caller's to count.
    package func add(_ batch: RowBatch, _ rows: Range<Int>, to sums: inout PageSums) {
        sums.rows += UInt64(rows.count)
        sums.fill(isVariable.count)
        // Separators first; values column by column.
        sums.csvBytes += UInt64(rows.count * isVariable.count)
        if dump != nil { sums.dumpBytes += UInt64(rows.count * isVariable.count) }
        for index in isVariable.indices {
            let column = batch.columns[index]
            let nulls = UInt64(column.nullCount(in: rows))
            sums.columns[index].nulls += nulls
            if isVariable[index] {
                sums.columns[index].valueBytes += UInt64(column.valueBytes(in: rows))
            }
            let text = column.byteCount(rows, as: csv.forms[index])
            sums.csvBytes += text
            guard let dump else { continue }
            // Most look alike.
            let isSame = dump.forms[index] == csv.forms[index]
            sums.dumpBytes += isSame ? text : column.byteCount(rows, as: dump.forms[index])
            sums.dumpBytes += nulls * UInt64(dump.null.bytes)
        }
        if let rowID {
            sums.rowIDBytes += UInt64(rows.count)
            sums.rowIDBytes += batch.columns[rowID.column].byteCount(rows, as: rowID.form)
        }
    }

    /// Bytes of one column's page as Parquet.
    func parquetBytes(_ page: PageSums, column: Int) -> UInt64 {
        if page.rows == 0 { return 0 }
        let sums = page.columns.isEmpty ? ColumnSums() : page.columns[column]
        return parquet[column].pageBytes(
            rows: page.rows, nulls: sums.nulls, valueBytes: sums.valueBytes)
    }

    /// What the pages of a slice come to.
    package func sums(ofSlice pages: [PageSums]) -> SliceSums {
        var sums = SliceSums()
        sums.fill(parquet.count)
        for page in pages {
            sums.pages += page
            for column in parquet.indices {
                sums.parquetBytes[column] += parquetBytes(page, column: column)
            }
        }
        sums.filledSlices = sums.pages.rows > 0 ? 1 : 0
        return sums
    }
}
