import Glibc
import Tables

/// What a file's name tells of a copy of a database: `app-2026-11-01.db`, `app_20261101T030000.sqlite3.gz`,
/// `app.db.2026-11-01-0300`, `app.db.1`.
struct CopyName {
    /// What is left without date and endings: the database's name. May be empty.
    let stem: String
    /// Seconds since 1970 of the date, as UTC; nil if there is none.
    let seconds: Int64?
    /// Whether it says that it is a database.
    let isDatabase: Bool

    private static let databaseEndings = [".db", ".sqlite", ".sqlite3", ".db3", ".bak"]
    private static let packedEndings = [".gz", ".zst"]
    private static let separators = Array("-_. ".utf8)

    init(_ name: String) {
        var rest = Array(name.utf8)
        let date = CopyDate(in: rest)
        if let date {
            // Of the separators on both sides one is enough.
            let before = Self.trimmedEnd(rest[..<date.range.lowerBound])
            let after = rest[date.range.upperBound...]
            rest = Array(before + after)
        }
        seconds = date?.seconds
        var isDatabase = false
        while true {
            rest = Array(Self.trimmedEnd(rest[...]))
            if let ending = Self.ending(Self.databaseEndings, of: rest[...]) {
                isDatabase = true
                rest.removeLast(ending)
            } else if let ending = Self.ending(Self.packedEndings, of: rest[...])
                ?? (isDatabase ? nil : Self.number(rest[...]))
            {
                rest.removeLast(ending)
            } else {
                break
            }
        }
        self.isDatabase = isDatabase
        stem = String(decoding: rest.drop { Self.separators.contains($0) }, as: UTF8.self)
    }

    private static func trimmedEnd(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var name = name
        while let last = name.last, separators.contains(last) { name.removeLast() }
        return name
    }

    /// How long the one of these is that the name ends in, in letters of either case.
    private static func ending(_ endings: [String], of name: ArraySlice<UInt8>) -> Int? {
        endings.first { ending in
            name.count >= ending.utf8.count
                && zip(name.suffix(ending.utf8.count), ending.utf8).allSatisfy {
                    (65...90).contains($0) ? $0 + 32 == $1 : $0 == $1
                }
        }?.utf8.count
    }

    /// How long an ending such as `.1` is, by which older copies are counted: it stands behind a database's.
    private static func number(_ name: ArraySlice<UInt8>) -> Int? {
        let mostDigits = 3
        let digits = name.reversed().prefix { (48...57).contains($0) }.count
        guard (1...mostDigits).contains(digits), name.dropLast(digits).last == UInt8(ascii: ".")
        else { return nil }
        return digits + 1
    }

    /// The name of a file as it was before it was compressed.
    static func unpacked(_ name: String) -> String {
        let bytes = Array(name.utf8)
        let ending = ending(packedEndings, of: bytes[...]) ?? 0
        return String(decoding: bytes.dropLast(ending), as: UTF8.self)
    }

    /// The database whose write-ahead log or journal a file is, both by their names before they were
    /// compressed, and the ending by which SQLite knows it; nil if it is none.
    static func companion(_ name: String) -> (database: String, ending: String)? {
        for ending in CopyFile.companions {
            for database in databaseEndings {
                // What copies it may have put the date behind.
                guard let range = name.firstRange(of: database + ending) else { continue }
                let rest = name[range.upperBound...]
                if rest.isEmpty || rest.hasPrefix(".") {
                    return (name[..<range.lowerBound] + database + rest, ending)
                }
            }
            if name.hasSuffix(ending) { return (String(name.dropLast(ending.count)), ending) }
        }
        return nil
    }
}

/// A date in a name, year first, so that there is only one way to read it: `2026-11-01`, `20261101`, and
/// behind it a time, as far as there is one: `T030000Z`, `_03-00`, `-0300`, ` 03:00:00`.
struct CopyDate {
    let seconds: Int64
    let range: Range<Int>

    /// The first one.
    init?(in name: [UInt8]) {
        var start = 0
        while start < name.count {
            let digits = Self.digits(name, start)
            if digits > 0, let date = Self(name, at: start, digits: digits) {
                self = date
                return
            }
            start += max(digits, 1)
        }
        return nil
    }

    private init?(_ name: [UInt8], at start: Int, digits: Int) {
        var at = start
        var fields: [Int] = []
        /// Takes numbers of so many digits each, with the same separator between two.
        func take(_ counts: [Int], between separators: String) -> Bool {
            var (next, taken) = (at, [Int]())
            var separator: UInt8?
            for (index, count) in counts.enumerated() {
                if index > 0 {
                    guard next < name.count, separators.utf8.contains(name[next]),
                        separator == nil || separator == name[next]
                    else { return false }
                    separator = name[next]
                    next += 1
                }
                guard Self.digits(name, next) == count else { return false }
                taken.append(Self.number(name[next..<next + count]))
                next += count
            }
            (at, fields) = (next, fields + taken)
            return true
        }
        /// Takes one number apart.
        func split(_ counts: [Int]) {
            for count in counts {
                fields.append(Self.number(name[at..<at + count]))
                at += count
            }
        }
        switch digits {
        case 4: guard take([4, 2, 2], between: "-_.") else { return nil }
        case 8: split([4, 2, 2])
        case 12: split([4, 2, 2, 2, 2])
        case 14: split([4, 2, 2, 2, 2, 2])
        default: return nil
        }
        guard let date = Self.seconds(fields) else { return nil }
        var (seconds, end, hasTime) = (date, at, fields.count > 3)
        if !hasTime, at < name.count, "Tt_-. ".utf8.contains(name[at]) {
            at += 1
            switch Self.digits(name, at) {
            case 2: _ = take([2, 2, 2], between: ":-_.") || take([2, 2], between: ":-_.")
            case 4: split([2, 2])
            case 6: split([2, 2, 2])
            default: break
            }
            // What can't be a time is none: a number that counts, say.
            if fields.count > 3, let time = Self.seconds(fields) {
                (seconds, end, hasTime) = (time, at, true)
            }
        }
        if hasTime, end < name.count, "Zz".utf8.contains(name[end]) { end += 1 }
        self.seconds = seconds
        range = start..<end
    }

    /// How many digits there are from here on.
    private static func digits(_ name: [UInt8], _ start: Int) -> Int {
        name[min(start, name.count)...].prefix { (48...57).contains($0) }.count
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int {
        digits.reduce(0) { $0 * 10 + Int($1 - 48) }
    }

    /// Nil if there is no such day or time.
    private static func seconds(_ fields: [Int]) -> Int64? {
        let all = fields + [0, 0, 0]
        guard (1970...2099).contains(all[0]), all[3] < 24, all[4] < 60, all[5] < 60 else {
            return nil
        }
        var civil = tm()
        civil.tm_year = Int32(all[0] - 1900)
        civil.tm_mon = Int32(all[1] - 1)
        civil.tm_mday = Int32(all[2])
        (civil.tm_hour, civil.tm_min, civil.tm_sec) = (Int32(all[3]), Int32(all[4]), Int32(all[5]))
        let seconds = timegm(&civil)
        // The 31st of November has become the 1st of December.
        guard Int(civil.tm_mon) == all[1] - 1, Int(civil.tm_mday) == all[2] else { return nil }
        return Int64(seconds)
    }
}
