import Repository

/// Words for points of a collection: names of links in a mount, and what may be said wherever a point is
/// meant.
package enum PointWord: String, CaseIterable, Sendable {
    case latest
    case latestFull = "latest-full"
    case previous, oldest

    /// Nil if there is none, or it isn't certain which one is the newest.
    package func point(of state: CollectionState) -> BackupPoint? {
        if self == .oldest { return state.points.first }
        guard state.endIsUnknown == nil else { return nil }
        return switch self {
        case .latest, .oldest: state.newest
        case .latestFull: state.points.last { $0.kind == .full }
        case .previous: state.points.dropLast().last
        }
    }

    /// All of them, for messages.
    static var list: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
