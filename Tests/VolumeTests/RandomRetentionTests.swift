import Bytes
import Engine
import Repository
import Tables
import TestSupport
import Testing

/// What is kept, whichever points go and come: the rows of its time. What isn't kept takes no room.
@Suite struct RandomRetentionTests {
    @Test(arguments: 0..<12)
    func `random policies over random chains: every point kept reads and restores as what it was`(
        _ seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        let rules = ["LAST", "HOURLY", "DAILY", "WEEKLY", "MONTHLY"].filter { _ in
            random.chance(50)
        }.map { "KEEP_\($0) = '\(1 + random.below(4))'" }
        let within = random.chance(30) ? ["KEEP_WITHIN = '\(1 + random.below(3))d'"] : []
        let kept = ["0s", "3h", "2d"].randomElement(using: &random)!
        let story = try RetentionStory(
            (rules + within + ["KEEP_DROPPED = '\(kept)'"]).joined(separator: ", ")
        ) {
            $0.removalDelay = [0, 10].randomElement(using: &random)!
            $0.limits.rebaseMinEdits = random.below(8)
            $0.limits.maxRuns = 1 + random.below(4)
        }
        let hours: [Int64] = [1, 1, 5, 24, 100]
        try story.backup("full")
        for step in 0..<20 {
            let what: Comment = "seed \(seed), step \(step)"
            let name = try story.points.randomElement(using: &random)!
            let before = try story.points
            switch random.below(14) {
            case 0, 1: try? story.alter("DROP", name)
            case 2:
                if let gone = story.state.droppedPoints.randomElement(using: &random) {
                    try? story.alter("UNDROP", gone.name)
                }
            case 3: try story.alter(random.chance(50) ? "PIN" : "UNPIN", name)
            case 4: _ = try? story.tree.run("PRUNE", in: "shop")
            case 5: try story.reopen()
            case 6: try story.compact()
            case 7: try story.backup("full", hours: hours.randomElement(using: &random)!)
            default:
                try story.backup(hours: hours.randomElement(using: &random)!)
            }
            try story.check(what)
            #expect(try !story.points.isEmpty, what)
            for point in story.state.points where point.isPinned {
                #expect(try story.points.contains(point.name), what)
            }
            #expect(try story.points.contains(before.last!) || before.count > 1, what)
            #expect(story.state.neededFiles.isSubset(of: Set(story.state.files.keys)), what)
        }
        try story.reopen()
        try story.check("seed \(seed), at the end")
        try story.checkRestored("seed \(seed)")
    }

    @Test func `the live rest of a mostly dead file is copied out, and its bytes go`() throws {
        let story = try RetentionStory("KEEP_DROPPED = '0s'") { $0.removalDelay = 0 }
        try story.shop.add(200)
        let full = try story.backup("full", changes: "UPDATE orders SET amount = 1")
        let second = try story.backup(changes: "UPDATE orders SET amount = 2 WHERE id > 40")
        let base = story.state.files.values.filter { file in
            story.state.points[0].files.contains { $0.number == file.number }
                && file.name.hasSuffix(".parquet") && file.rows > 100
        }.map(\.name)
        #expect(base.count == 1)
        // The second point shows a sixth of the full's rows, so that all of its file stays.
        try story.alter("DROP", full)
        #expect(try story.dataFiles.isSuperset(of: base))
        let before = try story.rowBytes
        let third = try story.backup(changes: "UPDATE orders SET amount = 3 WHERE id = 200")
        #expect(try story.dataFiles.isSuperset(of: base))
        try story.alter("DROP", second)
        #expect(try story.dataFiles.isDisjoint(with: base))
        #expect(try story.rowBytes < before)
        #expect(try story.points == [third])
        try story.check("after the copy")
        try story.checkRestored("after the copy")
        #expect(try story.tree.run("VERIFY", in: "shop").hasPrefix("done"))
    }
}
