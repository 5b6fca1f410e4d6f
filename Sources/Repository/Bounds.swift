import Bytes
import Tables

/// How large numbers in records can be. What is beyond was never written by us: it is refused where
/// it is read, so that whoever adds, multiplies and converts needn't think of it. Writers apply
/// their own entries, and so never write what would be refused.
enum Bounds {
    /// What is counted up one by one: entries, points, files, operations, checks.
    static let number: UInt64 = 1_000_000_000_000_000
    /// Bytes or rows of one file or one table: whole numbers that every reader of JSON keeps.
    static let amount: UInt64 = 1 << 53
    /// Ids of tables and columns; the latter are Parquet's field ids, which have 31 bits.
    static let id: UInt32 = 1 << 30
    /// Microseconds since 1970 of the years 0 to 9999.
    static let time: ClosedRange<Int64> = -62_167_219_200_000_000...253_402_300_799_999_999
    /// Bytes of a point's name, which is that of a directory.
    static let nameBytes = 200
    /// Columns of a table: so many sums of an index can be added.
    static let columns = 10_000
    /// Bytes of a value that stands in for those of a column: it is held once for each row.
    static let standInBytes = 1024

    static func check(number: UInt64, of what: String) throws(Failure) {
        if number > Self.number { throw impossible(what, "\(number)") }
    }

    static func check(amount: UInt64, of what: String) throws(Failure) {
        if amount > Self.amount { throw impossible(what, "\(amount)") }
    }

    static func check(time: Int64, of what: String) throws(Failure) {
        if !Self.time.contains(time) { throw impossible(what, "\(time)") }
    }

    static func check(place: String) throws(Failure) {
        guard FilePlace.kind(place) != nil else {
            throw Failure(.corrupt, "\(quoted(place)) is no name of a data file")
        }
    }

    static func impossible(_ what: String, _ value: String) -> Failure {
        Failure(.corrupt, "\(what) can't be \(value)")
    }

    /// Text of a record for a message, which isn't to be as long as a record can be.
    static func quoted(_ text: String) -> String {
        let shown = text.unicodeScalars.prefix(100)
        return "“\(String(String.UnicodeScalarView(shown)))”"
    }
}

extension LogFile {
    func checkBounds() throws(Failure) {
        try Bounds.check(number: number, of: "its number")
        try Bounds.check(time: time, of: "its time")
        switch entry {
        case .define(let definition): try definition.checkBounds()
        case .point(let record): try record.checkBounds()
        case .condemn(let condemned): try condemned.checkBounds()
        case .catalog(let reference): try reference.checkBounds()
        case .lost(let lost): try lost.checkBounds()
        case .drop, .dropPoints, .undropPoints, .pinPoints, .unpinPoints: break
        }
    }
}

extension CollectionDefinition {
    func checkBounds() throws(Failure) {
        try Bounds.check(time: time, of: "the time of the collection's definition")
    }
}

extension FileReference {
    func checkBounds() throws(Failure) {
        if number == 0 { throw Bounds.impossible("a file's number", "0") }
        try Bounds.check(number: number, of: "a file's number")
        try Bounds.check(amount: bytes, of: "the size of \(Bounds.quoted(name))")
        try Bounds.check(amount: rows, of: "the count of rows of \(Bounds.quoted(name))")
        try Bounds.check(place: place)
    }
}

extension CatalogReference {
    func checkBounds() throws(Failure) {
        guard DataFileKind(name: name) == .cat else {
            throw Failure(.corrupt, "\(Bounds.quoted(name)) is no name of a catalog")
        }
        try Bounds.check(amount: bytes, of: "the size of \(name)")
    }
}

extension LostEntry {
    func checkBounds() throws(Failure) {
        if let hash, !isHex(hash, count: 64) {
            throw Bounds.impossible("the SHA-256 of a lost entry", Bounds.quoted(hash))
        }
        for place in kept { try Bounds.check(place: place) }
        for point in points { try BackupPoint.check(name: point) }
    }
}

extension Condemnation {
    func checkBounds() throws(Failure) {
        for place in [files, leftovers, gone].joined() { try Bounds.check(place: place) }
    }
}

extension TableRecord {
    func checkBounds() throws(Failure) {
        func impossible(_ what: String, _ value: some CustomStringConvertible) -> Failure {
            Bounds.impossible("\(what) of table \(Bounds.quoted(path))", value.description)
        }
        guard id < Bounds.id else { throw impossible("the id", id) }
        guard nextColumnID <= Bounds.id else {
            throw impossible("the next column's id", nextColumnID)
        }
        guard schema.columns.count <= Bounds.columns else {
            throw impossible("the count of columns", schema.columns.count)
        }
        for column in schema.columns {
            guard column.id < Bounds.id else { throw impossible("a column's id", column.id) }
            guard column.standIn?.bytes?.count ?? 0 <= Bounds.standInBytes else {
                throw impossible("a stand-in", "so long")
            }
        }
        for amount in [rows, inserted, updated, deleted] + sizes.values + files.map(\.rows) {
            guard amount <= Bounds.amount else { throw impossible("a count or size", amount) }
        }
        if let version = formats.values.first(where: { $0 < 0 }) {
            throw impossible("a format's version", version)
        }
    }
}

extension PointRecord {
    func checkBounds() throws(Failure) {
        if sequence == 0 { throw Bounds.impossible("a point's sequence", "0") }
        try Bounds.check(number: sequence, of: "a point's sequence")
        try Bounds.check(number: operation, of: "the operation of a point")
        try Bounds.check(time: cut, of: "the cut of point \(sequence)")
        try BackupPoint.check(name: name)
        for file in files { try file.checkBounds() }
        for table in tables { try table.checkBounds() }
    }
}

extension BackupPoint {
    /// A point's name is that of a directory.
    fileprivate static func check(name: String) throws(Failure) {
        let isName =
            !name.isEmpty && name.utf8.count <= Bounds.nameBytes && name != "." && name != ".."
            && name.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }
        guard isName else {
            throw Failure(.corrupt, "\(Bounds.quoted(name)) can't be a point's name")
        }
    }

    /// - Parameter newest: the last entry and the next sequence of the state that it is of.
    fileprivate func checkBounds(lastEntry: UInt64, nextSequence: UInt64) throws(Failure) {
        guard sequence > 0, sequence < nextSequence, chain <= sequence, entry <= lastEntry,
            parent.map({ $0 < sequence }) ?? true
        else { throw Failure(.corrupt, "point \(sequence) can't be where it is") }
        try Bounds.check(number: operation, of: "the operation of a point")
        try Bounds.check(time: cut, of: "the cut of point \(sequence)")
        try Bounds.check(time: dropped ?? 0, of: "the time of the drop of point \(sequence)")
        try Self.check(name: name)
        for file in files { try file.checkBounds() }
    }
}

extension CollectionState {
    /// Of a state that wasn't made of entries one by one: what these would have been refused for.
    func checkBounds() throws(Failure) {
        try Bounds.check(number: lastEntry, of: "the number of the last entry")
        guard (1...Bounds.number + 1).contains(nextSequence),
            (1...Bounds.number + 1).contains(nextFileNumber),
            (1...Bounds.id).contains(nextTableID)
        else { throw Failure(.corrupt, "a number that comes next can't be so large") }
        try lastDefinition?.checkBounds()
        for (place, time) in condemned {
            try Bounds.check(place: place)
            try Bounds.check(time: time, of: "the time of the end of \(place)")
        }
        for file in files.values {
            try file.checkBounds()
            guard file.number < nextFileNumber else {
                throw Bounds.impossible("a file's number", "\(file.number)")
            }
        }
        for (entry, reference) in catalogs {
            try reference.checkBounds()
            guard entry <= lastEntry else { throw Bounds.impossible("an entry", "\(entry)") }
        }
        for point in points + droppedPoints {
            try point.checkBounds(lastEntry: lastEntry, nextSequence: nextSequence)
        }
        guard points.allSatisfy({ $0.dropped == nil }),
            droppedPoints.allSatisfy({ $0.dropped != nil })
        else { throw Failure(.corrupt, "a point is both live and dropped") }
        for (id, history) in histories {
            guard id < nextTableID, !history.versions.isEmpty else {
                throw Bounds.impossible("a table's id", "\(id)")
            }
            for version in history.versions {
                guard version.sequence < nextSequence else {
                    throw Bounds.impossible("a point's sequence", "\(version.sequence)")
                }
                try Bounds.check(time: version.cut, of: "the cut of point \(version.sequence)")
                try version.record?.checkBounds()
            }
        }
    }
}

extension OperationStart {
    func checkBounds() throws(Failure) {
        try Bounds.check(number: id, of: "its number")
        try Bounds.check(time: time, of: "its time")
    }
}

extension OperationEnd {
    func checkBounds() throws(Failure) {
        try Bounds.check(time: time, of: "its time")
        for total in [rows, bytes] where total > .totalLimit {
            throw Bounds.impossible("a count of rows or bytes", "\(total)")
        }
        try Bounds.check(amount: incomplete, of: "the count of tables left out")
        guard let entry else { return }
        try Bounds.check(number: entry.number, of: "its entry's number")
        if !isHex(entry.hash, count: 64) {
            throw Bounds.impossible("its entry's SHA-256", Bounds.quoted(entry.hash))
        }
    }
}
