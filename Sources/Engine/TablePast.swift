import Repository
import Tables

/// A table through all points of a collection, by its path: one that went and came again under its
/// path is the same to those who look for it.
package struct TablePast: Sendable {
    /// Oldest first, and which points show it.
    private let versions: [(record: TableRecord, points: Range<Int>)]
    private let state: CollectionState

    /// Nil if no point shows such a table.
    package init?(_ path: String, of state: CollectionState) {
        versions = state.versions(path: path)
        self.state = state
        if versions.isEmpty { return nil }
    }

    package var newest: TableRecord { versions[versions.count - 1].record }

    /// From the newest on.
    package var schemas: some Sequence<TableSchema> {
        versions.lazy.map(\.record.schema).reversed()
    }

    /// Whether equal ids of columns mean the same column.
    package var areOneTable: Bool { versions.allSatisfy { $0.record.id == newest.id } }

    /// The table at each point; nil where it isn't there.
    package func snapshots(_ engine: Engine) -> [Snapshot?] {
        var snapshots = [Snapshot?](repeating: nil, count: state.points.count)
        for (record, points) in versions {
            let snapshot = engine.snapshot(record, of: state)
            for point in points { snapshots[point] = snapshot }
        }
        return snapshots
    }

    /// What became of a row.
    package func history(
        of key: TableKey, _ engine: Engine, checkpoint: @escaping () throws -> Void
    ) throws -> RowHistory {
        let holds = versions.map { engine.hold($0.record, of: state) }
        return try withExtendedLifetime(holds) {
            try RowHistory(
                of: key, through: snapshots(engine), areOneTable: areOneTable,
                checkpoint: checkpoint)
        }
    }
}
