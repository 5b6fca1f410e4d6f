import Bytes

/// Mending logs that end too early, or are gone: from a copy, from a catalog, or by recording the loss of
/// what the journal says was made.
extension Repository {
    /// The numbers that were used behind `last`, as far as the journal knows.
    static func numbers(
        of lost: [MadeEntries.Made], after last: UInt64
    ) -> ClosedRange<UInt64> {
        let end = lost.compactMap(\.entry?.number).max() ?? 0
        // More than there can be was never journaled by us.
        return last + 1...min(max(last + 1, end), last + longestGap)
    }

    func journaled(_ id: String, _ made: MadeEntries) -> JournaledLog {
        made.log { collectionID($0) == id }
    }

    /// The name of the collection, if the journal knows it.
    func journaledName(_ id: String, _ made: MadeEntries) -> String? {
        made.newest { collectionID($0) == id }?.collection
    }

    /// What a copy has behind the end of the log, or all of it: up to the last entry of which the journal
    /// says that it was made here. What the copy did by itself is none of ours.
    func putBackEnd(
        _ last: UInt64, _ lastHash: String?, _ id: String, from copy: (any Storage)?,
        _ made: MadeEntries
    ) throws -> RepairStep? {
        guard let copy else { return nil }
        let shared = SharedValues()
        let journaled = journaled(id, made)
        var (number, hash, end) = (last, lastHash, last)
        while let file = try copiedEntry(number + 1, id, copy, shared), file.previous == hash,
            number > 0 || file.collection.map(collectionID) == id
        {
            let isOurs = journaled.has(file)
            if isOurs == false { break }
            number += 1
            hash = file.lost?.hash ?? file.hash
            if isOurs == true { end = number }
        }
        if end == last { return nil }
        let numbers = last + 1...end
        return RepairStep(
            "\(missing(numbers, id).message): put back from \(copy.location)"
        ) {
            let lock = try self.repairLock(id)
            defer { withExtendedLifetime(lock) {} }
            for number in numbers {
                let name = Self.entryName(number, id)
                guard let bytes = try copy.read(name, limit: LogFile.limitBytes) else {
                    throw Failure(.notFound, "\(copy.location)/\(name) is gone")
                }
                guard try self.reserve.publish(bytes, as: name, .freeing) else {
                    throw Failure(.busy, "\(self.path(number, id)) has come into being: try again")
                }
            }
        }
    }

    /// An entry that a copy has, whole; that of another place is none.
    private func copiedEntry(
        _ number: UInt64, _ id: String, _ copy: any Storage, _ shared: SharedValues
    ) throws -> LogFile? {
        try copy.entry(Self.entryName(number, id), shared)
            .flatMap { $0.file.number == number ? $0.file : nil }
    }

    /// What there is to do where no entry is left of a log.
    func repairLostLog(
        _ id: String, from copy: (any Storage)?, _ made: MadeEntries
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        if let all = try putBackEnd(0, nil, id, from: copy, made) {
            plan.steps.append(all)
            return plan
        }
        guard let lost = try lostLog(id, made) else { return plan }
        let what = "\(path(1, id)) is missing, and all that followed it"
        let known = journaledName(id, made)
        if let (catalog, state) = try newestCatalog(id) {
            let file = LogFile(
                number: state.lastEntry + 1, previous: state.lastHash, time: options.now(),
                entry: .catalog(catalog))
            plan.steps.append(
                RepairStep(
                    "\(what), and no copy has it, but \(catalog.name) has what it said up to entry "
                        + "\(state.lastEntry): it is taken from there"
                ) {
                    let lock = try self.repairLock(id)
                    defer { withExtendedLifetime(lock) {} }
                    try self.replace(file.number, id, with: file.encoded().bytes)
                })
        } else if let known {
            let nothing = CollectionState(id: id, name: known)
            let lost = made.unknown(to: nothing)
            let points = lost.compactMap(\.point)
            let loss =
                points.isEmpty ? "its loss" : "the loss of \(points.joined(separator: ", "))"
            plan.steps.append(
                RepairStep(
                    "\(what), and no copy has it: \(loss) is recorded, so that "
                        + "\(known) can be made anew; its files stay"
                ) {
                    let numbers = Self.numbers(of: lost, after: 0)
                    try self.record(points, lostIn: numbers, id, known)
                })
        } else {
            plan.hopeless.append(lost.message)
        }
        return plan
    }

    /// The newest catalog among the collection's files, whether an entry names it or not.
    private func newestCatalog(_ id: String) throws -> (CatalogReference, CollectionState)? {
        var newest: (CatalogReference, CollectionState)?
        for name in try storage.list(FilePlace.indexes(of: id)).sorted()
        where DataFileKind(name: name) == .cat {
            guard
                let bytes = try? storage.read(
                    FilePlace.object(name, of: id), limit: CatalogFile.limitBytes),
                let state = try? CatalogFile.decoded(CatalogFile.buffer(bytes), id: id),
                collectionID(state.name) == id, state.lastEntry > newest?.1.lastEntry ?? 0
            else { continue }
            newest = (CatalogReference(name: name, content: bytes), state)
        }
        return newest
    }
}
