import Bytes

/// Mending what a repository is known by, and seeing that a copy is one of it.
extension Repository {
    /// What there is to do about `repository.json`. It is taken from a copy of the same repository, or
    /// from what is left of the damaged one: collections must lie under the ids that it gives to their
    /// names. Throws if the copy is none, or nothing can be done.
    ///
    /// - Parameter makesNew: without either, a new identity is made, and folders are named by it.
    package static func repairDescription(
        _ storage: any Storage, from copy: (any Storage)?, makesNew: Bool
    ) throws -> RepairPlan {
        let other = try copy.map { try descriptor(ofCopy: $0, of: storage) }
        do {
            let own = try descriptor(storage)
            if let own, let copy, let other, other.id != own.id { throw noCopy(copy, of: storage) }
            return RepairPlan()
        } catch let failure as Failure where failure.code == .corrupt {
            let names = try collectionNames(storage)
            let isThere = try storage.isTaken(Descriptor.name)
            let what =
                "\(storage.location)/\(Descriptor.name) is \(isThere ? "damaged" : "missing")"
            var plan = RepairPlan()
            if let copy, let other {
                guard fits(other, names) else { throw noCopy(copy, of: storage) }
                plan.steps.append(
                    RepairStep("\(what): it is put back from \(copy.location)") {
                        try put(other, in: storage)
                    })
            } else if let found = remains(storage, names) {
                plan.steps.append(
                    RepairStep("\(what): it is made from what is left of it") {
                        try put(found, in: storage)
                    })
            } else if makesNew {
                plan.steps.append(try newIdentity(storage, names, what))
            } else {
                throw Failure(
                    .corrupt,
                    "\(failure.fault), and nothing is left that says which repository it is: put it back "
                        + "from a copy (--from COPY), or make another one (--new-identity)")
            }
            return plan
        }
    }

    /// Nothing is told by a copy that isn't there, or can't be read: least of all that it lacks
    /// something.
    private static func descriptor(
        ofCopy copy: any Storage, of storage: any Storage
    ) throws -> Descriptor {
        if copy.location == storage.location {
            throw Failure(.invalid, "\(copy.location) is the repository itself: name a copy of it")
        }
        if let found = try descriptor(copy) { return found }
        throw Failure(
            .notFound, "there is no repository at \(copy.location): name a copy of this one")
    }

    private static func noCopy(_ copy: any Storage, of storage: any Storage) -> Failure {
        Failure(
            .invalid,
            "\(copy.location) is no copy of \(storage.location), but another repository: nothing was "
                + "done")
    }

    private static func put(_ descriptor: Descriptor, in storage: any Storage) throws {
        if try storage.isTaken(Descriptor.name) { _ = try storage.setAside(Descriptor.name) }
        _ = try storage.publish(descriptor.encoded(), as: Descriptor.name)
    }

    // MARK: Without a copy

    /// By id, the names of the collections, as their logs or catalogs tell them; nil where none does.
    private static func collectionNames(_ storage: any Storage) throws -> [String: String?] {
        var names: [String: String?] = [:]
        let listed = try storage.list("collections") + storage.list(FilePlace.tables)
        for id in Set(listed.filter { isHex($0, count: 32) }) {
            names[id] = .some(try collectionName(storage, id))
        }
        return names
    }

    private static func collectionName(_ storage: any Storage, _ id: String) throws -> String? {
        let shared = SharedValues()
        for number in try storage.numbers(in: "collections/\(id)/log") {
            if let name = try storage.entry(entryName(number, id), shared)?.file.collection {
                return name
            }
        }
        for file in try storage.list(FilePlace.indexes(of: id)).sorted()
        where DataFileKind(name: file) == .cat {
            if let bytes = try storage.read(
                FilePlace.object(file, of: id), limit: CatalogFile.limitBytes),
                let state = try? CatalogFile.decoded(CatalogFile.buffer(bytes), id: id)
            {
                return state.name
            }
        }
        return nil
    }

    private static func fits(_ descriptor: Descriptor, _ names: [String: String?]) -> Bool {
        names.contains { id, name in name.map(descriptor.collectionID) == id }
    }

    /// What the damaged file says, as far as it can be told that it is right.
    private static func remains(
        _ storage: any Storage, _ names: [String: String?]
    ) -> Descriptor? {
        guard let bytes = try? storage.read(Descriptor.name, limit: descriptorLimitBytes) else {
            return nil
        }
        let words = String(decoding: bytes, as: UTF8.self).split { !$0.isHexDigit }
        for word in words where isHex(word, count: 32) {
            var descriptor = Descriptor()
            descriptor.id = String(word)
            if fits(descriptor, names) { return descriptor }
        }
        return nil
    }

    /// Nothing in a repository but the names of folders rests on its id.
    private static func newIdentity(
        _ storage: any Storage, _ names: [String: String?], _ what: String
    ) throws -> RepairStep {
        let descriptor = Descriptor()
        let moves = try names.sorted { $0.key < $1.key }.map { id, name in
            if let name { return (from: id, to: descriptor.collectionID(name)) }
            throw Failure(
                .corrupt,
                "\(what), and nothing is left that says the name of the collection in "
                    + "\(storage.location)/collections/\(id): move that folder and "
                    + "\(FilePlace.tables(of: id)) away, and repair again")
        }
        return RepairStep(
            "\(what): a new one is made, and the folders of "
                + names.values.compactMap(\.self).sorted().joined(separator: ", ")
                + " are renamed; copies made before are those of another repository from here on"
        ) {
            for (old, new) in moves {
                try storage.move(FilePlace.tables(of: old), to: FilePlace.tables(of: new))
                try storage.move("collections/\(old)", to: "collections/\(new)")
            }
            try put(descriptor, in: storage)
        }
    }
}
