import Bytes
import Tables

/// How points and files go. Dropped points keep their place in the histories of tables until they are
/// condemned: what they need is needed.
extension CollectionState {
    /// All of the collection.
    mutating func drop(at time: Int64) throws {
        guard !isDropped else { throw Failure(.corrupt, "the collection is dropped already") }
        isDropped = true
        move(points.map(\.sequence)) { $0.dropped = time }
        sequenceByUID = [:]
        lastUID = nil
        lastFullUID = nil
    }

    mutating func drop(_ sequences: [UInt64], at time: Int64) throws {
        for sequence in sequences {
            guard let point = point(sequence: sequence) else {
                throw Failure(.corrupt, "it drops point \(sequence), which isn't there")
            }
            guard !point.isPinned else {
                throw Failure(.corrupt, "it drops point \(sequence), which is pinned")
            }
        }
        guard Set(sequences).count < points.count else {
            throw Failure(.corrupt, "it drops the last points")
        }
        move(sequences) { $0.dropped = time }
    }

    mutating func undrop(_ sequences: [UInt64]) throws {
        guard !isDropped else { throw Failure(.corrupt, "the collection is dropped") }
        let known = Set(droppedPoints.map(\.sequence))
        guard let missing = sequences.first(where: { !known.contains($0) }) else {
            return move(sequences) { $0.dropped = nil }
        }
        throw Failure(.corrupt, "it brings back point \(missing), which isn't there")
    }

    /// Changes these points, and puts all where they belong then.
    private mutating func move(_ sequences: [UInt64], _ change: (inout BackupPoint) -> Void) {
        let moving = Set(sequences)
        var all = points + droppedPoints
        for index in all.indices where moving.contains(all[index].sequence) {
            change(&all[index])
            if let uid = all[index].uid, sequenceByUID[uid] == nil {
                sequenceByUID[uid] = all[index].sequence
            }
        }
        all.sort { $0.sequence < $1.sequence }
        points = all.filter { $0.dropped == nil }
        droppedPoints = all.filter { $0.dropped != nil }
    }

    mutating func pin(_ sequences: [UInt64], _ isPinned: Bool) throws {
        for sequence in sequences {
            guard let index = points.firstIndex(where: { $0.sequence == sequence }) else {
                throw Failure(.corrupt, "it pins point \(sequence), which isn't there")
            }
            points[index].isPinned = isPinned
        }
    }

    // MARK: Condemning

    mutating func condemn(_ new: Condemnation, at time: Int64) throws {
        let lost = Set(lostPoints.map(\.sequence)).intersection(new.points)
        lostPoints.removeAll { lost.contains($0.sequence) }
        if !lost.isEmpty, lostPoints.isEmpty { keptFiles = [] }
        try forget(new.points.filter { !lost.contains($0) })
        let places = Set(new.files + new.leftovers)
        if let catalog = catalogs.first(where: { places.contains($0.reference.name) }) {
            throw Failure(.corrupt, "it condemns \(catalog.reference.name), which is needed")
        }
        let dying = files.values.filter { places.contains($0.place) }
        let needed = dying.isEmpty ? [] : neededFiles
        for file in dying {
            if needed.contains(file.number) {
                throw Failure(.corrupt, "it condemns \(file.name), which is needed")
            }
            files[file.number] = nil
        }
        for place in new.gone { condemned[place] = nil }
        for place in new.files { condemned[place] = time }
        for place in new.leftovers { condemned[place] = 0 }
    }

    /// Dropped points can't be had back any more.
    mutating func forget(_ sequences: [UInt64]) throws {
        if sequences.isEmpty { return }
        let going = Set(sequences)
        let gone = droppedPoints.filter { going.contains($0.sequence) }
        guard gone.count == sequences.count else {
            throw Failure(.corrupt, "it condemns points that aren't dropped")
        }
        droppedPoints.removeAll { going.contains($0.sequence) }
        for point in gone { sequenceByName[point.name] = nil }
        forgetUIDs()
        let kept = (points + droppedPoints).map(\.sequence).sorted()
        var emptied: Set<UInt32> = []
        for id in ids {
            histories[id]!.keep(for: kept)
            if histories[id]!.versions.isEmpty { emptied.insert(id) }
        }
        if emptied.isEmpty { return }
        for id in emptied { histories[id] = nil }
        ids.removeAll(where: emptied.contains)
        idsByPath = idsByPath.compactMapValues { ids in
            let rest = ids.filter { !emptied.contains($0) }
            return rest.isEmpty ? nil : rest
        }
    }

    private mutating func forgetUIDs() {
        let known = points.count + droppedPoints.count
        guard sequenceByUID.count > known + Self.goneUIDsKept else { return }
        let kept = Set((points + droppedPoints).map(\.sequence))
        let gone = sequenceByUID.filter { !kept.contains($0.value) }
        for (uid, _) in gone.sorted(by: { $0.value > $1.value }).dropFirst(Self.goneUIDsKept) {
            sequenceByUID[uid] = nil
        }
    }
}
