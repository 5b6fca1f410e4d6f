import Bytes
import Engine
import Repository
import Tables

/// `COLLECTION/history/TABLE/KEY.csv`: one row through all points.
enum RowHistories {
    static func directory(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        TableDirectory(Scope(tree: tree, shown: shown, modified: modified))
    }

    /// What every table has: a directory.
    enum Leaf { case rows }

    private struct Scope: TableScope {
        let tree: TreeContext
        private let id: String
        private let time: TextFile.Time
        private let top: FileIdentity

        init(tree: TreeContext, shown: ShownCollection, modified: @escaping TextFile.Time) {
            self.tree = tree
            id = shown.state.id
            time = modified
            top = shown.identity(.history)
        }

        func identity(_ directory: Int) -> FileIdentity {
            directory == 0 ? top : top.below(.rows, UInt64(directory))
        }

        func modified() throws(Errno) -> Instant { try time() }

        /// Every table that some point shows; one that came again under its path once.
        func listing() throws(Errno) -> TableListing<Leaf> {
            let state = try tree.collection(id).state
            do {
                return try tree.engine.cache.value(
                    top.below(.rows, state.lastEntry, text: "\(state.epoch)").cacheKey
                ) {
                    let newest = state.versions(shownBy: state.points).compactMap(\.last)
                        .sorted { $0.points.upperBound < $1.points.upperBound }
                    var byPath: [[UInt8]: TableRecord] = [:]
                    for version in newest {
                        byPath[Array(version.record.path.utf8)] = version.record
                    }
                    let tables = byPath.values.map { ($0.id, $0.path, $0.sizes) }
                        .sorted { $0.1.utf8.lexicographicallyPrecedes($1.1.utf8) }
                    let listing = TableListing(tables, fixed: []) { _ in [(Leaf.rows, "")] }
                    return (listing, bytes: 512 + tables.count * 512)
                }
            } catch {
                throw .io
            }
        }

        func file(named name: String, in directory: Int) -> any TreeNode {
            preconditionFailure("there is none")
        }

        func file(_ leaf: Leaf, of table: TableListing<Leaf>.Table) -> any TreeNode {
            let (tree, id, time) = (tree, id, time)
            let identity = top.below(.rows, text: table.path)
            return LookupDirectory(
                tree, identity, modified: time,
                readme: {
                    let state = try? tree.collection(id).state
                    let past = state.flatMap { TablePast(table.path, of: $0) }
                    return KeyWords.readme("history", past?.newest, "csv")
                },
                find: { name throws(Errno) in
                    let state = try tree.collection(id).state
                    // A key of any version of the table.
                    guard let past = TablePast(table.path, of: state) else { throw .noEntry }
                    let key = past.schemas.lazy.compactMap {
                        try? KeyWords.key(name, suffix: ".csv", $0)
                    }.first
                    guard let key else { throw .noEntry }
                    return SpooledFile(
                        tree,
                        identity.below(
                            .rowHistory, state.lastEntry, text: "\(state.epoch) \(name)"),
                        keepsName: false, modified: time,
                        words: { ("history/\(table.path)/\(name)", "ydbfs history") },
                        render: { sink, checkpoint in
                            let history = try past.history(
                                of: key, tree.engine, checkpoint: checkpoint)
                            // A row that never was.
                            if history.changes.isEmpty { throw Errno.noEntry }
                            try sink.append(history.csv(points: state.points.map(\.name)))
                        })
                })
        }
    }
}
