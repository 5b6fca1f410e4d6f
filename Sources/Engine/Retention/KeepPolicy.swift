/// Which points a collection's `KEEP_` settings keep, with restic's meaning of them: for each rule
/// the newest point of as many hours, days, weeks, months or years as it says, going back from the
/// newest; periods without a point don't count. Times are UTC.
package struct KeepPolicy: Sendable {
    /// What the rules look at of a point.
    package struct Point: Sendable {
        package var name: String
        package var cut: Instant
        package var isPinned: Bool

        package init(name: String, cut: Instant, isPinned: Bool = false) {
            self.name = name
            self.cut = cut
            self.isPinned = isPinned
        }
    }

    /// Why a point stays; no reasons: it goes.
    package struct Verdict: Sendable, Equatable {
        package let point: String
        package let reasons: [String]

        package var isKept: Bool { !reasons.isEmpty }

        /// One line for users.
        package var line: String {
            isKept
                ? "keep \(point): \(reasons.joined(separator: ", "))"
                : "drop \(point): no rule keeps it"
        }
    }

    private struct Rule {
        let name: String
        var left: KeepCount
        /// The period that a point belongs to, by its date, hour and place among the points.
        let period: (CivilDate, _ hour: Int, _ index: Int) -> [Int64]
        var lastPeriod: [Int64]?

        /// Why the rule keeps this point, if it does. Points come newest first.
        mutating func reason(_ instant: Instant, _ index: Int, isOldest: Bool) -> String? {
            if case .newest(0) = left { return nil }
            let (date, time) = instant.civil
            let period = period(date, time.hour, index)
            let isNew = period != lastPeriod
            // While the rule has something left the oldest point stays, for a history as long as can
            // be.
            guard isNew || isOldest else { return nil }
            lastPeriod = period
            if case .newest(let count) = left { left = .newest(count - 1) }
            return isNew ? name : "oldest \(name)"
        }
    }

    private let settings: CollectionSettings

    /// Nil if the settings have no rule: then nothing is ever dropped.
    package init?(_ settings: CollectionSettings) {
        self.settings = settings
        if rules.isEmpty && settings.keepWithin == nil { return nil }
    }

    private var rules: [Rule] {
        let rules: [(String, KeepCount?, (CivilDate, _ hour: Int, _ index: Int) -> [Int64])] = [
            ("last", settings.keepLast, { _, _, index in [Int64(index)] }),
            (
                "hourly", settings.keepHourly,
                { date, hour, _ in [date.daysSince1970, Int64(hour)] }
            ),
            ("daily", settings.keepDaily, { date, _, _ in [date.daysSince1970] }),
            (
                "weekly", settings.keepWeekly,
                { date, _, _ in [date.isoWeek.year, Int64(date.isoWeek.week)] }
            ),
            ("monthly", settings.keepMonthly, { date, _, _ in [date.year, Int64(date.month)] }),
            ("yearly", settings.keepYearly, { date, _, _ in [date.year] }),
        ]
        return rules.compactMap { name, count, period in
            count.map { Rule(name: name, left: $0, period: period) }
        }
    }

    /// A verdict for each of the points, in their order, which is that of their making.
    ///
    /// They are gone through from the newest one made, whatever their clocks said. Those dated
    /// after `now` stay and count for no rule. The newest always stays: the next incremental
    /// continues it, and a collection is never left without a point to restore.
    package func verdicts(_ points: [Point], now: Instant) -> [Verdict] {
        var rules = rules
        let past = points.map { $0.cut <= now }
        let newest = points.map(\.cut).filter { $0 <= now }.max()
        let limit = settings.keepWithin.flatMap { period in newest.map { $0 - period } }
        let oldest = past.firstIndex(of: true)
        var verdicts: [Verdict] = []
        for (index, point) in points.enumerated().reversed() {
            var reasons: [String] = []
            if past[index] {
                for rule in rules.indices {
                    if let reason = rules[rule].reason(point.cut, index, isOldest: index == oldest)
                    {
                        reasons.append(reason)
                    }
                }
                if let limit, point.cut > limit { reasons.append("within \(settings.keepWithin!)") }
            } else {
                reasons.append("dated in the future")
            }
            if point.isPinned { reasons.append("pinned") }
            if index == points.count - 1, reasons.isEmpty { reasons.append("newest") }
            verdicts.append(Verdict(point: point.name, reasons: reasons))
        }
        return verdicts.reversed()
    }
}
