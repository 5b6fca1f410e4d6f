import Bytes

extension Instant {
    /// What users may write after `AT` and below `as-of/`.
    package static let acceptedForms =
        "2026-11-21, 2026-11-21T10:30[:00[.5]][Z or +03:00], 20261121103000Z, "
        + "now, today, yesterday [10:30] or -2h"

    /// The moment that `text` means.
    ///
    /// UTC unless it carries an offset. A day without a time of day is its last microsecond, so
    /// that "as of that day" includes all of it; `today` and `yesterday` are such days. `-2h`,
    /// `-1d12h` count back from `now`.
    package init(expression text: String, now: Instant) throws(Failure) {
        var reader = TimeReader(text)
        self = try reader.instant(now: now)
    }

    /// Why a text that has the form of a time is none, such as that there is no month 13; nil if it hasn't.
    package static func impossibility(of text: String) -> String? {
        var reader = TimeReader(text)
        _ = try? reader.instant(now: .now)
        return reader.impossibility
    }
}

/// Reads one time expression, byte by byte; years 1 to 9999.
private struct TimeReader {
    private let text: String
    private var rest: ArraySlice<UInt8>
    private(set) var impossibility: String?

    init(_ text: String) {
        self.text = text
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || (0x09...0x0D).contains($0) }
        let bytes = Array(text.utf8.prefix(256))
        let start = bytes.firstIndex { !isSpace($0) } ?? bytes.endIndex
        let end = (bytes.lastIndex { !isSpace($0) } ?? bytes.endIndex - 1) + 1
        rest = start < end ? bytes[start..<end] : []
    }

    mutating func instant(now: Instant) throws(Failure) -> Instant {
        if text.utf8.count > 256 || rest.isEmpty { throw malformed }
        if take(UInt8(ascii: "-")) {
            guard let period = Period(String(decoding: rest, as: UTF8.self)) else {
                throw malformed
            }
            return now - period
        }
        if takeWord("now") {
            guard rest.isEmpty else { throw malformed }
            return now
        }
        let today = now.civil.date.daysSince1970
        let day: Int64
        if takeWord("today") {
            day = today
        } else if takeWord("yesterday") {
            day = today - 1
        } else {
            day = try date().daysSince1970
        }
        return try time(onDay: day)
    }

    /// `YYYY-MM-DD` or `YYYYMMDD`.
    private mutating func date() throws(Failure) -> CivilDate {
        guard let year = number(digits: 4) else { throw malformed }
        let dashed = take(UInt8(ascii: "-"))
        guard let month = number(digits: 2) else { throw malformed }
        if dashed && !take(UInt8(ascii: "-")) { throw malformed }
        guard let day = number(digits: 2) else { throw malformed }
        if year < 1 { throw impossible("there is no year 0") }
        if !(1...12).contains(month) { throw impossible("there is no month \(month)") }
        let days = CivilDate.daysInMonth(month, of: Int64(year))
        if !(1...days).contains(day) {
            throw impossible("there is no day \(day) in that month, which has \(days)")
        }
        return CivilDate(year: Int64(year), month: month, day: day)
    }

    /// The time of day and the offset that may follow a day; without a time, the day's end.
    private mutating func time(onDay day: Int64) throws(Failure) -> Instant {
        // `yesterday` by a clock that is far off; a written day has four digits of year.
        let first = CivilDate(year: 1, month: 1, day: 1).daysSince1970
        let last = CivilDate(year: 9999, month: 12, day: 31).daysSince1970
        guard (first...last).contains(day) else { throw impossible("the clock is far off") }
        let separated = take(UInt8(ascii: "T")) || take(UInt8(ascii: "t")) || takeSpaces()
        guard separated || isDigit(rest.first) else {
            let end = (day + 1) * 86_400 * 1_000_000 - 1
            return Instant(microseconds: end - (try offset()) * 1_000_000)
        }
        guard let hour = number(digits: 2) else { throw malformed }
        let colons = take(UInt8(ascii: ":"))
        guard let minute = number(digits: 2) else { throw malformed }
        var second = 0
        var fraction: Int64 = 0
        if colons ? take(UInt8(ascii: ":")) : isDigit(rest.first) {
            guard let digits = number(digits: 2) else { throw malformed }
            second = digits
            if take(UInt8(ascii: ".")) { fraction = try microseconds() }
        }
        for (value, last, unit) in [
            (hour, 23, "hour"), (minute, 59, "minute"), (second, 59, "second"),
        ]
        where value > last { throw impossible("there is no \(unit) \(value)") }
        let seconds = day * 86_400 + Int64(hour * 3_600 + minute * 60 + second)
        return Instant(microseconds: (seconds - (try offset())) * 1_000_000 + fraction)
    }

    /// Digits after the decimal point; those beyond microseconds are cut off.
    private mutating func microseconds() throws(Failure) -> Int64 {
        var value: Int64 = 0
        var digits = 0
        while let digit = rest.first, isDigit(digit) {
            rest.removeFirst()
            if digits < 6 { value = value * 10 + Int64(digit - UInt8(ascii: "0")) }
            digits += 1
        }
        guard digits > 0 else { throw malformed }
        for _ in min(digits, 6)..<6 { value *= 10 }
        return value
    }

    /// Seconds east of UTC of `Z`, `+03:00`, `+0300`, `+03` or nothing, up to the end of the text.
    private mutating func offset() throws(Failure) -> Int64 {
        _ = takeSpaces()
        if rest.isEmpty { return 0 }
        if take(UInt8(ascii: "Z")) || take(UInt8(ascii: "z")) {
            guard rest.isEmpty else { throw malformed }
            return 0
        }
        let west = take(UInt8(ascii: "-"))
        guard west || take(UInt8(ascii: "+")), let hours = number(digits: 2) else {
            throw malformed
        }
        var minutes = 0
        if take(UInt8(ascii: ":")) || !rest.isEmpty {
            guard let digits = number(digits: 2) else { throw malformed }
            minutes = digits
        }
        guard rest.isEmpty else { throw malformed }
        guard hours <= 18, minutes <= 59 else { throw impossible("there is no such offset") }
        let seconds = Int64(hours * 3_600 + minutes * 60)
        return west ? -seconds : seconds
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard rest.first == byte else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func takeSpaces() -> Bool {
        var any = false
        while take(UInt8(ascii: " ")) { any = true }
        return any
    }

    private mutating func takeWord(_ word: String) -> Bool {
        let count = word.utf8.count
        guard rest.count >= count, rest.prefix(count).map({ $0 | 0x20 }) == Array(word.utf8) else {
            return false
        }
        rest.removeFirst(count)
        return true
    }

    /// Exactly `digits` decimal digits.
    private mutating func number(digits: Int) -> Int? {
        guard rest.count >= digits, rest.prefix(digits).allSatisfy(isDigit) else { return nil }
        let value = rest.prefix(digits).reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        rest.removeFirst(digits)
        return value
    }

    private var malformed: Failure {
        Failure(
            .invalid,
            "\(quotedForMessage(text)) is not a time; accepted: \(Instant.acceptedForms)")
    }

    private mutating func impossible(_ why: String) -> Failure {
        impossibility = why
        return Failure(.invalid, "\(quotedForMessage(text)) is not a time: \(why)")
    }
}

private func isDigit(_ byte: UInt8?) -> Bool {
    byte.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
}
