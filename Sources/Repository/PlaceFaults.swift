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
        for (name, failure) in (try? readDatabases().damaged) ?? [] {
            faults.append(PlaceFault(name: name, failure: failure, isRecord: true))
        }
        return faults
    }

    /// What there is to do about it.
    package func repairPlaces(from copy: (any Storage)?) throws -> RepairPlan {
        var plan = RepairPlan()
        for fault in findPlaceFaults() {
            if !fault.isDamage {
                plan.hopeless.append(fault.failure.message)
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
                    ? "; it said which database the backups are of: the next one that is backed up is "
                        + "taken for theirs" : ""
                plan.steps.append(
                    RepairStep("\(what): it is moved aside\(rest)") {
                        _ = try self.storage.setAside(fault.name)
                    })
            }
        }
        return plan
    }
}
