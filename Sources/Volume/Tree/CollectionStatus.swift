import Bytes
import Engine
import Repository

/// `COLLECTION/status`: the newest point, what runs, what went wrong, what was verified.
enum CollectionStatus {
    static func text(_ engine: Engine, _ shown: ShownCollection) -> String {
        let state = shown.state
        var lines = ["collection \(shown.name)", "points \(state.points.count)"]
        if let newest = state.newest {
            lines.append("newest \(newest.name)")
            lines.append("cut \(Instant(microseconds: newest.cut))")
            if !newest.notBackedUp.isEmpty {
                lines.append("incomplete \(newest.notBackedUp.count)")
            }
            lines += newest.notBackedUp.map { "not backed up \($0.line)" }
        }
        lines.append("stored_bytes \(state.storedBytes)")
        lines += state.droppedPoints.map { "dropped \($0.name)" }
        lines += state.definition.flatMap(Schedule.init).map { scheduleLines($0, state) } ?? []
        if let look = engine.repository?.look(of: state) {
            lines.append("looked \(Instant(microseconds: look.time)) and found nothing changed")
        }
        if let operation = engine.newestOperation(of: shown.name) {
            lines.append(
                "operation \(operation.name) \(operation.kind) \(operation.status.summary)")
            lines += operation.status.notes.map { "note \($0)" }
            lines += operation.status.leftOutLines.map { "left out \($0)" }
        }
        if let error = engine.errors.newest(collection: shown.name).last {
            lines.append("last_error \(error.time) \(error.message)")
        }
        if let moved = engine.repository?.displacement {
            lines.append("repository \(moved.message)")
        }
        if let damage = state.damage { lines.append("damage \(damage.message)") }
        lines += state.lostPoints.map { "lost \($0.name) \($0.reason)" }
        if let damage = state.catalogDamage { lines.append("catalog \(damage.message)") }
        let checks = engine.repository?.checks(of: state) ?? [:]
        let live = state.points.compactMap { point in checks[point.sequence].map { (point, $0) } }
        if let (point, check) = live.last {
            lines.append(
                "verified \(live.count) of \(state.points.count) points, last "
                    + "\(point.name) \(check.text)")
        }
        if let round = engine.repository?.readingRound(of: state) {
            let all = round.completed.map { "\(Instant(microseconds: $0).floorToSecond)" } ?? "-"
            lines.append("all_files_read \(all)")
        }
        let damaged = Dictionary(grouping: live.filter { $1.damage != nil }) { $1.damage! }
        for (damage, points) in damaged.sorted(by: { $0.key < $1.key }) {
            lines.append("damaged \(points.count) points, last \(points.last!.0.name): \(damage)")
        }
        return lines.map { oneLine($0) + "\n" }.joined()
    }

    private static func scheduleLines(_ schedule: Schedule, _ state: CollectionState) -> [String] {
        let now = Instant.now
        var lines: [String] = []
        if let period = schedule.full {
            lines.append("full_every \(period) next \(schedule.next(period, after: now))")
        }
        if let period = schedule.incremental {
            lines.append("incremental_every \(period) next \(schedule.next(period, after: now))")
        }
        if let last = Schedule.newest(state.points) {
            lines.append("last_scheduled \(last.point.name) due \(last.due)")
        }
        return lines
    }
}
