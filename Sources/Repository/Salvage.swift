import Bytes
import Tables

/// A point that was acknowledged and can't be read any more.
package struct LostPoint: Sendable, Hashable {
    package var sequence: UInt64
    package var name: String
    package var reason: String

    /// What stands for an entry that may have made one, or not.
    static func unknown(in entry: UInt64) -> LostPoint {
        LostPoint(
            sequence: 0, name: "entry \(entry) of its log", reason: "nobody knows what it said")
    }
}

/// What stands behind an entry of the log that is lost: an entry that was never read can't be made up
/// for, but a full backup rests on nothing, and an incremental on its parent alone.
extension CollectionState {
    /// Entries up to this one are lost.
    mutating func goOn(before file: LogFile) {
        lastEntry = file.number - 1
        lastHash = file.previous
    }

    /// Applies an entry that follows. Behind lost entries whatever can't be applied as it is counts as
    /// far as it can. Throws if it doesn't follow, or nothing is lost and it can't be right.
    mutating func follow(_ file: LogFile) throws {
        if lostEntries.isEmpty { return try apply(file) }
        try checkOrder(file)
        salvage(file)
    }

    /// Applies what can be of an entry behind a lost one.
    mutating func salvage(_ file: LogFile) {
        do {
            var next = self
            try next.apply(file)
            self = next
            return
        } catch {
            salvage(file, (error as? Failure)?.message ?? "\(error)")
        }
        lastEntry = file.number
        lastHash = file.hash
    }

    private mutating func salvage(_ file: LogFile, _ reason: String) {
        switch file.entry {
        case .point(let record):
            if let next = adding(record, file) {
                self = next
            } else {
                lose(record, because: reason)
            }
        case .dropPoints(let sequences):
            var next = self
            let known = sequences.filter { point(sequence: $0)?.isPinned == false }
            if (try? next.drop(known, at: file.time)) != nil { self = next }
        case .undropPoints(let sequences):
            var next = self
            let known = Set(droppedPoints.map(\.sequence)).intersection(sequences)
            if (try? next.undrop(known.sorted())) != nil { self = next }
        case .pinPoints(let sequences), .unpinPoints(let sequences):
            let pins = if case .pinPoints = file.entry { true } else { false }
            try? pin(sequences.filter { hasPoint(sequence: $0) }, pins)
        case .condemn(var condemned):
            let known = Set(droppedPoints.map(\.sequence) + lostPoints.map(\.sequence))
            condemned.points = condemned.points.filter(known.contains)
            var next = self
            if (try? next.condemn(condemned, at: file.time)) != nil { self = next }
        case .define, .drop, .catalog, .lost: break
        }
    }

    /// With the point, if it rests on nothing that is lost: a full, or an incremental whose parent is
    /// there. What came between them must have been dropped then, and a lost definition made anew.
    private func adding(_ record: PointRecord, _ file: LogFile) -> CollectionState? {
        var next = self
        next.isDropped = false
        if record.kind == .incremental {
            guard let sequence = record.parent, let parent = point(sequence: sequence),
                parent.hash == record.parentHash
            else { return nil }
            let between = points.map(\.sequence).filter { $0 > sequence }
            for sequence in between { try? next.pin([sequence], false) }
            guard between.isEmpty || (try? next.drop(between, at: file.time)) != nil else {
                return nil
            }
        }
        return (try? next.apply(file)) == nil ? nil : next
    }

    /// The point can't be read any more. Its numbers and its token stay taken.
    mutating func lose(_ record: PointRecord, because reason: String) {
        // What can't be true says nothing of a point.
        if (try? record.checkBounds()) == nil { return }
        nextSequence = max(nextSequence, record.sequence + 1)
        for file in record.files {
            nextFileNumber = max(nextFileNumber, file.number + 1)
            keptFiles.insert(file.place)
        }
        for table in record.tables { nextTableID = max(nextTableID, table.id + 1) }
        if let uid = record.uid, sequenceByUID[uid] == nil { sequenceByUID[uid] = record.sequence }
        lostPoints.append(
            LostPoint(sequence: record.sequence, name: record.name, reason: reason))
    }
}
