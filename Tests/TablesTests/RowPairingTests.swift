import Bytes
import Tables
import TestSupport
import Testing

/// What changed for those who don't see rowids, held against counting by hand.
@Suite struct RowPairingTests {
    private typealias Row = (key: Int32?, value: String?)

    private static func schema(hasKey: Bool) throws -> TableSchema {
        try TableSchema(
            columns: [
                Column(id: 1, name: "value", type: .utf8), Column(id: 2, name: "key", type: .int32),
                Column(
                    id: TableSchema.rowIDColumnID, name: "__ydbfs_rowid", type: .int64,
                    isHidden: true),
            ], key: [2], primaryKey: hasKey ? [1] : [])
    }

    /// Rows under rowids that are given out anew, in no order.
    private static func batch(
        _ rows: [Row], _ schema: TableSchema, _ random: inout SeededGenerator
    ) -> RowBatch {
        let batch = RowBatch(schema)
        for (id, row) in rows.shuffled(using: &random).enumerated() {
            if let value = row.value {
                batch.columns[0].append(text: value)
            } else {
                batch.columns[0].appendNull()
            }
            if let key = row.key {
                batch.columns[1].append(key)
            } else {
                batch.columns[1].appendNull()
            }
            batch.columns[2].append(Int64(id + 1))
        }
        return batch
    }

    private static func text(_ row: Row) -> String { "\(row)" }

    /// Of each kind of row how many there are.
    private static func counts(_ rows: [Row]) -> [String: Int] {
        rows.reduce(into: [:]) { $0[text($1), default: 0] += 1 }
    }

    private static func expected(_ old: [Row], _ new: [Row], hasKey: Bool) -> [Int] {
        var result = [0, 0, 0, 0]
        let group = { (row: Row) in hasKey ? "\(String(describing: row.key))" : text(row) }
        let (olds, news) = (
            Dictionary(grouping: old, by: group), Dictionary(grouping: new, by: group)
        )
        for key in Set(olds.keys).union(news.keys) {
            let (before, after) = (olds[key] ?? [], news[key] ?? [])
            let others = counts(after)
            let same = counts(before).reduce(0) { $0 + min($1.value, others[$1.key] ?? 0) }
            let pairs = min(before.count - same, after.count - same)
            result[0] += same
            result[1] += after.count - same - pairs
            result[2] += pairs
            result[3] += before.count - same - pairs
        }
        return result
    }

    @Test(arguments: 0..<80) func `rows are paired by key, or as a multiset`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let hasKey = seed % 2 == 0
        let schema = try Self.schema(hasKey: hasKey)
        func row() -> Row {
            (
                Int.random(in: 0..<5, using: &random) == 0
                    ? nil : Int32.random(in: -40...40, using: &random),
                [nil, "", "a", "b", "\u{0}", "ä"].randomElement(using: &random)!
            )
        }
        var old: [Row] = []
        for _ in 0..<Int.random(in: 0...120, using: &random) { old.append(row()) }
        var new: [Row] = []
        for kept in old where Int.random(in: 0..<6, using: &random) > 0 {
            let changes = Int.random(in: 0..<6, using: &random) == 0
            new.append(changes ? (kept.key, row().value) : kept)
        }
        for _ in 0..<Int.random(in: 0...20, using: &random) { new.append(row()) }
        // So little memory that runs are stored and merged.
        var limits = SortLimits()
        if seed % 4 > 1 { (limits.runBytes, limits.recordBytes, limits.mergedRuns) = (400, 64, 3) }
        let pairing = try RowPairing(
            old: StutteringCursor(Self.batch(old, schema, &random), seed: seed),
            new: StutteringCursor(Self.batch(new, schema, &random), seed: seed + 1),
            schema: schema, limits: limits, checkpoint: {})
        let found = [pairing.same, pairing.inserted, pairing.updated, pairing.deleted].map(Int.init)
        #expect(found == Self.expected(old, new, hasKey: hasKey))
    }
}
