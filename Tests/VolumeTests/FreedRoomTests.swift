import Bytes
import Engine
import Foundation
import Repository
import TestSupport
import Testing
import Volume

/// What `chain` says that dropping a point would give back, against what it does give back.
@Suite struct FreedRoomTests {
    /// Two chains, the second compacted, of 7 points.
    private func story(_ settings: String = "KEEP_DROPPED = '0s'") throws -> RetentionStory {
        let story = try RetentionStory(settings) { $0.removalDelay = 0 }
        try story.backup("full")
        try story.backup()
        try story.backup()
        try story.backup("full")
        try story.backup()
        try story.compact()
        try story.backup()
        return story
    }

    /// By name, as `chain.json` tells it.
    private func frees(_ story: RetentionStory) throws -> [String: Int] {
        struct Chain: Decodable {
            struct Point: Decodable {
                var point: String
                var frees: Int
            }
            var points: [Point]
        }
        let chain = try JSONDecoder().decode(
            Chain.self, from: Data(story.tree.read("shop/chain.json")))
        return Dictionary(uniqueKeysWithValues: chain.points.map { ($0.point, $0.frees) })
    }

    @Test(arguments: 0..<7) func `dropping any point frees what chain says`(victim: Int) throws {
        let story = try story()
        let point = try story.points[victim]
        let expected = try #require(frees(story)[point])
        let before = try story.dataBytes
        try story.alter("DROP", point)
        #expect(try before - story.dataBytes == expected)
        #expect(try frees(story).values.contains { $0 > 0 })
        try story.check("without \(point)")
        // And so on, one after the other, with what is left.
        for point in try story.points.dropLast() {
            let expected = try #require(frees(story)[point])
            let before = try story.dataBytes
            try story.alter("DROP", point)
            #expect(try before - story.dataBytes == expected, "\(point)")
        }
        // The last one can't go; nobody else needs anything any more.
        #expect(try frees(story) == [story.points[0]: story.dataBytes])
    }

    @Test func `what a dropped point needs isn't freed by another`() throws {
        let story = try story("KEEP_DROPPED = '24h'")
        let points = try story.points
        let before = try frees(story)
        try story.alter("DROP", points[1])
        let after = try frees(story)
        #expect(after[points[1]] == nil)
        for point in points where point != points[1] { #expect(after[point] == before[point]) }
        #expect(try story.tree.text("shop/chain").contains("FREES"))
    }
}
