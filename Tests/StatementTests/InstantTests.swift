import Bytes
import Engine
import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct InstantTests {
    /// 2026-11-21T12:00:00.250Z
    private let now = Instant(microseconds: 1_795_262_400_250_000)

    /// expression, meaning
    @Test(arguments: [
        ("2026-11-21T10:30:00Z", "2026-11-21T10:30:00Z"),
        ("2026-11-21t10:30:00z", "2026-11-21T10:30:00Z"),
        ("2026-11-21 10:30", "2026-11-21T10:30:00Z"),
        ("  2026-11-21 10:30:15  ", "2026-11-21T10:30:15Z"),
        ("2026-11-21T10:30:15.5", "2026-11-21T10:30:15.500000Z"),
        ("2026-11-21T10:30:15.1234567Z", "2026-11-21T10:30:15.123456Z"),
        ("2026-11-21T10:30:00+03:00", "2026-11-21T07:30:00Z"),
        ("2026-11-21T10:30-0530", "2026-11-21T16:00:00Z"),
        ("2026-11-21 10:30 +03", "2026-11-21T07:30:00Z"),
        ("20261121103000Z", "2026-11-21T10:30:00Z"),
        ("20261121T1030", "2026-11-21T10:30:00Z"),
        ("2026-11-21", "2026-11-21T23:59:59.999999Z"),
        ("20261121", "2026-11-21T23:59:59.999999Z"),
        ("2026-11-21+03:00", "2026-11-21T20:59:59.999999Z"),
        ("2024-02-29", "2024-02-29T23:59:59.999999Z"),
        ("now", "2026-11-21T12:00:00.250000Z"),
        ("Today", "2026-11-21T23:59:59.999999Z"),
        ("yesterday", "2026-11-20T23:59:59.999999Z"),
        ("yesterday 10:30", "2026-11-20T10:30:00Z"),
        ("yesterdayT10:30:01+01:00", "2026-11-20T09:30:01Z"),
        ("-2h", "2026-11-21T10:00:00.250000Z"),
        ("-1d12h", "2026-11-20T00:00:00.250000Z"),
        ("-30m", "2026-11-21T11:30:00.250000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31", "9999-12-31T23:59:59.999999Z"),
    ])
    func expressions(_ text: String, _ meaning: String) throws {
        #expect(try Instant(expression: text, now: now).description == meaning)
    }

    @Test(arguments: [
        "", " ", "2026", "2026-11", "2026-13-01", "2026-02-29", "1900-02-29", "2026-04-31",
        "2026-00-10", "0000-01-01", "2026-1-1", "2026-11-21T24:00", "2026-11-21T10:60",
        "2026-11-21T10:30:60", "2026-11-21T", "2026-11-21T10", "2026-11-21T10:30:00.",
        "2026-11-21T10:30:00+99:00", "2026-11-21T10:30Zx", "202611-21", "tomorrow", "nowadays",
        "-", "-2", "-2x", "-h", "--2h", "+2h", "-99999999999999d", "yesterdays", "latest",
        "20261121100000Z_full", "２０２６-11-21",
    ])
    func nonsenseIsRefused(_ text: String) throws {
        #expect {
            try Instant(expression: text, now: now)
        } throws: { error in
            (error as? Failure)?.code == .invalid
        }
    }

    @Test func forms() {
        let instant = Instant(microseconds: 1_795_255_200_012_345)
        #expect(instant.pointName == "20261121100000Z")
        #expect(instant.description == "2026-11-21T10:00:00.012345Z")
        #expect(instant.floorToSecond.description == "2026-11-21T10:00:00Z")
        #expect(instant.iso8601(fractionDigits: 3) == "2026-11-21T10:00:00.012Z")
        #expect(Instant(microseconds: -1).description == "1969-12-31T23:59:59.999999Z")
        #expect(Instant(microseconds: -1).nanosecondsOfSecond == 999_999_000)
        #expect(Instant(microseconds: .min).description.hasPrefix("-290308-"))
        #expect(Instant(microseconds: .max).description.hasPrefix("294247-"))
        #expect((Instant(microseconds: .min) - Period(seconds: 1)).microseconds == .min)
        #expect((Instant(microseconds: .max) + Period(seconds: 1)).microseconds == .max)
        #expect(Instant(seconds: .min).microseconds == .min)
    }

    /// The C library is the oracle for dates, weeks and month arithmetic.
    @Test func theCalendarIsThatOfTheCLibrary() throws {
        var generator = SeededGenerator(seed: 7)
        for round in 0..<20_000 {
            var seconds = Int.random(in: -62_135_596_800...253_402_300_799, using: &generator)
            var parts = tm()
            gmtime_r(&seconds, &parts)
            let instant = Instant(seconds: Int64(seconds))
            var buffer = [CChar](repeating: 0, count: 64)
            strftime(&buffer, 64, "%m-%dT%H:%M:%SZ", &parts)
            let year = String(parts.tm_year + 1900)
            let padded = String(repeating: "0", count: 4 - year.count) + year
            let text = buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            #expect(instant.description == padded + "-" + text, "round \(round)")
            #expect(try Instant(expression: instant.description, now: now) == instant)
            #expect(try Instant(expression: instant.pointName, now: now) == instant)

            strftime(&buffer, 64, "%V", &parts)
            let week = buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            #expect(instant.civil.date.isoWeek.week == Int(week), "round \(round)")

            let back = CalendarPeriod(
                years: Int.random(in: 0...30, using: &generator),
                months: Int.random(in: 0...30, using: &generator),
                days: Int.random(in: 0...400, using: &generator),
                hours: Int.random(in: 0...100, using: &generator))
            parts.tm_year -= Int32(back.years)
            parts.tm_mon -= Int32(back.months)
            parts.tm_mday -= Int32(back.days)
            parts.tm_hour -= Int32(back.hours)
            #expect((instant - back).seconds == Int64(timegm(&parts)), "round \(round)")
        }
    }

    @Test func jsonIsTheText() throws {
        for microseconds in [0, 1_795_255_200_012_345, -1] as [Int64] {
            let instant = Instant(microseconds: microseconds)
            let data = try JSONEncoder().encode([instant])
            #expect(String(decoding: data, as: UTF8.self) == "[\"\(instant)\"]")
            #expect(try JSONDecoder().decode([Instant].self, from: data) == [instant])
        }
        #expect(throws: (any Error).self) {
            try JSONDecoder().decode([Instant].self, from: Data("[\"yesterdayT10:00Z\"]".utf8))
        }
    }

    @Test func theClockIsTheSystems() {
        let before = Int64(time(nil))
        let seconds = Instant.now.seconds
        #expect(seconds >= before - 1 && seconds <= Int64(time(nil)) + 1)
    }

    @Test func periodsPrintWhatTheyParse() {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<2_000 {
            let period = Period(seconds: .random(in: 0...Period.maximumSeconds, using: &generator))
            #expect(Period(period.description) == period)
        }
        #expect(Period("1w1d1h1m1s")?.seconds == 694_861)
        #expect(Period("24h")?.description == "1d")
        #expect(CalendarPeriod("2h7d5m1y")?.description == "1y5m7d2h")
    }

    @Test func mutatedExpressionsNeverTrap() {
        var generator = SeededGenerator(seed: 13)
        let parts = [
            "2026", "11", "21", "-", ":", "T", "Z", "+03", " ", ".", "yesterday", "now", "2h",
            "99999999999999999999", "d", "w", "é", "\u{0}", "00", "0001", "9999", "12", "31",
        ]
        var accepted = 0
        for _ in 0..<50_000 {
            let count = Int.random(in: 0...9, using: &generator)
            let text = (0..<count).map { _ in parts.randomElement(using: &generator)! }.joined()
            for instant in [now, Instant(microseconds: .min), Instant(microseconds: .max)] {
                do {
                    let meant = try Instant(expression: text, now: instant)
                    accepted += meant.description.isEmpty ? 0 : 1
                } catch {
                    #expect(error.code == .invalid && !error.message.contains("\0"))
                }
            }
            _ = CalendarPeriod(text)
        }
        #expect(accepted > 0)
    }
}
