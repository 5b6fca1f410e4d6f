import Bytes
import Synchronization

/// What a repository needs beside its logs and data files: locks, the journal's folder, the reserve,
/// and what is recorded of the databases that it belongs to.
extension Repository {
    /// Something of these that is damaged, or that isn't what it should be, and its name.
    private struct PlaceFault {
        var name: String
        var failure: Failure
        /// Whether a copy may have it.
        var isRecord = false
        /// Whether something is damaged; otherwise it can't be looked at now.
        var isDamage: Bool { failure.code == .corrupt }
    }

    /// What is wrong beside the logs: it keeps nobody from reading.
    package func placeFaults() -> [Failure] { findPlaceFaults().map(\.failure) }

    private func findPlaceFaults() -> [PlaceFault] {
        var faults: [PlaceFault] = []
        func look(_ name: String, isRecord: Bool = false, _ body: () throws -> Void) {
            do {
                try body()
            } catch {
                faults.append(
                    PlaceFault(name: name, failure: Self.failure(error), isRecord: isRecord))
            }
        }
        for folder in [OperationStore.directory, Self.databases] {
            look(folder) { _ = try storage.list(folder) }
        }
        let ids = logs.withLock { $0.keys.sorted() }
        for file in [Reserve.name, Self.scheduleLockName] + ids.map(Self.lockName) {
            look(file) { _ = try storage.size(of: file) }
        }
        let (known, damaged) = (try? readDatabases()) ?? ([], [])
        for (name, failure) in damaged {
            faults.append(PlaceFault(name: name, failure: failure, isRecord: true))
        }
        if known.isEmpty, damaged.isEmpty, !faults.contains(where: { $0.name == Self.databases }),
            let failure = lostDatabases
        {
            faults.append(PlaceFault(name: Self.databases, failure: failure, isRecord: true))
        }
        return faults
    }

    /// What there is to do about it.
    ///
    /// - Parameter database: the one that the repository lies beside.
    package func repairPlaces(
        from copy: (any Storage)?, database: KnownDatabase?
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        for fault in findPlaceFaults() {
            if !fault.isDamage {
                plan.hopeless.append(fault.failure.message)
                continue
            }
            if fault.isRecord, fault.name == Self.databases {
                plan.add(
                    try repairLostDatabases(fault.failure, from: copy, database: database))
                continue
            }
            let what = "\(storage.location)/\(fault.name) isn't what it should be"
            let limit = Self.databaseLimitBytes
            if fault.isRecord, let copy,
                let bytes = try? copy.read(fault.name, limit: limit),
                (try? KnownDatabase(sealed: bytes)) != nil
            {
                plan.steps.append(
                    RepairStep("\(what): it is put back from \(copy.location)") {
                        _ = try self.storage.setAside(fault.name)
                        _ = try self.storage.publish(bytes, as: fault.name)
                    })
            } else {
                let rest =
                    fault.isRecord
                    ? "; it said which database the backups are of" : ""
                plan.steps.append(
                    RepairStep("\(what): it is moved aside\(rest)") {
                        _ = try self.storage.setAside(fault.name)
                    })
            }
        }
        return plan
    }

    private func repairLostDatabases(
        _ failure: Failure, from copy: (any Storage)?, database: KnownDatabase?
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        for number in (try copy?.numbers(in: Self.databases)) ?? [] {
            let name = "\(Self.databases)/\(LogFile.name(number))"
            guard let copy, let bytes = try? copy.read(name, limit: Self.databaseLimitBytes),
                (try? KnownDatabase(sealed: bytes)) != nil
            else { continue }
            plan.steps.append(
                RepairStep(
                    "\(storage.location)/\(name) is missing: put back from \(copy.location)"
                ) {
                    _ = try self.storage.publish(bytes, as: name)
                })
        }
        if !plan.steps.isEmpty { return plan }
        if let database {
            plan.steps.append(
                RepairStep(
                    "\(failure.message): \(database.path), which they lie beside, is recorded anew"
                ) { try self.accept(database) })
        } else {
            plan.hopeless.append(
                "\(failure.message), and no copy says it: a backup with --adopt records it anew")
        }
        return plan
    }
}
