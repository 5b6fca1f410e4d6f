import Bytes
import Repository
import Tables

extension SourcePoint {
    /// What a point that was imported is known by: which files it is from, and its name, so that the
    /// collection knows the last one whatever becomes of its points.
    var token: String { "\(version):\(name)" }

    /// What it may be called here: one that is called by its time alone has got an ending.
    fileprivate var namesHere: [String] {
        [name] + [false, true].map { name + CollectionState.nameEnding($0) }
    }

    fileprivate static func name(inToken token: String) -> String? {
        token.firstIndex(of: ":").map { String(token[token.index(after: $0)...]) }
    }
}

extension RefusedPoint {
    var line: String { "\(name) is left out: \(reason)" }
}

extension SourceCollection {
    /// A point that isn't imported yet.
    struct Next: Equatable {
        var point: SourcePoint
        /// Nothing stands behind it.
        var isLast: Bool
    }

    struct Pending {
        var next: Next?
        /// Incrementals before it that stand on what was dropped here, a line each.
        var notes: [String] = []
    }

    /// Those that were looked at and left out, as far as they lie there as they did.
    func present(_ refused: [RefusedPoint]) -> [RefusedPoint] {
        let tokens = Set(points.map(\.token))
        return refused.filter { tokens.contains($0.token) }
    }

    /// The first point behind those that were imported ever, in the order of names, that can be added to
    /// the collection as it is now.
    ///
    /// - Parameter refused: those that were looked at and left out.
    func pending(behind state: CollectionState?, refused: [RefusedPoint]) -> Pending {
        let refused = Set(refused.map(\.token))
        var pending = Pending()
        let last = state?.lastUID.flatMap(SourcePoint.name(inToken:))
        // Asked for what doesn't show alone: most of what was imported does.
        lazy var had = state?.importedNames ?? []
        var isStranded = false
        // Incrementals of a chain that was dropped here were told when it was.
        var isOnDropped = false
        for (index, point) in points.enumerated() {
            if refused.contains(point.token) { continue }
            if let last, !last.utf8.lexicographicallyPrecedes(point.name.utf8) {
                if state?.point(of: point) != nil {
                    isOnDropped = false
                } else if point.namesHere.contains(where: had.contains) {
                    isOnDropped = true
                } else if !point.isIncremental || !isOnDropped {
                    pending.notes.append(
                        "\(point.file ?? point.name) isn't imported: it is older than \(last), which was imported "
                            + "before")
                }
                continue
            }
            // Compacting makes another point of the same cut.
            if point.isIncremental, !isStranded, index > 0, let state {
                let parent = points[index - 1]
                isStranded = state.newest?.name != parent.name && state.newest?.cut != parent.cut
            }
            if point.isIncremental, isStranded {
                pending.notes.append(
                    "\(point.name) isn't imported: what it stands on was dropped here")
                continue
            }
            pending.next = Next(point: point, isLast: index + 1 == points.count)
            break
        }
        return pending
    }

    /// A line for each point that was imported and is another one now.
    func changed(since state: CollectionState?) -> [String] {
        points.filter { point in
            guard let uid = state?.point(of: point)?.uid else { return false }
            return uid != point.token
        }.map { point in
            "\(point.file ?? point.name): its files are others than those that were imported (by size or "
                + "time): it is shown as it was"
        }
    }
}

extension CollectionState {
    /// Names of all points that were ever imported, whatever became of them.
    fileprivate var importedNames: Set<String> {
        Set(tokens.compactMap(SourcePoint.name(inToken:)) + lostPoints.map(\.name))
    }

    fileprivate func point(of point: SourcePoint) -> BackupPoint? {
        point.namesHere.lazy.compactMap { self.point(named: $0) }.first
    }
}
