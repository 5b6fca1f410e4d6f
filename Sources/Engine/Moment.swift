import Bytes
import Repository

/// Which point of a collection is meant: what users write after `AT`, and behind the last slash of
/// `COLLECTION/POINT`.
package enum Moment: Sendable {
    case newest
    case point(String)
    /// The newest point that shows this instant or an earlier one.
    case notAfter(Instant)

    /// What `text` means for a collection: the name of a point that it has, `latest`, or a time.
    package init(
        _ text: String, of collection: String, in repository: Repository?, now: Instant = .now
    ) throws(Failure) {
        if repository?.collection(collection)?.point(named: text) != nil {
            self = .point(text)
        } else if text == "latest" {
            self = .newest
        } else if let instant = try? Instant(expression: text, now: now) {
            self = .notAfter(instant)
        } else {
            throw Failure(
                .notFound,
                "\(collection) has no backup point \(text), and it is no time: accepted are latest, "
                    + Instant.acceptedForms)
        }
    }

    /// The point in the collection as it is when its turn comes. Throws `.notFound`.
    package func point(in state: CollectionState) throws(Failure) -> BackupPoint {
        let name = state.name
        switch self {
        case .newest:
            if let newest = state.newest { return newest }
            throw Failure(.notFound, "\(name) has no backup point yet: take a backup first")
        case .point(let point):
            if let found = state.point(named: point) { return found }
            throw Failure(.notFound, "\(name) has no backup point \(point)")
        case .notAfter(let instant):
            let found = state.points.last { $0.cut <= instant.microseconds }
            if let found { return found }
            let first = state.points.first.map { ": its first one is \($0.name)" } ?? ""
            throw Failure(.notFound, "\(name) has no backup point as old as \(instant)\(first)")
        }
    }
}
