import Bytes
import Tables
import TestSupport
import Testing

/// The edit algebra against a table kept as a sorted array of keys.
@Suite struct EditTests {
    /// Base rows have even keys 0, 2, 4 … 2(n − 1); key k belongs at position ⌈k / 2⌉, held in 0…n.
    private struct Model {
        let base: Int
        /// Present rows: key to the row that shows it; nil for a base row.
        var rows: [Int: UInt32?]

        init(base: Int) {
            self.base = base
            rows = Dictionary(uniqueKeysWithValues: (0..<base).map { ($0 * 2, nil) })
        }

        static func place(_ key: Int, base: Int) -> (position: UInt32, hitsBase: Bool) {
            let position = min(max((key + 1) >> 1, 0), base)
            return (UInt32(position), key >= 0 && key % 2 == 0 && key / 2 < base)
        }
    }

    /// Keys by the row that an edit names.
    private typealias RowKeys = [UInt32: Int]

    /// Applies sorted changes (key, row or nil to delete), as `IncrementalWriter` does.
    private func apply(
        _ changes: [(key: Int, row: UInt32?)], to edits: [Edit], base: Int, keys: RowKeys
    ) -> [Edit] {
        // In two parts, as a slice with many changes is.
        var splicer = EditSplicer(edits)
        for half in [changes[..<(changes.count / 2)], changes[(changes.count / 2)...]] {
            guard let first = half.first else { continue }
            let start = Model.place(first.key, base: base).position
            var walker = EditWalker(edits, from: half.startIndex == 0 ? 0 : start)
            walk(&walker, half, into: &splicer, base: base, keys: keys)
        }
        return splicer.finish()
    }

    private func walk(
        _ walker: inout EditWalker, _ changes: ArraySlice<(key: Int, row: UInt32?)>,
        into splicer: inout EditSplicer, base: Int, keys: RowKeys
    ) {
        for change in changes {
            let (position, hit) = Model.place(change.key, base: base)
            let found = walker.seek(position: position, hitsBase: hit) {
                keys[$0.row]! - change.key
            }
            let exists = found.map { $0.kind != .delete } ?? hit
            if change.row == nil, !exists {
                walker.keep()
                continue
            }
            let row = change.row.map { RunRow(file: 1, row: $0) }
            if let edit = EditWalker.outcome(position: position, hitsBase: hit, row: row) {
                splicer.put(walker.put(edit))
            } else {
                splicer.put(walker.remove())
            }
        }
    }

    /// What a slice shows: base rows as nil, edited ones by their row.
    private func show(_ edits: [Edit], base: Int, keys: RowKeys) -> [(key: Int, row: UInt32?)] {
        var result: [(key: Int, row: UInt32?)] = []
        var next = 0
        for edit in edits {
            while next < Int(edit.position) {
                result.append((next * 2, nil))
                next += 1
            }
            if edit.kind != .delete { result.append((keys[edit.row.row]!, edit.row.row)) }
            if edit.kind != .insert { next += 1 }
        }
        while next < base {
            result.append((next * 2, nil))
            next += 1
        }
        return result
    }

    private func check(_ edits: [Edit], _ model: Model, keys: RowKeys, _ comment: String) {
        let shown = show(edits, base: model.base, keys: keys)
        let expected = model.rows.sorted { $0.key < $1.key }
        #expect(shown.map(\.key) == expected.map(\.key), "\(comment): \(edits)")
        #expect(shown.map(\.row) == expected.map(\.value), "\(comment): \(edits)")
        var kinds: Set<String> = []
        for edit in edits {
            #expect(edit.kind == .insert || edit.position < model.base, "\(comment): \(edits)")
            #expect(edit.position <= model.base)
            if edit.kind != .insert {
                #expect(kinds.insert("\(edit.position)").inserted, "\(comment): twice \(edits)")
            } else {
                let key = keys[edit.row.row]!
                #expect(!Model.place(key, base: model.base).hitsBase, "\(comment): \(edits)")
            }
        }
    }

    /// Every two successive batches of changes to keys around the base rows: each key untouched, put or deleted.
    @Test(arguments: [0, 1, 2]) func `every pair of change batches shows what it should`(base: Int)
    {
        let space = Array((base == 2 ? 0 : -1)...max(base * 2, 1))
        let batches = (0..<Int(repeating: 3, power: space.count)).map { code in
            space.enumerated().compactMap { index, key -> (key: Int, put: Bool)? in
                switch code / Int(repeating: 3, power: index) % 3 {
                case 0: nil
                case 1: (key, true)
                default: (key, false)
                }
            }
        }
        for first in batches {
            for second in batches {
                var model = Model(base: base)
                var keys: RowKeys = [:]
                var edits: [Edit] = []
                var nextRow: UInt32 = 0
                for batch in [first, second] {
                    var changes: [(key: Int, row: UInt32?)] = []
                    for (key, put) in batch {
                        if put {
                            keys[nextRow] = key
                            changes.append((key, nextRow))
                            model.rows[key] = .some(nextRow)
                            nextRow += 1
                        } else {
                            changes.append((key, nil))
                            model.rows[key] = nil
                        }
                    }
                    edits = apply(changes, to: edits, base: base, keys: keys)
                }
                check(edits, model, keys: keys, "\(first) then \(second)")
            }
        }
    }

    @Test(arguments: 0..<300) func `long random histories show what they should`(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let base = Int.random(in: 0...12, using: &random)
        // Odd keys far behind the last row make many inserts at one position.
        let space = -6...base * 2 + 9
        var model = Model(base: base)
        var keys: RowKeys = [:]
        var edits: [Edit] = []
        var tiers: [[Edit]] = []
        var nextRow: UInt32 = 0
        for _ in 0..<40 {
            var touched: Set<Int> = []
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                touched.insert(Int.random(in: space, using: &random))
            }
            var changes: [(key: Int, row: UInt32?)] = []
            for key in touched.sorted() {
                if Bool.random(using: &random) {
                    keys[nextRow] = key
                    changes.append((key, nextRow))
                    model.rows[key] = .some(nextRow)
                    nextRow += 1
                } else {
                    changes.append((key, nil))
                    model.rows[key] = nil
                }
            }
            let before = edits
            edits = apply(changes, to: edits, base: base, keys: keys)
            check(edits, model, keys: keys, "seed \(seed)")
            tiers.append(before.difference(to: edits))
            if tiers.count > 3, Bool.random(using: &random) {
                let last = tiers.removeLast()
                tiers.append(tiers.removeLast().overridden(by: last))
            }
            #expect([Edit].merging(tiers) == edits, "seed \(seed)")
        }
    }

    @Test func `deleting an inserted row leaves no edit, re-inserting a base key is a replace`() {
        let keys: RowKeys = [0: 3, 1: 2, 2: 2]
        var edits = apply([(3, 0)], to: [], base: 3, keys: keys)
        #expect(edits == [Edit(.insert, at: 2, row: RunRow(file: 1, row: 0))])
        edits = apply([(3, nil)], to: edits, base: 3, keys: keys)
        #expect(edits.isEmpty)
        edits = apply([(2, nil)], to: edits, base: 3, keys: keys)
        #expect(edits == [Edit(.delete, at: 1)])
        edits = apply([(2, 1)], to: edits, base: 3, keys: keys)
        #expect(edits == [Edit(.replace, at: 1, row: RunRow(file: 1, row: 1))])
        edits = apply([(2, 2)], to: edits, base: 3, keys: keys)
        #expect(edits == [Edit(.replace, at: 1, row: RunRow(file: 1, row: 2))])
    }

    @Test func `keep leaves the edit that was found`() {
        let old = [
            Edit(.insert, at: 0, row: RunRow(file: 7, row: 1)), Edit(.delete, at: 0),
            Edit(.replace, at: 2, row: RunRow(file: 7, row: 2)),
        ]
        var walker = EditWalker(old)
        #expect(walker.seek(position: 0, hitsBase: true, order: { _ in 0 }) == old[1])
        walker.keep()
        #expect(walker.seek(position: 1, hitsBase: true, order: { _ in 0 }) == nil)
        walker.keep()
        #expect(walker.seek(position: 3, hitsBase: false, order: { _ in 0 }) == nil)
        let put = walker.put(Edit(.insert, at: 3))
        #expect(put == Splice(index: 3, removes: false, edit: Edit(.insert, at: 3)))
        var splicer = EditSplicer(old)
        splicer.put(put)
        #expect(splicer.finish() == old + [Edit(.insert, at: 3)])
    }
}

extension FixedWidthInteger {
    /// `repeating` to the `power`.
    init(repeating base: Self, power: Int) {
        self = (0..<power).reduce(1) { product, _ in product * base }
    }
}
