import Bytes
import Engine

/// A directory that can't list what it has, because that is whatever somebody asks for: it lists a
/// README with examples. A name that means nothing is not there, and no error.
final class LookupDirectory: TreeDirectory {
    typealias Find = @Sendable (_ name: String) throws(Errno) -> any TreeNode

    let identity: FileIdentity
    private let tree: TreeContext
    private let modified: TextFile.Time
    private let readme: @Sendable () -> String
    private let find: Find

    init(
        _ tree: TreeContext, _ identity: FileIdentity, modified: @escaping TextFile.Time,
        readme: @escaping @Sendable () -> String, find: @escaping Find
    ) {
        self.tree = tree
        self.identity = identity
        self.modified = modified
        self.readme = readme
        self.find = find
    }

    func appearance() throws(Errno) -> Appearance { .directory(modified: try modified()) }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        [("README", readmeFile)]
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        name == "README" ? readmeFile : try find(name)
    }

    private var readmeFile: any TreeNode {
        let readme = readme
        return TextFile(
            tree, identity.below(.lookupReadme), modified: modified,
            { () throws(Errno) in [UInt8](readme().utf8) })
    }
}
