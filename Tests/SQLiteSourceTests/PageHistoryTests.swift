import Bytes
import Foundation
import SQLiteSource
import Tables
import TestSupport
import Testing

/// Random histories of all that may confuse one who looks at pages (`changer.py`): at every point the
/// parent's rows outside of the ranges and the rows inside are what a scan of the same cut finds, and
/// what SQLite says, in another process, is there.
///
/// A failure names its seed: `SEED=17 HISTORIES=1 swift test … --filter PageHistoryTests` runs that
/// history alone. `Tests/SQLiteHistories/run` runs thousands.
@Suite(.serialized) struct PageHistoryTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let points = 8

    @Test func `Nothing that was done to a database is missed by a look at its pages`() throws {
        let first = UInt64(Self.environment["SEED"] ?? "") ?? 1
        let count = UInt64(Self.environment["HISTORIES"] ?? "") ?? 12
        let bench = try Workbench(inMemory: true)
        var history = PageHistory()
        for seed in first..<first + count {
            do {
                try history.run(seed: seed, points: Self.points, in: bench)
            } catch {
                Issue.record("SEED=\(seed) HISTORIES=1: \(error)")
                if count < 100 { return }
            }
        }
        print(
            "seeds from \(first): \(history.rows) rows, \(history.ranged) tables by ranges with "
                + "\(history.compared) rows, \(history.scanned) whole")
        // A key that reaches into overflow pages isn't followed.
        let doubts = history.doubts.filter { !$0.contains("is very long") }
        #expect(doubts.isEmpty, "a doubt without a reason")
        #expect(history.ranged > history.scanned, "too few tables are known again")
        #expect(history.compared < history.rows / 2, "too much is compared")
    }

    /// Each is a mistake that is easily made. Where blocks of rows end hangs on the secret of the hashes,
    /// which is the same in every run here: what was noticed once always is.
    @Test(arguments: PageHistory.Mistake.allCases)
    func `Histories notice`(mistake: PageHistory.Mistake) throws {
        let bench = try Workbench(inMemory: true)
        var history = PageHistory()
        var isNoticed = false
        for seed in 1...60 as ClosedRange<UInt64> where !isNoticed {
            do {
                try history.run(
                    seed: seed, points: Self.points, in: bench, rules: mistake.rules,
                    adjust: mistake.adjust)
                // A doubt, where there should be none, is one way to notice.
                isNoticed = !history.doubts.isEmpty
            } catch is Chain.Wrong {
                isNoticed = true
            }
        }
        #expect(isNoticed)
    }
}

extension PageHistory {
    enum Mistake: CaseIterable {
        case overflowPagesIgnored, interiorRowsIgnored, nothingBetweenBlocks, hashOfFourBits
        case anotherParent

        var rules: PageRules {
            var rules = PageRules()
            rules.newHash = { KeyedHash(deriving: "histories") }
            switch self {
            case .overflowPagesIgnored: rules.countsOverflow = false
            case .interiorRowsIgnored: rules.countsInteriorRows = false
            case .nothingBetweenBlocks: rules.looksBetweenBlocks = false
            case .hashOfFourBits: rules.hashBits = 4
            case .anotherParent: break
            }
            return rules
        }

        /// What the chain believes of its parent, before a point.
        func adjust(_ chain: Chain, _ point: Int) {
            if self == .anotherParent, point > 1 { chain.known = chain.knownBefore }
        }
    }
}
