import Bytes
import Engine
import Repository
import TestSupport
import Testing

/// Which point `AT` means, and what stands behind the slash of `COLLECTION/POINT`.
@Suite struct MomentTests {
    @Test func `names, latest and times mean the same point for everybody`() throws {
        let story = try RetentionStory()
        // At 1 o'clock of the first three days of 2026.
        let points = [
            try story.backup("full", hours: 1), try story.backup(hours: 24),
            try story.backup(hours: 24),
        ]
        story.clock.advance(seconds: 3_600)
        let now = Instant(microseconds: story.clock.microseconds)
        func find(_ text: String) throws -> String {
            let repository = try #require(story.product.engine.repository)
            return try Moment(text, of: "shop", in: repository, now: now).point(in: story.state)
                .name
        }
        let meant: [(String, Int)] = [
            ("latest", 2), ("previous", 1), ("oldest", 0), ("latest-full", 0), ("now", 2),
            ("today", 2), ("yesterday", 1), ("-2h", 1), ("-30h", 0),
            ("2026-01-01", 0), ("2026-01-02T00:59", 0), ("20260102010000Z", 1),
            ("2026-01-02 04:00 +03:00", 1), (points[0], 0), (points[1], 1),
        ]
        for (text, number) in meant { #expect(try find(text) == points[number], "\(text)") }
        for (text, says) in [
            ("-3d", "no backup point as old as"),
            ("monday", "accepted are latest, latest-full, previous, oldest, 2026-11-21"),
            ("20260101000000Z_full", "it is no time"), ("", "it is no time"),
        ] {
            let failure = #expect(throws: Failure.self) { try find(text) }
            #expect(
                failure?.code == .notFound && failure?.message.contains(says) == true, "\(text)")
        }
        // The same in statements, by the clock of the machine, which is later.
        for (text, number) in meant where !["yesterday", "-2h", "-30h"].contains(text) {
            let verified = try story.tree.run("VERIFY AT '\(text)'", in: "shop")
            #expect(verified.hasPrefix("done point=\(points[number]) "), "\(text): \(verified)")
            let restored = try story.tree.run(
                "RESTORE AT '\(text)' (TABLE orders AS o)", in: "shop")
            #expect(restored.hasPrefix("done point=\(points[number]) "), "\(text): \(restored)")
            try story.shop.run("DROP TABLE o")
        }
        // The newest point is the newest one when its turn comes.
        try story.tree.write("shop/control", "full; VERIFY AT 'latest'\n")
        _ = try story.tree.text("shop/operation/wait")
        let last = try #require(story.product.engine.operations.last?.status)
        #expect(last.point != points[2] && last.point == story.state.newest?.name)
    }
}
