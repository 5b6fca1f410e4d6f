import Bytes
import Engine
import Repository

/// A directory with something for each point of a collection, by the point's name.
final class PointsDirectory: TreeDirectory {
    /// What stands for a point, given the one before it.
    typealias Make = @Sendable (_ point: PointPlace, _ before: PointPlace?) -> any TreeNode

    let identity: FileIdentity
    private let tree: TreeContext
    private let id: String
    private let modified: TextFile.Time
    private let make: Make

    init(
        _ tree: TreeContext, _ shown: ShownCollection, _ kind: FileIdentity.Kind,
        modified: @escaping TextFile.Time, make: @escaping Make
    ) {
        self.tree = tree
        self.modified = modified
        self.make = make
        id = shown.state.id
        identity = shown.identity(kind)
    }

    func appearance() throws(Errno) -> Appearance { .directory(modified: try modified()) }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let shown = try tree.collection(id)
        return shown.state.points.indices.map { (shown.state.points[$0].name, node($0, shown)) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        let shown = try tree.collection(id)
        guard let point = shown.state.point(exactly: name),
            let index = shown.state.points.firstIndex(where: { $0.sequence == point.sequence })
        else { throw .noEntry }
        return node(index, shown)
    }

    private func node(_ index: Int, _ shown: ShownCollection) -> any TreeNode {
        let points = shown.state.points
        let before = index > 0 ? PointPlace(tree, shown, points[index - 1].sequence) : nil
        return make(PointPlace(tree, shown, points[index].sequence), before)
    }
}

extension CollectionState {
    /// The point with the very bytes of this name: Swift takes names for equal that look alike.
    func point(exactly name: String) -> BackupPoint? {
        point(named: name).flatMap { $0.name.utf8.elementsEqual(name.utf8) ? $0 : nil }
    }
}

extension PointWord {
    var identity: FileIdentity.Kind {
        switch self {
        case .latest: .latest
        case .latestFull: .latestFull
        case .previous: .previous
        case .oldest: .oldest
        }
    }
}
