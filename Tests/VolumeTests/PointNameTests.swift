import Bytes
import Engine
import Repository
import Synchronization
import TestSupport
import Testing

/// What points are called, and which of them a time means, whatever the clock does.
@Suite struct PointNameTests {
    @Test func `Every point waits for a second of its own`() throws {
        let pauses = Atomic<Int>(0)
        let clock = TestClock(1_767_225_600_300_000)
        let shop = try Shop(rows: 5)
        var settings = Settings()
        settings.testClock = clock
        settings.pause = { seconds in
            pauses.add(1, ordering: .relaxed)
            clock.advance(microseconds: Int64(seconds * 1e6))
        }
        let product = try Product(shop.database, settings)
        try withTree(.direct, product) { tree in
            try tree.write("control", Shop.create)
            for second in 0..<4 {
                let point = try tree.backup("full", of: "shop")
                #expect(point == "shop/2026010100000\(second)Z_full")
            }
            // Three waits, none of a second or more.
            let count = pauses.load(ordering: .relaxed)
            #expect((3 * 30...3 * 50).contains(count), "\(count)")
        }
    }

    @Test func `A clock that stands still or jumps back gives numbered names`() throws {
        let story = try RetentionStory()
        _ = try story.backup("full", hours: 1)
        #expect(try story.backup("full", hours: 0) == "20260101010000Z~2_full")
        #expect(try story.backup(hours: 0) == "20260101010000Z~3_incremental")
        story.clock.advance(seconds: 3600)
        #expect(try story.backup("full", hours: 0) == "20260101020000Z_full")
        // Dropped points keep their names.
        try story.tree.write(
            "control", "ALTER BACKUP COLLECTION shop DROP BACKUP '20260101020000Z_full'\n")
        #expect(try story.backup("full", hours: 0) == "20260101020000Z~2_full")
        #expect(try story.backup("full", hours: -1) == "20260101010000Z~4_full")
        #expect(
            story.state.points.map(\.sequence) == story.state.points.map(\.sequence).sorted())
        #expect(try story.tree.readLink("shop/latest") == "20260101010000Z~4_full")
        try story.checkRestored("numbered names")
        // Whoever reads the log later comes to the same.
        let names = story.state.points.map(\.name)
        try story.reopen()
        #expect(story.state.points.map(\.name) == names)
    }

    @Test func `One backup under a clock far ahead names no later point`() throws {
        let story = try RetentionStory()
        _ = try story.backup("full", hours: 1)
        let ahead = try story.backup("full", hours: 200_000)
        #expect(ahead.hasPrefix("2048"))
        #expect(try story.backup(hours: -200_000 + 1) == "20260101020000Z_incremental")
        try story.tree.write("control", "ALTER BACKUP COLLECTION shop DROP BACKUP '\(ahead)'\n")
        #expect(try story.backup("full", hours: 1) == "20260101030000Z_full")
    }

    @Test func `A time never gives a state from after it`() throws {
        let story = try RetentionStory()
        func at(_ text: String) throws -> String {
            try Moment(text, of: "shop", in: story.product.engine.repository)
                .point(in: story.state, now: Instant(microseconds: story.clock.microseconds)).name
        }
        let good = try story.backup("full", hours: 10)
        // The machine starts with its clock at 1970, and backs up what was written hours later.
        let wrong = try story.backup(hours: -490_000)
        #expect(wrong.hasPrefix("19"))
        let right = try story.backup(hours: 490_004)
        story.clock.advance(seconds: 3600)
        #expect(try at("2026-01-01T11:00") == good)
        #expect(try at("2026-01-01T14:00") == right)
        #expect(throws: Failure.self) { try at("1980-01-01") }
        #expect(try at(wrong) == wrong)
        #expect(try at("latest") == right)
    }
}
