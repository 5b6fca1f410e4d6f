import Bytes
import Repository

/// Which point of a collection is meant: what users write after `AT`, and behind the last slash of
/// `COLLECTION/POINT`.
package enum Moment: Sendable {
    case newest
    case word(PointWord)
    case point(String)
    /// The newest point that shows this instant or an earlier one.
    case notAfter(Instant)

    /// What `text` means for a collection: the name of a point that it has, a word, or a time.
    package init(
        _ text: String, of collection: String, in repository: Repository?, now: Instant = .now
    ) throws(Failure) {
        if repository?.collection(collection)?.point(named: text) != nil {
            self = .point(text)
        } else if let word = PointWord(rawValue: text) {
            self = word == .latest ? .newest : .word(word)
        } else if let instant = try? Instant(expression: text, now: now) {
            self = .notAfter(instant)
        } else {
            throw Failure(
                .notFound,
                "\(collection) has no backup point \(text), and it is no time: "
                    + (Instant.impossibility(of: text)
                        ?? "accepted are \(PointWord.list), \(Instant.acceptedForms)"))
        }
    }

    /// The point in the collection as it is when its turn comes. Throws `.notFound`, and where it isn't
    /// certain which point is meant.
    ///
    /// - Parameter now: points that claim to be later were dated by a clock that was wrong.
    package func point(
        in state: CollectionState, now: Instant = .now
    ) throws(Failure) -> BackupPoint {
        let name = state.name
        if case .point(let point) = self {
            if let found = state.point(named: point) { return found }
            let lost = state.lostPoints.last { $0.name == point }
            if let lost { throw Failure(.corrupt, "\(point) can't be read: \(lost.reason)") }
            throw Failure(.notFound, "\(name) has no backup point \(point)")
        }
        if case .word(.oldest) = self, let oldest = PointWord.oldest.point(of: state) {
            return oldest
        }
        // An older point must not pass for the newest.
        if let damage = state.endIsUnknown {
            throw Failure(
                damage.code,
                "it isn't certain which point of \(name) is the newest (\(damage.message)): name one"
            )
        }
        if case .newest = self, let newest = state.newest { return newest }
        if case .word(let word) = self, let found = word.point(of: state) { return found }
        guard case .notAfter(let instant) = self else {
            if state.points.isEmpty {
                throw Failure(.notFound, "\(name) has no backup point yet: take a backup first")
            }
            throw Failure(
                .notFound,
                state.points.count == 1
                    ? "\(name) has only one backup point"
                    : "\(name) has no full backup any more: it was dropped")
        }
        let sure = CutOrder(state, now: now).reliable
        if let found = state.points.last(where: {
            $0.cut <= instant.microseconds && sure.contains($0.sequence)
        }) {
            return found
        }
        let first = state.points.first.map { ": its first one is \($0.name)" } ?? ""
        throw Failure(.notFound, "\(name) has no backup point as old as \(instant)\(first)")
    }
}
