import Bytes
import Engine
import Repository

/// The folder of a backup point, or a directory in it.
final class PointDirectory: TreeDirectory {
    let identity: FileIdentity
    private let tree: TreeContext
    private let place: PointPlace
    /// In the point's listing; 0 is the point's own folder.
    private let index: Int

    init(_ tree: TreeContext, _ shown: ShownCollection, _ sequence: UInt64, index: Int = 0) {
        self.tree = tree
        self.index = index
        place = PointPlace(shown, sequence)
        identity = shown.identity(.point, of: sequence, UInt64(index))
    }

    func appearance() throws(Errno) -> Appearance {
        .directory(
            modified: Instant(microseconds: try place.point(tree).1.cut), isImmutable: index > 0)
    }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        let shown = try place.collection(tree)
        let listing = try tree.listing(shown, place.sequence)
        guard listing.directories.indices.contains(index) else { throw .noEntry }
        return listing.directories[index].items.map { ($0.name, node($0.item, shown)) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        let shown = try place.collection(tree)
        let listing = try tree.listing(shown, place.sequence)
        guard let item = listing.item(name, in: index) else { throw .noEntry }
        return node(item, shown)
    }

    private func node(_ item: PointListing.Item, _ shown: ShownCollection) -> any TreeNode {
        switch item {
        case .directory(let index):
            PointDirectory(tree, shown, place.sequence, index: index)
        default: tree.file(item, shown, place.sequence)!
        }
    }
}

extension TreeContext {
    /// A file of a point; nil for a directory.
    func file(
        _ item: PointListing.Item, _ shown: ShownCollection, _ sequence: UInt64
    ) -> (any TreeNode)? {
        switch item {
        case .directory: nil
        case .manifest: manifest(shown, sequence)
        case .table(let kind, let table): TableFile(self, kind, shown, sequence, table.id)
        }
    }

    private func manifest(_ shown: ShownCollection, _ sequence: UInt64) -> any TreeNode {
        let place = PointPlace(shown, sequence)
        return TextFile(
            self, shown.identity(.manifest, of: sequence), isImmutable: true,
            modified: { [self] () throws(Errno) in
                Instant(microseconds: try place.point(self).1.cut)
            },
            { [self] () throws(Errno) in
                let (shown, point) = try place.point(self)
                return PointTexts.manifest(shown, point, try listing(shown, sequence).paths)
            })
    }
}
