import Bytes
import Crypto
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

/// Mending what a repository rests on: its description and its logs. Nothing is ever deleted: what is
/// damaged is moved aside, what is lost is put back from a copy, or its loss is recorded.
extension Repository {
    /// How far behind the others a file of the log may stand, to be taken for one of it.
    private static let gapMax: UInt64 = 64

    /// What there is to do about `repository.json`. A copy is taken if it is of the same repository:
    /// if collections lie under the ids that it gives to their names.
    package static func repairSteps(
        _ storage: any Storage, from copy: (any Storage)?
    ) throws -> [RepairStep] {
        do {
            _ = try descriptor(storage)
            return []
        } catch let failure as Failure where failure.code == .corrupt {
            guard let copy, let bytes = try copy.read(Descriptor.name, limit: descriptorLimitBytes),
                let other = try? Descriptor(bytes)
            else { throw failure }
            let ids = Set(try storage.list("collections").filter { isHex($0, count: 32) })
            let known = try open(copy).everyName.map(other.collectionID)
            guard known.contains(where: ids.contains) else {
                throw Failure(
                    .invalid,
                    "\(copy.location) is no copy of \(storage.location): it has none of its "
                        + "collections")
            }
            let isThere = try storage.size(of: Descriptor.name) != nil
            return [
                RepairStep("\(failure.message): it is put back from \(copy.location)") {
                    if isThere { _ = try storage.setAside(Descriptor.name) }
                    _ = try storage.publish(bytes, as: Descriptor.name)
                }
            ]
        }
    }

    /// Names of all collections, dropped ones too.
    package var everyName: [String] {
        logs.withLock { $0.values.compactMap(\.state?.name) }.sorted()
    }

    /// What there is to do about the logs.
    package func repairLogs(from copy: (any Storage)?) throws -> [RepairStep] {
        try storage.list("collections").filter { isHex($0, count: 32) }.sorted()
            .flatMap { try repairLog($0, from: copy) }
    }

    private func repairLog(_ id: String, from copy: (any Storage)?) throws -> [RepairStep] {
        var scan = LogScan(self, id, checksCatalogs: true)
        try scan.run()
        let name = known(id)?.name ?? scan.state?.name
        var steps: [RepairStep] = []
        for numbers in scan.unread {
            if numbers.count > Self.gapMax {
                steps += try strays(behind: numbers, id)
                break
            }
            for number in numbers {
                steps.append(try repairEntry(number, id, name, from: copy))
            }
        }
        let lying = scan.catalogFaults
        if !lying.isEmpty, let name {
            steps.append(
                RepairStep("\(lying[0].message): a new one is made from the log") {
                    // Not from what a catalog says.
                    var options = self.options
                    options.usesCatalogs = false
                    try Repository.open(self.storage, options: options).lock(collection: name)
                        .renewCatalog()
                })
        }
        return steps
    }

    /// Files that bear numbers of the log, far behind its end.
    private func strays(
        behind gap: ClosedRange<UInt64>, _ id: String
    ) throws -> [RepairStep] {
        try entryNumbers(id).filter { $0 > gap.upperBound }.map { number in
            RepairStep(
                "\(path(number, id)) stands alone behind \(gap.count) missing entries: it is moved "
                    + "aside"
            ) { _ = try self.storage.setAside(Self.entryName(number, id)) }
        }
    }

    private func repairEntry(
        _ number: UInt64, _ id: String, _ name: String?, from copy: (any Storage)?
    ) throws -> RepairStep {
        let object = Self.entryName(number, id)
        let isThere = try storage.size(of: object) != nil
        let what = "\(path(number, id)) is \(isThere ? "damaged" : "missing")"
        if let copy, let bytes = try copy.read(object, limit: LogFile.limitBytes),
            isRight(bytes, number, id)
        {
            return RepairStep("\(what): it is put back from \(copy.location)") {
                if isThere { _ = try self.storage.setAside(object) }
                _ = try self.storage.publish(bytes, as: object)
            }
        }
        guard let name else {
            throw Failure(
                .corrupt,
                "\(what), and with it the collection's name: put it back from a copy (--from COPY)")
        }
        return RepairStep(
            "\(what), and no copy has it: its loss is recorded, so that backups can go on; files that "
                + "it may have named stay"
        ) { try self.recordLoss(of: number, id, name, isThere: isThere) }
    }

    /// Whether these are the bytes of the entry: it follows the one before, and the one behind it says
    /// so. Where neither is there to be asked its own hash has to do.
    private func isRight(_ bytes: [UInt8], _ number: UInt64, _ id: String) -> Bool {
        let shared = SharedValues()
        guard let file = try? LogFile(bytes, shared: shared), file.number == number else {
            return false
        }
        if let before = try? entry(number - 1, id, shared), !isLost(before),
            before.hash != file.previous
        {
            return false
        }
        if let after = try? entry(number + 1, id, shared), after.previous != file.hash {
            return false
        }
        return true
    }

    private func isLost(_ file: LogFile) -> Bool {
        if case .lost = file.entry { true } else { false }
    }

    private func recordLoss(
        of number: UInt64, _ id: String, _ name: String, isThere: Bool
    ) throws {
        guard let lock = try storage.lock("collections/\(id)/lock") else {
            throw Failure(.busy, "collection \(name) is being written: try again later")
        }
        defer { withExtendedLifetime(lock) {} }
        let shared = SharedValues()
        var before: String?
        if number > 1 {
            let file = try entry(number - 1, id, shared)
            if case .lost(let lost) = file.entry {
                before = lost.hash ?? file.hash
            } else {
                before = file.hash
            }
        }
        let after = (try? entry(number + 1, id, shared))?.previous
        var scan = LogScan(self, id)
        try scan.run()
        let named = Set(scan.state?.files.values.map(\.place) ?? [])
        let kept = try listFiles(of: id).subtracting(named).sorted()
        let marker = LogFile(
            number: number, previous: before, time: options.now(),
            entry: .lost(LostEntry(collection: name, hash: after, kept: kept)))
        if isThere { _ = try storage.setAside(Self.entryName(number, id)) }
        guard try storage.publish(marker.encoded().bytes, as: Self.entryName(number, id)) else {
            throw Failure(.busy, "\(path(number, id)) has come into being: try again")
        }
    }

    /// Places of all data files of a collection that are there; files of strangers are none.
    func listFiles(of id: String) throws -> Set<String> {
        var places = try Set(storage.list(FilePlace.indexes(of: id)))
        let tables = FilePlace.tables(of: id)
        for table in try storage.list(tables) where isHex(table, count: 32) {
            let names: [String]
            do {
                names = try storage.list("\(tables)/\(table)")
            } catch let failure as Failure where failure.code == .corrupt {
                // No directory, thus a stranger's.
                continue
            }
            // A killed writer may have made the folder and no more.
            if names.isEmpty { storage.removeEmpty("\(tables)/\(table)") }
            places.formUnion(names.lazy.map { "\(table)/\($0)" })
        }
        return places.filter { FilePlace.kind($0) != nil }
    }

    // MARK: Data files

    /// What there is to do about data files that are missing or aren't what the log says.
    ///
    /// - Parameter progress: hears of the bytes that were read; may throw.
    /// - Returns: the steps, and what no copy can mend.
    package func repairFiles(
        of state: CollectionState, from copy: (any Storage)?, progress: (Int) throws -> Void
    ) throws -> (steps: [RepairStep], hopeless: [Failure]) {
        var steps: [RepairStep] = []
        var hopeless: [Failure] = []
        for reference in state.presentFiles {
            do {
                try file(reference, of: state).verify(progress: progress)
            } catch let failure as Failure where failure.code == .corrupt {
                let object = FilePlace.object(reference.place, of: state.id)
                if let copy, try Self.has(copy, object, reference) {
                    steps.append(
                        RepairStep("\(failure.message): it is put back from \(copy.location)") {
                            try self.putBack(object, from: copy)
                        })
                } else {
                    hopeless.append(failure)
                }
            }
        }
        return (steps, hopeless)
    }

    private static let pieceBytes = 1 << 20

    /// Whether the copy has the very bytes that the log tells of.
    private static func has(
        _ copy: any Storage, _ name: String, _ reference: FileReference
    ) throws -> Bool {
        guard let object = try copy.open(name), try object.sizeBytes == reference.bytes else {
            return false
        }
        var hasher = SHA256()
        try forEachPiece(of: object) { hasher.update(bufferPointer: $0) }
        return hexText(hasher.finalize()) == reference.sha256
    }

    private func putBack(_ name: String, from copy: any Storage) throws {
        guard let object = try copy.open(name) else {
            throw Failure(.notFound, "\(copy.location)/\(name) is gone")
        }
        if try storage.size(of: name) != nil { _ = try storage.setAside(name) }
        let batch = storage.beginBatch()
        let writer = try batch.create(name)
        try Self.forEachPiece(of: object) { try writer.append($0) }
        try writer.finish()
        try batch.settle()
    }

    private static func forEachPiece(
        of object: any StoredObject, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
        defer { buffer.deallocate() }
        var offset: UInt64 = 0
        while true {
            let count = try object.read(at: offset, into: buffer)
            if count == 0 { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += UInt64(count)
        }
    }
}
