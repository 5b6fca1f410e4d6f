import Bytes
import Engine
import Repository

/// A collection: its control file, texts about it, links and points.
final class CollectionDirectory: TreeDirectory {
    let identity: FileIdentity
    private let tree: TreeContext
    private let id: String

    init(_ tree: TreeContext, _ shown: ShownCollection) {
        self.tree = tree
        id = shown.state.id
        identity = shown.identity(.collection)
    }

    func appearance() throws(Errno) -> Appearance {
        .directory(modified: tree.modified(try tree.collection(id)))
    }

    private static let names = [
        "control", "status", "operation", "collection.sql", "chain", "chain.json", "chain.svg",
        "latest",
        "latest-full", "previous", "oldest", "as-of", "changes", "diff", "by-key",
        "history", "dump",
    ]

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let shown = try tree.collection(id)
        return Self.names.compactMap { name in own(name, shown).map { (name, $0) } }
            + shown.state.points.map { ($0.name, point($0, shown)) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        let shown = try tree.collection(id)
        if let own = own(name, shown) { return own }
        guard let point = shown.state.point(exactly: name)
        else { throw .noEntry }
        return self.point(point, shown)
    }

    private func point(_ point: BackupPoint, _ shown: ShownCollection) -> any TreeNode {
        TableDirectory(PointScope(PointPlace(tree, shown, point.sequence)))
    }

    /// The file of a name, if there is one now.
    private func own(_ name: String, _ shown: ShownCollection) -> (any TreeNode)? {
        if let word = PointWord(rawValue: name) { return pointLink(word, shown) }
        return switch name {
        case "control":
            ControlFile(tree, shown.identity(.collectionControl), collection: id)
        case "status": text(.status, shown, isFresh: true, CollectionStatus.text)
        case "operation":
            tree.engine.newestOperation(of: shown.name).map { _ in newestOperation(shown) }
        case "collection.sql":
            text(.definition, shown) { _, shown in shown.state.definition?.sql ?? "" }
        case "chain": text(.chain, shown, ChainTexts.text)
        case "chain.json":
            text(.chainJSON, shown) { engine, shown in
                String(decoding: ChainTexts.json(engine, shown).document, as: UTF8.self)
            }
        case "chain.svg": text(.chainSVG, shown, ChainPicture.text)
        case "as-of": AsOf.directory(tree, shown, modified: modified)
        case "changes": Diffs.byPoint(tree, shown, modified: modified)
        case "diff": Diffs.directory(tree, shown, modified: modified)
        case "by-key": RowsByKey.directory(tree, shown, modified: modified)
        case "dump": Dumps.directory(tree, shown, modified: modified)
        case "history": RowHistories.directory(tree, shown, modified: modified)
        default: nil
        }
    }

    private func text(
        _ kind: FileIdentity.Kind, _ shown: ShownCollection, isFresh: Bool = false,
        _ make: @escaping @Sendable (Engine, ShownCollection) -> String
    ) -> any TreeNode {
        let (tree, id) = (tree, id)
        return TextFile(
            tree, shown.identity(kind), isFresh: isFresh, modified: modified,
            { () throws(Errno) in
                [UInt8](make(tree.engine, try tree.collection(id)).utf8)
            })
    }

    private var modified: TextFile.Time {
        let (tree, id) = (tree, id)
        return { () throws(Errno) in tree.modified(try tree.collection(id)) }
    }

    private func newestOperation(_ shown: ShownCollection) -> any TreeNode {
        let (tree, id) = (tree, id)
        return Link(
            shown.identity(.newestOperation), modified: modified,
            { () throws(Errno) in
                let name = try tree.collection(id).name
                guard let newest = tree.engine.newestOperation(of: name) else { throw .noEntry }
                return "../operations/\(newest.name)"
            })
    }

    /// A link to a point, if there is one now.
    private func pointLink(_ word: PointWord, _ shown: ShownCollection) -> (any TreeNode)? {
        guard word.point(of: shown.state) != nil else { return nil }
        let (tree, id) = (tree, id)
        return Link(
            shown.identity(word.identity), modified: modified,
            { () throws(Errno) in
                guard let point = word.point(of: try tree.collection(id).state) else {
                    throw .noEntry
                }
                return point.name
            })
    }
}

extension TreeContext {
    /// When a collection got its newest point or operation.
    func modified(_ shown: ShownCollection) -> Instant {
        let newest = shown.state.newest?.cut ?? shown.state.definition?.time ?? 0
        let operation = engine.newestOperation(of: shown.name)
        let touched = operation.map { $0.status.ended ?? $0.accepted }
        return max(Instant(microseconds: newest), touched ?? Instant(microseconds: newest))
    }
}
