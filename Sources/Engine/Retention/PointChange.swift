import Bytes
import Repository

/// What `ALTER BACKUP COLLECTION` does to one point.
struct PointChange: Sendable {
    enum Kind: Sendable { case drop, undrop, pin, unpin }

    let kind: Kind
    let point: String

    /// The change to a point that a statement asks for; nil if it asks for something else.
    static func of(_ change: Statement.Change) -> (change: PointChange, position: SourcePosition)? {
        let (kind, point): (Kind, Located<String>)
        switch change {
        case .dropBackup(let name): (kind, point) = (.drop, name)
        case .undropBackup(let name): (kind, point) = (.undrop, name)
        case .pinBackup(let name): (kind, point) = (.pin, name)
        case .unpinBackup(let name): (kind, point) = (.unpin, name)
        case .set, .reset, .addTable, .dropTable: return nil
        }
        return (PointChange(kind: kind, point: point.value), point.position)
    }

    /// The entry that makes the change, nil if things are so already. Throws why it can't be.
    func entry(_ state: CollectionState) throws(Failure) -> LogEntry? {
        let live = state.point(named: point)
        let dropped = state.droppedPoint(named: point)
        guard let sequence = (live ?? dropped)?.sequence else {
            throw Failure(.notFound, "\(state.name) has no point \(point)")
        }
        switch kind {
        case .drop:
            guard let live else { return nil }
            if live.isPinned {
                throw Failure(.busy, "\(point) is pinned: UNPIN BACKUP '\(point)' first")
            }
            if state.points.count == 1 {
                throw Failure(
                    .busy,
                    "\(point) is the only point left: take another backup first, or DROP BACKUP "
                        + "COLLECTION \(state.name)")
            }
            return .dropPoints([sequence])
        case .undrop: return live == nil ? .undropPoints([sequence]) : nil
        case .pin, .unpin:
            guard let live else {
                throw Failure(.notFound, "\(point) is dropped: UNDROP BACKUP '\(point)' first")
            }
            let pins = kind == .pin
            if live.isPinned == pins { return nil }
            return pins ? .pinPoints([sequence]) : .unpinPoints([sequence])
        }
    }

    func apply(_ lock: WriterLock) throws {
        guard let state = lock.current, state.definition != nil else {
            throw Failure(.notFound, "the collection is gone")
        }
        if let entry = try entry(state) { try lock.append(entry) }
    }
}
