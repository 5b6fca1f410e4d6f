import Bytes
import Tables

/// What the special columns of an incremental backup's table say of a row: whether it is gone, and which
/// of its columns have changed. There have been three kinds of them:
/// ```
/// __ydb_incrBackupImpl_deleted          Bool                                    all others as they stand
///   and __ydb_incrBackupImpl_columnStates  { repeated State states = 1 }
/// __ydb_incrBackupImpl_changeMetadata   { repeated State states = 1; bool is_deleted = 2 }
///                                       State { uint32 tag = 1; bool is_null = 2; bool is_changed = 3 }
/// ```
/// A tag is the id that YDB gave a column, which no dump tells: it is found out by position.
final class DumpMarkers {
    static let deletedName = "__ydb_incrBackupImpl_deleted"
    static let statesName = "__ydb_incrBackupImpl_columnStates"
    static let metadataName = "__ydb_incrBackupImpl_changeMetadata"

    static func isMarker(_ name: String) -> Bool { name.hasPrefix("__ydb_incrBackupImpl_") }

    /// What becomes of a column of the present row.
    private enum Cell { case given, null, kept }

    /// A value column that the incremental has.
    private struct ValueColumn {
        var field: Int
        /// Its number among the table's own columns, from 1 on.
        var position: UInt32
    }

    private let deletedField: Int?
    private let statesField: Int?
    private let values: [ValueColumn]
    private let cellCount: Int
    private var cells: [Cell]
    private var isDeleted = false
    private let scratch = ByteBuffer()

    /// Rows that something is to be said of, and where the first of them is.
    private struct Count {
        var rows: UInt64 = 0
        var first = ""

        mutating func add(_ lines: DumpLines) {
            if rows == 0 { first = lines.place }
            rows += 1
        }
    }
    private var unparsable = Count()
    private var unresolved = Count()
    private var stale = Count()

    /// Nil if the table has no such columns. Throws if it has others of them than are known.
    init?(_ scheme: DumpScheme) throws(Failure) {
        let special = scheme.columns.indices.filter { Self.isMarker(scheme.columns[$0].name) }
        guard !special.isEmpty else { return nil }
        let names = Set(special.map { scheme.columns[$0].name })
        let isMetadata = names == [Self.metadataName]
        guard
            isMetadata || names == [Self.deletedName]
                || names == [Self.deletedName, Self.statesName]
        else {
            throw Failure(
                .unsupported,
                "\(scheme.file): change markers that this version doesn't know: "
                    + names.sorted().joined(separator: ", "))
        }
        deletedField = isMetadata ? nil : scheme.index(of: Self.deletedName)
        statesField = scheme.index(of: isMetadata ? Self.metadataName : Self.statesName)
        var values: [ValueColumn] = []
        var position: UInt32 = 0
        for field in scheme.columns.indices where !special.contains(field) {
            position += 1
            if !scheme.key.contains(field) {
                values.append(ValueColumn(field: field, position: position))
            }
        }
        self.values = values
        cellCount = scheme.columns.count
        cells = Array(repeating: .given, count: cellCount)
    }

    // MARK: Rows

    /// Takes up a row.
    func begin(
        _ bytes: Span<UInt8>, _ fields: [Range<Int>], at lines: DumpLines
    ) throws(Failure) {
        for index in 0..<cellCount { cells[index] = .given }
        isDeleted = false
        if let deletedField {
            let field = bytes.extracting(fields[deletedField])
            isDeleted = field.equals("1") || field.equals("true")
            guard isDeleted || field.equals("0") || field.equals("null") || field.equals("false")
            else { throw Failure(.corrupt, "\(lines.place): \(Self.deletedName) is no Bool") }
        }
        if let statesField {
            let field = bytes.extracting(fields[statesField])
            if !field.equals("null") {
                scratch.removeAll()
                guard DumpValue.decode(field, into: scratch) else {
                    throw Failure(.corrupt, "\(lines.place): the change markers aren't in quotes")
                }
                if scratch.count > 0 { take(bytes, fields, lines) }
            }
        }
        if isDeleted {
            for column in values { cells[column.field] = .null }
        }
    }

    /// Applies the markers in `scratch`.
    private func take(_ bytes: Span<UInt8>, _ fields: [Range<Int>], _ lines: DumpLines) {
        guard let states = ChangeStates(scratch.array) else { return unparsable.add(lines) }
        isDeleted = isDeleted || states.isDeleted
        if isDeleted || states.columns.isEmpty { return }
        var isNull = Array(repeating: false, count: cellCount)
        for column in values {
            isNull[column.field] = bytes.extracting(fields[column.field]).equals("null")
        }
        guard let found = resolve(states, isNull) else {
            unresolved.add(lines)
            for column in values where isNull[column.field] { cells[column.field] = .kept }
            return
        }
        var hasStale = false
        for (field, state) in found {
            cells[field] = !state.isChanged ? .kept : state.isNull ? .null : .given
            if !state.isChanged, !isNull[field] { hasStale = true }
        }
        if hasStale { stale.add(lines) }
    }

    /// Which field each state is of: by position if the tags are positions, else in their order; a
    /// changed value that isn't NULL must be there. Nil if neither can be.
    private func resolve(
        _ states: ChangeStates, _ isNull: [Bool]
    ) -> [(field: Int, state: ChangeStates.Column)]? {
        let sorted = states.columns.sorted { $0.tag < $1.tag }
        guard zip(sorted, sorted.dropFirst()).allSatisfy({ $0.tag < $1.tag }) else { return nil }
        func isPossible(_ found: [(field: Int, state: ChangeStates.Column)]) -> Bool {
            found.allSatisfy { !$1.isChanged || $1.isNull || !isNull[$0] }
        }
        var byPosition: [(field: Int, state: ChangeStates.Column)] = []
        var index = 0
        for state in sorted {
            while index < values.count, values[index].position < state.tag { index += 1 }
            guard index < values.count, values[index].position == state.tag else { break }
            byPosition.append((values[index].field, state))
        }
        if byPosition.count == sorted.count, isPossible(byPosition) { return byPosition }
        guard sorted.count == values.count else { return nil }
        let inOrder = zip(values, sorted).map { ($0.field, $1) }
        return isPossible(inOrder) ? inOrder : nil
    }

    /// Whether a field's value isn't taken.
    func leavesOut(_ field: Int) -> Bool { cells[field] != .given }

    /// The row's marks for `count` columns.
    func marks(_ fields: [DumpRows.Field], count: Int) -> [UInt8] {
        if isDeleted { return [] }
        // What the incremental lacks stays as it was.
        var marks = [UInt8](repeating: DeltaRows.kept, count: count)
        for (index, field) in fields.enumerated() {
            if let column = field.column, cells[index] != .kept { marks[column] = DeltaRows.given }
        }
        return marks
    }

    /// What is to be said of the rows so far.
    var findings: [String] {
        let all: [(Count, String)] = [
            (
                unparsable,
                "have change markers that can't be read: all their values were taken as they stand"
            ),
            (
                unresolved,
                "have change markers of unknown columns: their values other than NULL were taken"
            ),
            (
                stale,
                "have values in columns that are marked as unchanged: not taken, as YDB's RESTORE doesn't"
            ),
        ]
        return all.compactMap { count, words in
            count.rows > 0 ? "\(count.rows) rows \(words) (the first at \(count.first))" : nil
        }
    }
}

/// The bytes of change markers, which are a protobuf message.
package struct ChangeStates: Equatable {
    package struct Column: Equatable {
        package var tag: UInt32
        package var isNull: Bool
        package var isChanged: Bool

        package init(tag: UInt32, isNull: Bool = false, isChanged: Bool = false) {
            self.tag = tag
            self.isNull = isNull
            self.isChanged = isChanged
        }
    }

    package var columns: [Column] = []
    package var isDeleted = false

    /// Nil if it can't be that.
    package init?(_ bytes: [UInt8]) {
        var reader = WireReader(bytes[...])
        while let field = reader.next() {
            switch field {
            case (1, .bytes(let bytes)):
                guard let column = Self.column(bytes) else { return nil }
                columns.append(column)
            case (2, .number(let number)): isDeleted = number != 0
            case (1, _), (2, _): return nil
            default: break
            }
        }
        if reader.isDamaged { return nil }
    }

    private static func column(_ bytes: ArraySlice<UInt8>) -> Column? {
        var reader = WireReader(bytes)
        var column = Column(tag: 0)
        while let field = reader.next() {
            switch field {
            case (1, .number(let number)):
                guard let tag = UInt32(exactly: number) else { return nil }
                column.tag = tag
            case (2, .number(let number)): column.isNull = number != 0
            case (3, .number(let number)): column.isChanged = number != 0
            case (1...3, _): return nil
            default: break
            }
        }
        return reader.isDamaged || column.tag == 0 ? nil : column
    }
}

/// Fields of a protobuf message, one after another.
private struct WireReader {
    enum Value {
        case number(UInt64)
        case bytes(ArraySlice<UInt8>)
        /// Of a fixed size, which nobody asks for.
        case other
    }

    private var rest: ArraySlice<UInt8>
    private(set) var isDamaged = false

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// Nil at the end, or where it can't go on.
    mutating func next() -> (number: UInt64, value: Value)? {
        if rest.isEmpty || isDamaged { return nil }
        if let head = varint(), head >> 3 > 0 {
            switch head & 7 {
            case 0: if let number = varint() { return (head >> 3, .number(number)) }
            case 1: if take(8) != nil { return (head >> 3, .other) }
            case 2:
                if let length = varint(), let bytes = take(length) {
                    return (head >> 3, .bytes(bytes))
                }
            case 5: if take(4) != nil { return (head >> 3, .other) }
            default: break
            }
        }
        isDamaged = true
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            if shift == 63, byte > 1 { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    private mutating func take(_ count: UInt64) -> ArraySlice<UInt8>? {
        guard count <= UInt64(rest.count) else { return nil }
        defer { rest = rest.dropFirst(Int(count)) }
        return rest.prefix(Int(count))
    }
}
