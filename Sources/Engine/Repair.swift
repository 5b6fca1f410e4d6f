import Bytes
import Repository

/// What can be done about the damage that a verification names: planned first, then done. Nothing is
/// deleted; what is damaged is moved aside, and put back from a copy of the repository where there is
/// one that has it.
package struct Repair {
    private let storage: any Storage
    private let copy: (any Storage)?
    private let options: Repository.Options
    private let operation: Operation

    /// - Parameters:
    ///   - storage: of the repository.
    ///   - copy: of a copy of it, however old.
    ///   - operation: hears of the bytes that are read, and is asked whether to go on.
    package init(
        _ storage: any Storage, from copy: (any Storage)?,
        options: Repository.Options = Repository.Options(), operation: Operation
    ) {
        self.storage = storage
        self.copy = copy
        self.options = options
        self.operation = operation
    }

    /// What there is to do next, and what nothing can be done about. What rests on these steps shows
    /// only once they are done: so it is asked for again, until there is nothing.
    package func next() throws -> (steps: [RepairStep], hopeless: [String]) {
        let description = try Repository.repairSteps(storage, from: copy)
        if !description.isEmpty { return (description, []) }
        let repository = try Repository.open(storage, options: options)
        let logs = try repository.repairLogs(from: copy)
        if !logs.isEmpty { return (logs, []) }
        var steps: [RepairStep] = []
        var hopeless: [String] = []
        for collection in repository.collections {
            let found = try repository.repairFiles(of: collection, from: copy) { count in
                operation.update { $0.bytes += UInt64(count) }
                try operation.checkpoint()
            }
            steps += found.steps
            hopeless += found.hopeless.map { failure in
                "\(failure.message), and no copy has it: ydbfs verify names the points that it harms; "
                    + "BACKUP \(quotedName(collection.name)) makes one that needs nothing older"
            }
        }
        return (steps, hopeless)
    }
}
