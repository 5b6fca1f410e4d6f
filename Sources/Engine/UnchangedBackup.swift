import Bytes
import Repository
import Tables

/// Given up before its commit: there would be no difference to the newest point.
struct NothingChanged: Error {
    var point: BackupPoint
}

extension PointRecord {
    /// Whether it shows nothing but what its parent does.
    func shows(_ parent: BackupPoint) -> Bool {
        tables.isEmpty && removed.isEmpty && notBackedUp == parent.notBackedUp
            && views.hasSameBytes(as: parent.views) && facts == parent.facts
    }
}

extension BackupJob {
    /// Ends a backup that found nothing to do: what is known of the newest point's cut stays known, and
    /// that somebody looked is recorded.
    func noteUnchanged(
        since point: BackupPoint, _ cut: any SourceCut, _ lock: WriterLock, _ knowledge: Knowledge
    ) {
        operation.update { status in
            (status.rows, status.bytes) = (0, 0)
            status.foundNothing = true
            status.notes.append("nothing changed since \(point.name): no point was made")
            for table in point.notBackedUp { status.leaveOut(table) }
        }
        let isRenewed = knowledge.isKept && (knowledge.known == nil || knowledge.isAudit)
        if isRenewed { keep(cut, lock, uses: knowledge.uses) }
        // A loss costs another look.
        try? lock.recordLook(time: cut.instant, uid: operation.uid, countsAnew: isRenewed)
    }
}

extension Engine {
    /// A run found nothing to do. Of a schedule's, only the newest stays in the journal and in the
    /// mount: there may be one every few seconds.
    func noteIdle(_ operation: Operation) {
        guard let repository, Schedule.due(of: operation.uid) != nil else { return }
        let id = repository.collectionID(operation.collection)
        let before = state.update { state in
            defer { state.schedules[id]?.idleRun = operation.id }
            return state.schedules[id]?.idleRun
        }
        guard let before, before < operation.id else { return }
        try? repository.operations.remove(before)
        state.update { $0.operations[before] = nil }
        noteChange()
    }
}
