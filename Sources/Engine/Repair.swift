import Bytes
import Repository

/// What can be done about the damage that a verification names: planned first, then done. Nothing is
/// deleted; what is damaged is moved aside, and put back from a copy of the repository where there is
/// one that has it.
package struct Repair {
    private let storage: any Storage
    private let copy: (any Storage)?
    private let makesNewIdentity: Bool
    private let forgetsLosses: Bool
    private let database: KnownDatabase?
    private let options: Repository.Options
    private let operation: Operation

    /// - Parameters:
    ///   - storage: of the repository.
    ///   - copy: of a copy of it, however old.
    ///   - makesNewIdentity: where nothing says any more which repository it is.
    ///   - forgetsLosses: what is lost is given up.
    ///   - database: the one that it lies beside, if that is there.
    ///   - operation: hears of the bytes that are read, and is asked whether to go on.
    package init(
        _ storage: any Storage, from copy: (any Storage)?, makesNewIdentity: Bool = false,
        forgetsLosses: Bool = false, database: KnownDatabase? = nil,
        options: Repository.Options = Repository.Options(), operation: Operation
    ) {
        self.storage = storage
        self.copy = copy
        self.makesNewIdentity = makesNewIdentity
        self.forgetsLosses = forgetsLosses
        self.database = database
        self.options = options
        self.operation = operation
    }

    /// What there is to do next, and what nothing can be done about. What rests on these steps shows
    /// only once they are done: so it is asked for again, until there is nothing.
    package func next() throws -> RepairPlan {
        let description = try Repository.repairDescription(
            storage, from: copy, makesNew: makesNewIdentity)
        if !description.steps.isEmpty { return description }
        let folders = try Repository.repairFolders(storage, from: copy)
        if !folders.steps.isEmpty || !folders.hopeless.isEmpty { return folders }
        let repository = try Repository.open(storage, options: options)
        let places = try repository.repairPlaces(from: copy, database: database)
        if !places.steps.isEmpty { return places }
        var plan = try repository.repairLogs(from: copy)
        plan.hopeless += places.hopeless
        if !plan.steps.isEmpty { return plan }
        if forgetsLosses {
            plan.steps = repository.forgetLosses()
            if !plan.steps.isEmpty { return plan }
        }
        // What was dropped may be had back.
        for collection in repository.collections + repository.droppedCollections {
            let files = try repository.repairFiles(of: collection, from: copy) { count in
                operation.update { $0.bytes += UInt64(count) }
                try operation.checkpoint()
            }
            plan.add(files)
            if files.steps.isEmpty, files.hopeless.isEmpty {
                plan.steps += health(of: collection, in: repository)
            }
        }
        return plan
    }

    /// What a verification has found of files that are right now.
    private func health(
        of collection: CollectionState, in repository: Repository
    ) -> [RepairStep] {
        let harmed = repository.checks(of: collection).filter(\.value.isOfFiles).keys
        let points = (collection.points + collection.droppedPoints).filter {
            harmed.contains($0.sequence)
        }
        if points.isEmpty { return [] }
        let names = points.map(\.name).joined(separator: ", ")
        return [
            RepairStep("\(names) of \(collection.name): their files are right now") {
                let time = Instant.now.microseconds
                let found = points.map {
                    ($0.sequence, PointCheck(level: .hashes, time: time, damage: nil))
                }
                try repository.record(
                    Dictionary(found, uniquingKeysWith: { $1 }), of: collection)
            }
        ]
    }
}
