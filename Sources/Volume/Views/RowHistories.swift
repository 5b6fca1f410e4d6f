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

        /// Every table that some point shows.
        func listing() throws(Errno) -> TableListing<Leaf> {
            let state = try tree.collection(id).state
            do {
                return try tree.engine.cache.value(
                    top.below(.rows, state.lastEntry, text: "\(state.epoch)").cacheKey
                ) {
                    let tables = state.versions(shownBy: state.points).compactMap {
                        $0.last.map { ($0.record.id, $0.record.path, $0.record.sizes) }
                    }.sorted { $0.1.utf8.lexicographicallyPrecedes($1.1.utf8) }
                    let listing = TableListing(tables, fixed: []) { _ in [(Leaf.rows, "")] }
                    return (listing, bytes: 512 + tables.count * 512)
                }
            } catch {
                throw .io
            }
        }

        func file(named name: String) -> any TreeNode { preconditionFailure("there is none") }

        func file(_ leaf: Leaf, of table: TableListing<Leaf>.Table) -> any TreeNode {
            let (tree, id, time) = (tree, id, time)
            let identity = top.below(.rows, UInt64(table.id), text: "table")
            return LookupDirectory(
                tree, identity, modified: time,
                readme: {
                    let state = try? tree.collection(id).state
                    let newest = state.flatMap { Self.versions(of: table.id, $0).last?.record }
                    return KeyWords.readme("history", newest, "csv")
                },
                find: { name throws(Errno) in
                    let state = try tree.collection(id).state
                    // A key of any version of the table.
                    let schemas = Self.versions(of: table.id, state).map(\.record.schema)
                    var key: TableKey?
                    for schema in schemas.reversed() where key == nil {
                        key = try? KeyWords.key(name, suffix: ".csv", schema)
                    }
                    guard let key else { throw .noEntry }
                    return SpooledFile(
                        tree,
                        identity.below(
                            .rowHistory, state.lastEntry, text: "\(state.epoch) \(name)"),
                        keepsName: false, modified: time,
                        words: { ("history/\(table.path)/\(name)", "ydbfs history") },
                        render: { sink, checkpoint in
                            try Self.render(key, table.id, state, tree.engine, sink, checkpoint)
                        })
                })
        }

        private static func versions(
            of table: UInt32, _ state: CollectionState
        ) -> [(record: TableRecord, points: Range<Int>)] {
            state.versions(shownBy: state.points).first { $0.first?.record.id == table } ?? []
        }

        private static func render(
            _ key: TableKey, _ table: UInt32, _ state: CollectionState, _ engine: Engine,
            _ sink: any ByteSink, _ checkpoint: @escaping @Sendable () throws -> Void
        ) throws {
            var snapshots = [Snapshot?](repeating: nil, count: state.points.count)
            var holds: [PointHold] = []
            for (record, points) in versions(of: table, state) {
                holds.append(engine.hold(record, of: state))
                let snapshot = engine.snapshot(record, of: state)
                for point in points { snapshots[point] = snapshot }
            }
            try withExtendedLifetime(holds) {
                let history = try RowHistory(of: key, through: snapshots, checkpoint: checkpoint)
                // A row that never was.
                if history.changes.isEmpty { throw Errno.noEntry }
                try sink.append(history.csv(points: state.points.map(\.name)))
            }
        }
    }
}
