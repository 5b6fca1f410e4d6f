import Bytes
import Engine
import Testing

/// What `KEEP_` settings keep, worked out by hand from restic's manual.
@Suite struct KeepPolicyTests {
    /// Reasons of those points that stay, by the time that names them.
    private func kept(
        _ settings: String, _ times: [String], now: String = "2027-06-01T00:00:00Z",
        pinned: Set<String> = []
    ) throws -> [String: [String]] {
        let create = "CREATE BACKUP COLLECTION c (TABLE t) WITH (STORAGE = 'cluster', \(settings))"
        guard case .create(let parsed) = try one(create).action else { return [:] }
        let policy = try #require(KeepPolicy(parsed.settings.values))
        let clock = Instant(microseconds: 0)
        let points = try times.map {
            KeepPolicy.Point(
                name: $0, cut: try Instant(expression: $0, now: clock),
                isPinned: pinned.contains($0))
        }
        let verdicts = policy.verdicts(points, now: try Instant(expression: now, now: clock))
        #expect(verdicts.map(\.point) == times)
        return Dictionary(
            uniqueKeysWithValues: verdicts.filter(\.isKept).map { ($0.point, $0.reasons) })
    }

    private func days(_ range: ClosedRange<Int>, _ month: String = "2026-03") -> [String] {
        range.map { "\(month)-\($0 < 10 ? "0" : "")\($0)T12:00:00Z" }
    }

    @Test func `KEEP_LAST keeps that many`() throws {
        let kept = try kept("KEEP_LAST = '2'", days(1...5))
        #expect(kept == ["2026-03-05T12:00:00Z": ["last"], "2026-03-04T12:00:00Z": ["last"]])
        #expect(try self.kept("KEEP_LAST = 'unlimited'", days(1...5)).count == 5)
    }

    @Test func `of a period the newest stays, and periods without points don't count`() throws {
        let times = [
            "2026-03-01T08:00:00Z", "2026-03-01T23:59:59Z", "2026-03-05T00:00:00Z",
            "2026-03-05T10:00:00Z", "2026-03-09T10:10:00Z", "2026-03-09T10:50:00Z",
        ]
        let daily = try kept("KEEP_DAILY = '2'", times)
        #expect(daily.keys.sorted() == ["2026-03-05T10:00:00Z", "2026-03-09T10:50:00Z"])
        let hourly = try kept("KEEP_HOURLY = '3'", times)
        #expect(
            hourly.keys.sorted() == [
                "2026-03-05T00:00:00Z", "2026-03-05T10:00:00Z", "2026-03-09T10:50:00Z",
            ])
    }

    @Test func `the oldest point stays while a rule has something left`() throws {
        let kept = try kept("KEEP_YEARLY = '5'", days(1...3))
        #expect(
            kept == [
                "2026-03-03T12:00:00Z": ["yearly"], "2026-03-01T12:00:00Z": ["oldest yearly"],
            ])
        #expect(try self.kept("KEEP_YEARLY = '1'", days(1...3)).count == 1)
    }

    @Test func `weeks are those of ISO 8601, also across new year`() throws {
        // 2025-12-29, a Monday, begins week 1 of 2026; 2026-01-04 is its Sunday.
        let times = [
            "2025-12-28T12:00:00Z", "2025-12-29T12:00:00Z", "2026-01-01T12:00:00Z",
            "2026-01-04T12:00:00Z", "2026-01-05T12:00:00Z",
        ]
        let kept = try kept("KEEP_WEEKLY = '3'", times)
        #expect(kept.keys.sorted() == [times[0], times[3], times[4]])
        let monthly = try self.kept("KEEP_MONTHLY = '2'", times)
        #expect(monthly.keys.sorted() == [times[1], times[4]])
    }

    @Test func `KEEP_WITHIN counts from the newest point, not from now`() throws {
        let kept = try kept("KEEP_WITHIN = '2d'", days(1...9))
        #expect(
            kept == [
                "2026-03-09T12:00:00Z": ["within 2d"], "2026-03-08T12:00:00Z": ["within 2d"],
            ])
        // By the calendar: a month before the 31st of March is the 3rd, as February has 28 days.
        let month = try self.kept("KEEP_WITHIN = '1m'", days(1...31))
        #expect(month.count == 28)
    }

    @Test func `a flood of points can't push out what is within`() throws {
        let flood = (0..<60).map { "2026-03-09T13:00:\($0 < 10 ? "0" : "")\($0)Z" }
        let kept = try kept("KEEP_LAST = '3', KEEP_WITHIN = '3d'", days(1...9) + flood)
        for day in days(7...9) { #expect(kept[day] == ["within 3d"]) }
        #expect(kept.count == 3 + flood.count)
    }

    @Test func `points dated in the future stay and count for nothing`() throws {
        let times = days(1...4) + ["2099-01-01T00:00:00Z"] + days(5...5)
        let kept = try kept("KEEP_LAST = '1', KEEP_WITHIN = '1d'", times)
        #expect(
            kept == [
                "2026-03-05T12:00:00Z": ["last", "within 1d"],
                "2099-01-01T00:00:00Z": ["dated in the future"],
            ])
    }

    @Test func `pinned points stay, and so does the newest whatever its clock said`() throws {
        let kept = try kept(
            "KEEP_WITHIN = '1d'", days(4...5) + days(1...1), pinned: ["2026-03-04T12:00:00Z"])
        #expect(
            kept == [
                "2026-03-05T12:00:00Z": ["within 1d"], "2026-03-04T12:00:00Z": ["pinned"],
                "2026-03-01T12:00:00Z": ["newest"],
            ])
    }

    @Test func `rules add up, and without any there is no policy`() throws {
        let times = days(1...31) + days(1...30, "2026-04")
        let kept = try kept("KEEP_LAST = '1', KEEP_DAILY = '3', KEEP_MONTHLY = '2'", times)
        #expect(
            kept == [
                "2026-04-30T12:00:00Z": ["last", "daily", "monthly"],
                "2026-04-29T12:00:00Z": ["daily"], "2026-04-28T12:00:00Z": ["daily"],
                "2026-03-31T12:00:00Z": ["monthly"],
            ])
        #expect(KeepPolicy(CollectionSettings()) == nil)
    }
}
