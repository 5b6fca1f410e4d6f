import Bytes
import Synchronization

/// One thing that `repair` can do, said before it is done.
package struct RepairStep: Sendable {
    /// What is wrong and what is done about it.
    package let text: String
    package let run: @Sendable () throws -> Void

    package init(_ text: String, run: @escaping @Sendable () throws -> Void) {
        self.text = text
        self.run = run
    }
}

/// What there is to do next, and what nothing can be done about.
package struct RepairPlan: Sendable {
    package var steps: [RepairStep] = []
    package var hopeless: [String] = []
    /// What is as it was wanted, and can be had elsewhere.
    package var notes: [String] = []

    package init() {}

    package mutating func add(_ other: RepairPlan) {
        steps += other.steps
        hopeless += other.hopeless
        notes += other.notes
    }
}

/// Mending logs. Nothing is ever deleted: what is damaged is moved aside. What is lost is looked for in
/// the log's own files, in a copy and in catalogs; only what none of them has is recorded as lost.
extension Repository {
    /// How many missing entries in a row are spoken of one by one.
    private static let gapMax = 64
    /// More in a row than any log has.
    static let longestGap: UInt64 = 1 << 20

    /// Names of all collections, dropped ones too.
    package var everyName: [String] {
        logs.withLock { $0.values.compactMap(\.state?.name) }.sorted()
    }

    /// What there is to do about the logs, those included that only the copy has.
    package func repairLogs(from copy: (any Storage)?) throws -> RepairPlan {
        let made = MadeEntries(operations)
        let others = try copy?.list("collections").filter { isHex($0, count: 32) } ?? []
        var plan = RepairPlan()
        for id in try everyID(made).union(others).sorted() {
            plan.add(try repairLog(id, from: copy, made))
        }
        return plan
    }

    private func repairLog(
        _ id: String, from copy: (any Storage)?, _ made: MadeEntries
    ) throws -> RepairPlan {
        if try entryNumbers(id).isEmpty { return try repairLostLog(id, from: copy, made) }
        var scan = LogScan(self, id, checksCatalogs: true)
        try scan.run()
        var plan = RepairPlan()
        if let obstacle = scan.obstacle {
            // It may be as right as can be.
            plan.hopeless.append(obstacle.message)
            return plan
        }
        if !scan.unread.isEmpty {
            return try repairEntries(scan, id, from: copy, made)
        }
        if let state = scan.state, !scan.lostAtEnd.isEmpty {
            let end = try putBackEnd(state.lastEntry, state.lastHash, id, from: copy, made)
            let lost = Self.numbers(of: scan.lostAtEnd, after: state.lastEntry)
            if let end {
                plan.steps.append(end)
            } else {
                plan.steps.append(
                    recordLoss(of: lost, id, state.name, scan, missing(lost, id).message))
            }
        }
        if plan.steps.isEmpty { plan = try putBackMarked(scan, id, from: copy, made) }
        if plan.steps.isEmpty, let fault = scan.catalogFaults.first, let name = scan.state?.name {
            plan.steps.append(
                RepairStep("\(fault.message): a new one is made from the log") {
                    // Not from what a catalog says.
                    var options = self.options
                    options.usesCatalogs = false
                    let lock = try Repository.open(self.storage, options: options)
                        .lock(collection: name)
                    // None that is in use may be left.
                    for _ in 0..<CollectionState.catalogsKept { try lock.renewCatalog() }
                })
        }
        return plan
    }

    /// What is lost is given up: it isn't named any more, and files kept for it go with others that
    /// nothing needs.
    package func forgetLosses() -> [RepairStep] {
        let states = logs.withLock { $0.sorted { $0.key < $1.key }.compactMap(\.value.state) }
        return states.filter { !$0.lostPoints.isEmpty && $0.damage == nil }.map { state in
            let names = state.lostPoints.map(\.name).joined(separator: ", ")
            return RepairStep("\(names) of \(state.name): given up, and not named any more") {
                var condemned = Condemnation()
                condemned.points = Set(state.lostPoints.map(\.sequence)).sorted()
                try self.lock(collection: state.name).append(.condemn(condemned))
            }
        }
    }

    // MARK: Entries

    /// What can be done about entries that are missing or damaged.
    private func repairEntries(
        _ scan: LogScan, _ id: String, from copy: (any Storage)?, _ made: MadeEntries
    ) throws -> RepairPlan {
        let listed = Set(try entryNumbers(id))
        let journal = journaled(id, made)
        let search = try EntrySearch(
            self, id,
            wrong: listed.filter { number in scan.unread.contains { $0.contains(number) } },
            copy: copy, journal)
        func what(_ number: UInt64) -> String {
            "\(path(number, id)) is \(listed.contains(number) ? "damaged" : "missing")"
        }
        var plan = RepairPlan()
        for numbers in scan.unread {
            if let strays = try strays(numbers, listed, journal, search, id) {
                plan.steps += strays
                return plan
            }
            guard UInt64(numbers.count) <= Self.longestGap else {
                plan.hopeless.append(missing(numbers, id).message)
                return plan
            }
            var lost: [ClosedRange<UInt64>] = []
            for number in numbers {
                if let found = try search.find(number) {
                    plan.steps.append(putBack(found, number, id, what(number)))
                } else if numbers.count > Self.gapMax, lost.last?.upperBound == number - 1 {
                    lost[lost.count - 1] = lost[lost.count - 1].lowerBound...number
                } else {
                    lost.append(number...number)
                }
            }
            for lost in lost {
                let what = lost.count > 1 ? missing(lost, id).message : what(lost.lowerBound)
                if let name = known(id)?.name ?? scan.state?.name ?? journaledName(id, made) {
                    plan.steps.append(recordLoss(of: lost, id, name, scan, what))
                } else {
                    plan.hopeless.append(
                        "\(what), and with it the collection's name: put it back from a copy "
                            + "(--from COPY)")
                }
            }
        }
        return plan
    }

    /// What to do where all that is there from some numbers on are files that are none of the log; nil if
    /// they may be, or have been.
    private func strays(
        _ numbers: ClosedRange<UInt64>, _ listed: Set<UInt64>, _ journal: JournaledLog,
        _ search: EntrySearch, _ id: String
    ) throws -> [RepairStep]? {
        let there = listed.filter { $0 >= numbers.lowerBound }.sorted()
        let isBehindEnd = journal.hashes.keys.max() == numbers.lowerBound - 1
        if isBehindEnd, there.first == numbers.lowerBound,
            there.allSatisfy({ isForeign($0, id) })
        {
            return there.map { putAside($0, id, "is no entry, and none is missing") }
        }
        guard numbers.count > Self.gapMax || isBehindEnd,
            try search.find(numbers.lowerBound) == nil
        else { return nil }
        let alone = there.filter { $0 > numbers.upperBound }
        guard !alone.isEmpty, alone.allSatisfy({ isStray($0, id) }) else { return nil }
        return alone.map {
            putAside($0, id, "stands alone behind \(numbers.count) missing entries")
        }
    }

    /// Whether the file of this number holds no entry.
    private func isStray(_ number: UInt64, _ id: String) -> Bool {
        (try? entry(number, id, SharedValues())) == nil
    }

    /// Whether what has this number never was its entry: no file, or a copy of another entry. A damaged
    /// file may have been.
    private func isForeign(_ number: UInt64, _ id: String) -> Bool {
        let name = Self.entryName(number, id)
        do {
            if try storage.size(of: name) == nil { return false }
        } catch {
            return Self.failure(error).code == .corrupt
        }
        let found = try? storage.entry(name, SharedValues())
        return found.map { $0.file.number != number } ?? false
    }

    private func putAside(_ number: UInt64, _ id: String, _ what: String) -> RepairStep {
        RepairStep("\(path(number, id)) \(what): it is moved aside") {
            _ = try self.storage.setAside(Self.entryName(number, id))
        }
    }

    private func putBack(
        _ found: EntrySearch.Found, _ number: UInt64, _ id: String, _ what: String
    ) -> RepairStep {
        RepairStep("\(what): it is put back from \(found.place)") {
            let lock = try self.repairLock(id)
            defer { withExtendedLifetime(lock) {} }
            try self.replace(number, id, with: found.bytes)
        }
    }

    /// Nobody else writes to the collection, as far as that can be kept.
    func repairLock(_ id: String) throws -> any StorageLock {
        let name = Self.lockName(id)
        if let lock = try storage.lock(name) { return lock }
        throw Failure(.busy, "\(storage.location)/\(name) is held by who writes: try again later")
    }

    // MARK: Recording losses

    /// Puts markers in place of entries that nobody has.
    private func recordLoss(
        of numbers: ClosedRange<UInt64>, _ id: String, _ name: String, _ scan: LogScan,
        _ what: String
    ) -> RepairStep {
        // What was made last is lost with the last entry.
        let isLast =
            numbers.upperBound > scan.state?.lastEntry ?? 0
            && numbers.upperBound >= scan.unread.last?.upperBound ?? 0
        let points = isLast ? scan.lostAtEnd.compactMap(\.point) : []
        let text =
            numbers.upperBound < scan.isKnownBefore
            ? "\(what), and no copy has it, but a catalog has what it said: nothing is lost, and that "
                + "is recorded, so that backups can go on"
            : "\(what), and no copy has it: its loss is recorded"
                + (points.isEmpty ? "" : ", that of \(points.joined(separator: ", "))")
                + ", so that backups can go on; files that it may have named stay"
        return RepairStep(text) { try self.record(points, lostIn: numbers, id, name) }
    }

    func record(
        _ points: [String], lostIn numbers: ClosedRange<UInt64>, _ id: String, _ name: String
    ) throws {
        let lock = try repairLock(id)
        defer { withExtendedLifetime(lock) {} }
        let shared = SharedValues()
        var scan = LogScan(self, id)
        // Without any entry there is nothing to be read.
        try? scan.run()
        let named = Set(scan.state?.files.values.map(\.place) ?? [])
        let kept = try listFiles(of: id).subtracting(named).sorted()
        let last = try max(numbers.upperBound, entryNumbers(id).last ?? 0)
        for number in numbers {
            var before: String?
            if number > 1 {
                let file = try entry(number - 1, id, shared)
                before = file.lost?.hash ?? file.hash
            }
            let isLast = number == numbers.upperBound
            let marker = LogFile(
                number: number, previous: before, time: options.now(),
                entry: .lost(
                    LostEntry(
                        collection: name, hash: (try? entry(number + 1, id, shared))?.previous,
                        kept: isLast ? kept : [], points: isLast ? points : [],
                        goesOn: number < last)))
            try replace(number, id, with: marker.encoded().bytes)
        }
    }

    func replace(_ number: UInt64, _ id: String, with bytes: [UInt8]) throws {
        let object = Self.entryName(number, id)
        if try storage.isTaken(object) { _ = try storage.setAside(object) }
        // Nothing makes room before the log is mended.
        guard try reserve.publish(bytes, as: object, .freeing) else {
            throw Failure(.busy, "\(path(number, id)) has come into being: try again")
        }
    }

    /// Losses that were recorded although somebody has the entries, if all can be read with them that
    /// was backed up since.
    private func putBackMarked(
        _ scan: LogScan, _ id: String, from copy: (any Storage)?, _ made: MadeEntries
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        if scan.markers.isEmpty { return plan }
        let search = try EntrySearch(self, id, wrong: [], copy: copy, journaled(id, made))
        var found: [UInt64: EntrySearch.Found] = [:]
        for number in scan.markers { found[number] = try search.find(number) }
        if found.isEmpty { return plan }
        var trial = LogScan(
            self, id, checksCatalogs: true, substitutes: found.mapValues(\.file))
        try trial.run()
        let present = Set(trial.state?.points.map(\.name) ?? [])
        let isBetter =
            trial.damage == nil
            && scan.state?.points.allSatisfy {
                present.contains($0.name)
            } == true
        for (number, found) in found.sorted(by: { $0.key < $1.key }) {
            if isBetter {
                plan.steps.append(
                    putBack(found, number, id, "\(path(number, id)) is recorded as lost"))
            } else if isNamed(number, id, scan) {
                plan.hopeless.append(
                    "\(path(number, id)), which is recorded as lost, and \(found.place) has it: what "
                        + "was backed up since rests on the loss; read its points there")
            } else {
                plan.notes.append(
                    "\(path(number, id)) was given up, and \(found.place) has it: read its points there"
                )
            }
        }
        return plan
    }

    /// Whether something that was lost with this entry is still named: it wasn't given up.
    private func isNamed(_ number: UInt64, _ id: String, _ scan: LogScan) -> Bool {
        let lost = (try? entry(number, id, SharedValues()))?.lost?.points ?? []
        let names = Set(lost + [LostPoint.unknown(in: number).name])
        return scan.state?.lostPoints.contains { names.contains($0.name) } == true
    }
}

extension LogFile {
    /// What stands here is lost.
    var lost: LostEntry? { if case .lost(let lost) = entry { lost } else { nil } }

    /// Name of the collection, of an entry that says it.
    var collection: String? {
        switch entry {
        case .define(let definition): definition.name
        case .lost(let lost): lost.collection
        default: nil
        }
    }
}
