import Bytes
import Engine

/// The root: texts about the mount, its control file, operations and collections.
final class RootDirectory: TreeDirectory {
    /// What is listed.
    private static let listed = [
        "README", "CACHEDIR.TAG", "control", "errors", "operations", "metrics",
    ]
    /// Names that no collection's directory gets.
    static let names = listed + [MountFacts.fileName]

    let identity = FileIdentity(.root)
    private let tree: TreeContext

    init(_ tree: TreeContext) { self.tree = tree }

    func appearance() throws(Errno) -> Appearance {
        .directory(modified: tree.lastOperationTime)
    }

    func children() throws(Errno) -> [(name: String, node: any TreeNode)] {
        Self.listed.compactMap { name in own(name).map { (name, $0) } }
            + tree.collections.map { ($0.fileName, CollectionDirectory(tree, $0)) }
    }

    func child(_ name: String) throws(Errno) -> any TreeNode {
        if let own = own(name) { return own }
        let found = tree.collections.first { $0.fileName.utf8.elementsEqual(name.utf8) }
        guard let found else { throw .noEntry }
        return CollectionDirectory(tree, found)
    }

    private func own(_ name: String) -> (any TreeNode)? {
        let tree = tree
        let started: TextFile.Time = { () throws(Errno) in tree.started }
        switch name {
        case "README":
            return TextFile(tree, FileIdentity(.readme), modified: started) { () throws(Errno) in
                [UInt8](RootTexts.readme(tree).utf8)
            }
        case "CACHEDIR.TAG":
            return TextFile(tree, FileIdentity(.cacheTag), modified: started) { () throws(Errno) in
                [UInt8](RootTexts.cacheTag.utf8)
            }
        case "control":
            return ControlFile(tree, FileIdentity(.control), collection: nil)
        case "errors":
            return TextFile(
                tree, FileIdentity(.errors),
                modified: { () throws(Errno) in tree.lastOperationTime },
                { () throws(Errno) in
                    [UInt8](tree.engine.errors.newest().map(\.lines).joined().utf8)
                })
        case "metrics":
            return TextFile(
                tree, FileIdentity(.metrics),
                modified: { () throws(Errno) in tree.lastOperationTime },
                { () throws(Errno) in [UInt8](Metrics.text(tree).utf8) })
        case "operations": return OperationsDirectory(tree)
        case MountFacts.fileName:
            // Another file in the database's place is told at once: no older text is kept for it.
            let facts = MountFacts(tree.engine)
            let identity = FileIdentity(.facts, facts.stamp)
            return TextFile(tree, identity, modified: started) { () throws(Errno) in facts.text }
        default: return nil
        }
    }
}

extension TreeContext {
    /// When something last happened in this mount.
    var lastOperationTime: Instant {
        let newest = engine.operations.last.map { $0.status.ended ?? $0.accepted }
        return max(started, newest ?? started)
    }
}

/// Texts of the root.
private enum RootTexts {
    static let cacheTag =
        "Signature: 8a477f597d28d172789f06886806bc55\n"
        + "# A view of backups: backing it up again is of no use.\n"

    static func readme(_ tree: TreeContext) -> String {
        """
        Backup collections of \(oneLine(tree.source)), stored in \(oneLine("\(tree.engine.location)")).

        control                 write statements here; reading it shows the last refusal and usage
        errors                  what was refused or failed, newest last
        operations/ID/          state, progress and error of each backup; `cat wait` blocks until it ends
        COLLECTION/control      the same with the collection's name implied: full, incremental
        COLLECTION/latest/      the newest backup point: a folder of whole tables, TABLE.csv and TABLE.parquet
        COLLECTION/as-of/TIME/  the newest point that isn't later than TIME, say 2026-11-21T10:30:00Z or yesterday
        COLLECTION/chain        all points, a line each; chain.svg is a picture of them
        COLLECTION/changes/     what changed at each point; diff/A..B/ is the same between any two points
        COLLECTION/by-key/      a row by its key; history/TABLE/KEY.csv is what became of it
        COLLECTION/dump/POINT   the point as ydb tools restore -i takes it
        metrics                 figures for Prometheus

            echo 'CREATE BACKUP COLLECTION shop ( TABLE orders ) WITH ( STORAGE = "cluster", \
        INCREMENTAL_BACKUP_ENABLED = "true" )' > control
            echo full > shop/control
            cat shop/operation/wait
            echo incremental > shop/control
            cp -rL shop/latest /tmp/copy

        Everything but control and cancel is read-only. Times are UTC.

        """
    }
}
