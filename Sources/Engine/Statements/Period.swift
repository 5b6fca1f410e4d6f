/// An exact length of time in whole seconds, written `24h`, `7d`, `1h30m`: units `w d h m s`, each
/// at most once, largest first.
package struct Period: Sendable, Hashable, CustomStringConvertible {
    /// Seconds, 0 up to `maximumSeconds`.
    package let seconds: Int64

    /// A thousand years of 365 days: far beyond use, far below overflow of `Instant`.
    package static let maximumSeconds: Int64 = 1_000 * 365 * 86_400

    private static let units: [(letter: UInt8, seconds: Int64)] = [
        (UInt8(ascii: "w"), 604_800), (UInt8(ascii: "d"), 86_400), (UInt8(ascii: "h"), 3_600),
        (UInt8(ascii: "m"), 60), (UInt8(ascii: "s"), 1),
    ]

    package init(seconds: Int64) {
        precondition(seconds >= 0 && seconds <= Self.maximumSeconds)
        self.seconds = seconds
    }

    /// nil when `text` isn't a period or is longer than a thousand years.
    package init?(_ text: some StringProtocol) {
        guard let parts = countsWithUnits(text) else { return nil }
        var total: Int64 = 0
        var remaining = Self.units[...]
        for part in parts {
            guard let index = remaining.firstIndex(where: { $0.letter == part.unit }) else {
                return nil
            }
            let (product, overflow) = part.count.multipliedReportingOverflow(
                by: remaining[index].seconds)
            guard !overflow, product <= Self.maximumSeconds else { return nil }
            total += product
            guard total <= Self.maximumSeconds else { return nil }
            remaining = remaining[(index + 1)...]
        }
        seconds = total
    }

    /// The shortest exact form without weeks (`7d`, not `1w`); zero is `0s`.
    package var description: String {
        if seconds == 0 { return "0s" }
        var rest = seconds
        var text = ""
        for unit in Self.units.dropFirst() where rest >= unit.seconds {
            text += "\(rest / unit.seconds)\(Character(UnicodeScalar(unit.letter)))"
            rest %= unit.seconds
        }
        return text
    }
}

/// A length of time by the calendar, in restic's form `1y5m7d2h` where `m` means months; the
/// meaning of `--keep-within` in restic's manual.
package struct CalendarPeriod: Sendable, Hashable, CustomStringConvertible {
    package let years: Int
    package let months: Int
    package let days: Int
    package let hours: Int

    /// Largest count of one unit: enough for anything, small enough for date arithmetic.
    private static let maximumCount: Int64 = 10_000

    package init(years: Int = 0, months: Int = 0, days: Int = 0, hours: Int = 0) {
        for count in [years, months, days, hours] {
            precondition(count >= 0 && count <= Self.maximumCount)
        }
        self.years = years
        self.months = months
        self.days = days
        self.hours = hours
    }

    /// nil when `text` isn't such a period, names a unit twice, or is zero.
    package init?(_ text: some StringProtocol) {
        guard let parts = countsWithUnits(text) else { return nil }
        var counts: [UInt8: Int] = [:]
        for part in parts {
            guard part.count <= Self.maximumCount, "ymdh".utf8.contains(part.unit),
                counts.updateValue(Int(part.count), forKey: part.unit) == nil
            else { return nil }
        }
        guard counts.values.contains(where: { $0 > 0 }) else { return nil }
        years = counts[UInt8(ascii: "y")] ?? 0
        months = counts[UInt8(ascii: "m")] ?? 0
        days = counts[UInt8(ascii: "d")] ?? 0
        hours = counts[UInt8(ascii: "h")] ?? 0
    }

    package var description: String {
        let parts = [(years, "y"), (months, "m"), (days, "d"), (hours, "h")]
        let text = parts.filter { $0.0 > 0 }.map { "\($0.0)\($0.1)" }.joined()
        return text.isEmpty ? "0h" : text
    }
}

/// `1h30m` as `[(1, h), (30, m)]`, units in lower case; nil for anything else.
private func countsWithUnits(_ text: some StringProtocol) -> [(count: Int64, unit: UInt8)]? {
    var parts: [(count: Int64, unit: UInt8)] = []
    var count: Int64?
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            let grown = (count ?? 0) * 10 + Int64(byte - UInt8(ascii: "0"))
            guard grown <= 1_000_000_000_000 else { return nil }
            count = grown
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
            guard let known = count, parts.count < 8 else { return nil }
            parts.append((known, byte | 0x20))
            count = nil
        default: return nil
        }
    }
    return count == nil && !parts.isEmpty ? parts : nil
}
