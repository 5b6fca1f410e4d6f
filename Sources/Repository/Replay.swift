import Bytes
import Tables

/// How an entry changes a collection, and what makes it impossible. Writers run the same checks on
/// their own entries before they publish them, so that no log is ever written that can't be read.
extension CollectionState {
    /// The state that the first entry of a log makes.
    init(first file: LogFile, id: String, identify: (String) -> String) throws {
        let name =
            switch file.entry {
            case .define(let definition): definition.name
            case .lost(let lost): lost.collection
            default: throw Failure(.corrupt, "the log doesn't begin with a definition")
            }
        guard identify(name) == id else {
            throw Failure(.corrupt, "it belongs to another collection, \(name)")
        }
        self.init(id: id, name: name)
        if file.number > 1 { goOn(before: file) }
        try apply(file)
    }

    func checkOrder(_ file: LogFile) throws {
        try file.checkBounds()
        guard file.number == lastEntry + 1, file.previous == lastHash else {
            throw Failure(.corrupt, "it doesn't follow entry \(lastEntry)")
        }
    }

    mutating func apply(_ file: LogFile) throws {
        try checkOrder(file)
        switch file.entry {
        case .define(let definition):
            guard definition.name == name else {
                throw Failure(.corrupt, "it defines another collection, \(definition.name)")
            }
            lastDefinition = definition
            isDropped = false
        case .point(let record): try apply(record, file)
        case .drop: try drop(at: file.time)
        case .dropPoints(let sequences): try drop(sequences, at: file.time)
        case .undropPoints(let sequences): try undrop(sequences)
        case .pinPoints(let sequences): try pin(sequences, true)
        case .unpinPoints(let sequences): try pin(sequences, false)
        case .condemn(let condemned): try condemn(condemned, at: file.time)
        case .catalog(let reference):
            catalogs = (catalogs + [(file.number, reference)]).suffix(Self.catalogsKept)
            catalogDamage = nil
        case .lost(let lost):
            guard lost.collection == name else {
                throw Failure(.corrupt, "it belongs to another collection, \(lost.collection)")
            }
            lostEntries.append(file.number)
            keptFiles.formUnion(lost.kept)
            for name in lost.points {
                lostPoints.append(
                    LostPoint(
                        sequence: nextSequence, name: name, reason: "its entry of the log is lost"))
                nextSequence += 1
                lastName = name
            }
            if lost.points.isEmpty {
                lostPoints.append(.unknown(in: file.number))
            }
            // If it was the last one and made a point, no other may be taken for that.
            if lost.hash == nil, lost.points.isEmpty, !lost.goesOn { nextSequence += 1 }
            lastEntry = file.number
            lastHash = lost.hash ?? file.hash
            return
        }
        lastEntry = file.number
        lastHash = file.hash
    }

    private mutating func apply(_ record: PointRecord, _ file: LogFile) throws {
        guard !isDropped else { throw Failure(.corrupt, "a point of a dropped collection") }
        guard record.sequence >= nextSequence else {
            throw Failure(.corrupt, "point \(record.sequence) comes after \(nextSequence - 1)")
        }
        guard !isTaken(name: record.name) else {
            throw Failure(.corrupt, "the point's name “\(record.name)” is taken")
        }
        if let uid = record.uid, isTaken(uid: uid) {
            throw Failure(.corrupt, "the point's uid “\(uid)” is taken")
        }
        try checkParent(record)
        let parent = record.kind == .incremental ? newest : nil
        try add(files: record.files)
        try add(tables: record, after: parent)
        points.append(
            BackupPoint(
                sequence: record.sequence, name: record.name, kind: record.kind,
                parent: record.parent, parentName: parent?.name,
                chain: parent?.chain ?? record.sequence, cut: record.cut,
                operation: record.operation, uid: record.uid, files: record.files,
                changed: record.tables.map(\.id), removed: record.removed,
                notBackedUp: record.notBackedUp, views: record.views, facts: record.facts,
                ownership: record.ownership, entry: file.number, hash: file.hash))
        sequenceByName[record.name] = record.sequence
        if let uid = record.uid {
            sequenceByUID[uid] = record.sequence
            lastUID = uid
            if record.kind == .full { lastFullUID = uid }
        }
        nextSequence = record.sequence + 1
        lastName = record.name
    }

    /// An incremental continues the newest live point, whatever the clock or its name say.
    private func checkParent(_ record: PointRecord) throws {
        switch record.kind {
        case .full:
            guard record.parent == nil, record.parentHash == nil, record.removed.isEmpty else {
                throw Failure(.corrupt, "a full backup with a parent")
            }
        case .incremental:
            guard let parent = newest, record.parent == parent.sequence else {
                throw Failure(
                    .corrupt,
                    "its parent \(record.parent ?? 0) is not the newest point, "
                        + "\(newest?.sequence ?? 0)")
            }
            guard record.parentHash == parent.hash else {
                throw Failure(.corrupt, "its parent \(parent.sequence) was another one")
            }
        }
    }

    private mutating func add(files new: [FileReference]) throws {
        for file in new {
            guard file.number >= nextFileNumber else {
                throw Failure(.corrupt, "file number \(file.number) comes twice")
            }
            guard condemned[file.place] == nil else {
                throw Failure(.corrupt, "it uses \(file.name), which is condemned")
            }
            files[file.number] = file
            nextFileNumber = file.number + 1
        }
    }

    private mutating func add(tables record: PointRecord, after parent: BackupPoint?) throws {
        if let parent, parent.sequence + 1 < nextSequence { goBack(to: parent, for: record) }
        func append(_ table: TableRecord?, _ id: UInt32) {
            histories[id]!.append(
                TableHistory.Version(sequence: record.sequence, cut: record.cut, record: table))
        }
        for id in record.removed {
            guard histories[id]?.newest != nil else {
                throw Failure(.corrupt, "it removes table \(id), which isn't there")
            }
            append(nil, id)
        }
        let carried = Set(record.tables.map(\.id))
        guard carried.count == record.tables.count, carried.isDisjoint(with: record.removed) else {
            throw Failure(.corrupt, "it has a table twice")
        }
        if record.kind == .full {
            for id in ids where histories[id]!.newest != nil && !carried.contains(id) {
                append(nil, id)
            }
        }
        for table in record.tables { append(try added(table), table.id) }
        for table in record.tables {
            let owners = idsByPath[table.path]!.filter {
                histories[$0]?.newest?.has(path: table.path) == true
            }
            guard owners == [table.id] else {
                throw Failure(.corrupt, "it has two tables \(table.path)")
            }
        }
    }

    /// Points after the parent were dropped: tables are again as the parent has them.
    private mutating func goBack(to parent: BackupPoint, for record: PointRecord) {
        for id in ids where histories[id]!.versions.last!.sequence > parent.sequence {
            let before = histories[id]!.version(at: parent.sequence)
            histories[id]!.append(
                TableHistory.Version(
                    sequence: record.sequence, cut: before?.cut ?? record.cut,
                    record: before?.record))
        }
    }

    /// The table, checked, with a history that it can be added to.
    private mutating func added(_ table: TableRecord) throws -> TableRecord {
        guard let file = files[table.snapshot.file] else {
            throw Failure(
                .corrupt,
                "the snapshot of \(table.path) is in file \(table.snapshot.file), "
                    + "which isn't there")
        }
        let (end, overflow) = table.snapshot.offset.addingReportingOverflow(table.snapshot.length)
        guard !overflow, end <= file.bytes else {
            throw Failure(
                .corrupt, "the snapshot of \(table.path) is beyond the end of \(file.name)")
        }
        if let missing = table.files.first(where: { files[$0.number] == nil }) {
            throw Failure(
                .corrupt, "\(table.path) needs file \(missing.number), which isn't there")
        }
        guard table.files.contains(where: { $0.number == file.number }) else {
            throw Failure(.corrupt, "\(table.path) doesn't name the file of its own snapshot")
        }
        var table = table
        guard isHex(table.tid, count: 32) else {
            throw Failure(.corrupt, "\(table.path) has no right tid")
        }
        if let known = histories[table.id] {
            guard known.tid == table.tid else {
                throw Failure(.corrupt, "\(table.path) has another tid than before")
            }
            table.tid = known.tid
            if let newest = known.newest { table.share(with: newest) }
        } else {
            histories[table.id] = TableHistory(tid: table.tid)
            ids.append(table.id)
            nextTableID = max(nextTableID, table.id + 1)
        }
        remember(table.id, at: table.path)
        return table
    }

    mutating func remember(_ id: UInt32, at path: String) {
        if idsByPath[path, default: []].contains(id) == false {
            idsByPath[path, default: []].append(id)
        }
    }
}

extension TableRecord {
    /// Takes over the memory of what is equal in both.
    fileprivate mutating func share(with other: TableRecord) {
        if has(path: other.path) { path = other.path }
        if schema == other.schema { schema = other.schema }
        if sql.utf8.elementsEqual(other.sql.utf8) { sql = other.sql }
        if formats == other.formats { formats = other.formats }
    }
}
