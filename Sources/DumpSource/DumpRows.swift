import Bytes
import Tables

/// The rows of a table's data files as they come: fields between commas, in the order of `scheme.pb`,
/// a line a row.
///
/// Of whole tables a row has all columns. Of an incremental it is a row of `DeltaRows`, by what its
/// markers say.
final class DumpRows: RowCursor {
    /// Where a row's fields go.
    struct Field {
        var name: String
        var type: ColumnType
        var isNotNull: Bool
        /// Index in the batch; nil if nobody wants it.
        var column: Int?
    }

    private let lines: DumpLines
    private let fields: [Field]
    private let markers: DumpMarkers?
    /// Columns of the batch, the marks' one left out, that no field is for.
    private let missing: [Int]
    private let columnCount: Int
    private let value = DumpValue()
    /// Of the present line's fields.
    private var ranges: [Range<Int>] = []
    /// Lines of the rows that the last call appended, in runs of consecutive ones.
    private(set) var places: [(firstRow: Int, file: String, line: Int)] = []

    /// - Parameters:
    ///   - columnCount: of the batches, the marks' column left out.
    ///   - markers: nil for whole tables.
    init(_ files: [DumpFile], _ fields: [Field], columnCount: Int, markers: DumpMarkers? = nil) {
        lines = DumpLines(files)
        self.fields = fields
        self.columnCount = columnCount
        self.markers = markers
        let given = Set(fields.compactMap(\.column))
        missing = (0..<columnCount).filter { !given.contains($0) }
    }

    func next(into batch: RowBatch, maxRows: Int, maxBytes: Int) throws -> Bool {
        places = []
        while batch.count < maxRows, batch.byteCount <= maxBytes {
            guard let line = try lines.nextLine() else { return false }
            if places.last.map({ $0.file != lines.file }) ?? true {
                places.append((batch.count, lines.file, lines.line))
            }
            try split(line)
            try append(to: batch)
        }
        return true
    }

    /// The file and line of a row that the last call appended.
    func place(ofRow row: Int) -> String {
        guard let run = places.last(where: { $0.firstRow <= row }) else { return lines.place }
        return "\(run.file):\(run.line + row - run.firstRow)"
    }

    private func split(_ line: Range<Int>) throws(Failure) {
        ranges.removeAll(keepingCapacity: true)
        let bytes = lines.bytes
        let span = bytes.span
        var start = line.lowerBound
        var place = start
        while place < line.upperBound {
            if span[place] == UInt8(ascii: ",") {
                ranges.append(start..<place)
                start = place + 1
            }
            place += 1
        }
        ranges.append(start..<place)
        guard ranges.count == fields.count else {
            throw failure(
                "the row has \(ranges.count) \(ranges.count == 1 ? "field" : "fields"), the table "
                    + "has \(fields.count)")
        }
    }

    private func append(to batch: RowBatch) throws {
        let bytes = lines.bytes
        let span = bytes.span
        try markers?.begin(span, ranges, at: lines)
        for index in fields.indices {
            guard let column = fields[index].column else { continue }
            let field = span.extracting(ranges[index])
            if field.equals("null") || markers?.leavesOut(index) == true {
                guard !fields[index].isNotNull else {
                    throw failure("column \(fields[index].name) is NOT NULL, and the field is null")
                }
                batch.columns[column].appendNull()
            } else if !value.append(field, fields[index].type, to: batch.columns[column]) {
                throw failure(
                    "column \(fields[index].name): \(shown(field)) is no \(fields[index].type.name)"
                )
            }
        }
        for column in missing { batch.columns[column].appendNull() }
        if let markers {
            batch.columns[columnCount].append(bytes: markers.marks(fields, count: columnCount))
        }
    }

    private func failure(_ what: String) -> Failure {
        Failure(.corrupt, "\(lines.place): \(what)")
    }

    /// A field for a message.
    private func shown(_ field: Span<UInt8>) -> String {
        let maxBytes = 60
        var bytes: [UInt8] = []
        for index in field.indices.prefix(maxBytes) { bytes.append(field[index]) }
        let text = String(decoding: bytes, as: UTF8.self)
        return field.count == 0 ? "nothing" : text + (field.count > maxBytes ? "…" : "")
    }
}
