import Bytes
import Glibc

/// A moment in UTC: whole microseconds since 1970-01-01T00:00:00Z, leap seconds not counted (as in
/// POSIX). The cut of every point, and what `AT` and `as-of` are compared with.
package struct Instant: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let microseconds: Int64

    package init(microseconds: Int64) { self.microseconds = microseconds }

    /// `seconds` beyond what 64 bits of microseconds hold become the nearest that they do hold.
    package init(seconds: Int64) {
        let product = seconds.multipliedReportingOverflow(by: 1_000_000)
        self.init(microseconds: saturating(product, seconds))
    }

    /// The system's real-time clock.
    package static var now: Instant {
        var time = timespec()
        let result = clock_gettime(CLOCK_REALTIME, &time)
        precondition(result == 0, "CLOCK_REALTIME always exists")
        return Instant(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }

    package static func < (left: Instant, right: Instant) -> Bool {
        left.microseconds < right.microseconds
    }

    /// Whole seconds since 1970, rounded down.
    package var seconds: Int64 { floorDivided(microseconds, by: 1_000_000).quotient }

    /// The part of a second after `seconds`, 0…999,999,000: `tv_nsec` of `stat`.
    package var nanosecondsOfSecond: UInt32 {
        UInt32(floorDivided(microseconds, by: 1_000_000).remainder * 1_000)
    }

    /// The second that this moment lies in.
    package var floorToSecond: Instant { Instant(seconds: seconds) }

    package static func + (left: Instant, right: Period) -> Instant {
        let delta = right.seconds * 1_000_000
        return Instant(
            microseconds: saturating(left.microseconds.addingReportingOverflow(delta), delta))
    }

    package static func - (left: Instant, right: Period) -> Instant {
        let delta = right.seconds * 1_000_000
        return Instant(
            microseconds: saturating(left.microseconds.subtractingReportingOverflow(delta), -delta))
    }

    /// Back by the calendar as restic does it (Go's `AddDate`): years, months and days first, a day
    /// that the month lacks runs into the next month, then the hours.
    package static func - (left: Instant, right: CalendarPeriod) -> Instant {
        let (second, microsecond) = floorDivided(left.microseconds, by: 1_000_000)
        let (day, secondOfDay) = floorDivided(second, by: 86_400)
        let date = CivilDate(daysSince1970: day)
        let month = date.year * 12 + Int64(date.month - 1) - Int64(right.years * 12 + right.months)
        let (year, monthIndex) = floorDivided(month, by: 12)
        let first = CivilDate(year: year, month: Int(monthIndex) + 1, day: 1)
        let moved = first.daysSince1970 + Int64(date.day - 1) - Int64(right.days)
        let seconds = moved * 86_400 + secondOfDay - Int64(right.hours) * 3_600
        let whole = Instant(seconds: seconds)
        return Instant(
            microseconds: saturating(
                whole.microseconds.addingReportingOverflow(microsecond), whole.microseconds))
    }

    /// `20261121100000Z`, the way YDB names points; fractions are cut off.
    package var pointName: String {
        let (date, time) = civil
        return padded(date.year, 4) + padded(date.month, 2) + padded(date.day, 2)
            + padded(time.hour, 2) + padded(time.minute, 2) + padded(time.second, 2) + "Z"
    }

    /// `2026-11-21T10:00:00Z`, with `.123456` before the `Z` unless that is zero.
    package var description: String {
        let fraction = floorDivided(microseconds, by: 1_000_000).remainder
        return iso8601(fractionDigits: fraction == 0 ? 0 : 6)
    }

    /// ISO 8601 in UTC with exactly `fractionDigits` digits after the second, cut off, not rounded.
    package func iso8601(fractionDigits: Int) -> String {
        precondition(fractionDigits >= 0 && fractionDigits <= 6)
        let (date, time) = civil
        var text = "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T"
        text += "\(padded(time.hour, 2)):\(padded(time.minute, 2)):\(padded(time.second, 2))"
        if fractionDigits > 0 {
            let fraction = floorDivided(microseconds, by: 1_000_000).remainder
            text += "." + padded(fraction, 6).prefix(fractionDigits)
        }
        return text + "Z"
    }

    /// Date and time of day; also used by retention to bucket points by hour, day, month and year.
    package var civil: (date: CivilDate, time: (hour: Int, minute: Int, second: Int)) {
        let (day, second) = floorDivided(seconds, by: 86_400)
        return (
            CivilDate(daysSince1970: day),
            (Int(second / 3_600), Int(second / 60 % 60), Int(second % 60))
        )
    }
}

extension Instant: Codable {
    /// Stored as its ISO 8601 text, in words that people and other programs read.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard text.hasSuffix("Z"), text.contains("T"), text.first?.isNumber == true else {
            throw Failure(.corrupt, "\(quotedForMessage(text)) is not a UTC time")
        }
        self = try Instant(expression: text, now: Instant(microseconds: 0))
    }
}

/// A day of the proleptic Gregorian calendar, by Howard Hinnant's well-known algorithms for days
/// in eras of 400 years (howardhinnant.github.io/date_algorithms.html).
package struct CivilDate: Sendable, Hashable {
    package let year: Int64
    /// 1…12
    package let month: Int
    /// 1…31
    package let day: Int

    /// - Precondition: a day that exists; ask `daysInMonth` first.
    package init(year: Int64, month: Int, day: Int) {
        precondition(month >= 1 && month <= 12 && day >= 1)
        precondition(day <= Self.daysInMonth(month, of: year))
        self.year = year
        self.month = month
        self.day = day
    }

    package init(daysSince1970 days: Int64) {
        let (era, dayOfEra) = floorDivided(days + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
        month = Int(monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9)
        year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
    }

    package var daysSince1970: Int64 {
        let (era, yearOfEra) = floorDivided(month <= 2 ? year - 1 : year, by: 400)
        let monthFromMarch = Int64(month > 2 ? month - 3 : month + 9)
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + Int64(day) - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    package static func daysInMonth(_ month: Int, of year: Int64) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    /// ISO 8601's week and the year that it belongs to: what "weekly" means in retention.
    package var isoWeek: (year: Int64, week: Int) {
        // Monday is 0; 1970-01-01 was a Thursday. A week belongs to the year of its Thursday.
        let weekday = floorDivided(daysSince1970 + 3, by: 7).remainder
        let thursday = CivilDate(daysSince1970: daysSince1970 - weekday + 3)
        let newYear = CivilDate(year: thursday.year, month: 1, day: 1)
        return (thursday.year, Int((thursday.daysSince1970 - newYear.daysSince1970) / 7) + 1)
    }
}

private func floorDivided(
    _ value: Int64, by divisor: Int64
) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

/// The result, or on overflow the end of the range on the side that `direction`'s sign says.
private func saturating(
    _ result: (partialValue: Int64, overflow: Bool), _ direction: Int64
) -> Int64 {
    result.overflow ? (direction < 0 ? .min : .max) : result.partialValue
}

private func padded(_ value: some BinaryInteger, _ width: Int) -> String {
    let digits = String(value.magnitude)
    let zeros = String(repeating: "0", count: max(0, width - digits.utf8.count))
    return (value < 0 ? "-" : "") + zeros + digits
}
