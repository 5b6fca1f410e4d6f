/// The keys of `WITH (…)`, `SET (…)` and `RESET (…)`; the raw value is the key in stored JSON.
package enum SettingKey: String, Sendable, CaseIterable, CodingKey {
    case storage
    case location
    case incrementalBackupEnabled = "incremental_backup_enabled"
    case omitIndexes = "omit_indexes"
    case omitTables = "omit_tables"
    case capture
    case keepLast = "keep_last"
    case keepWithin = "keep_within"
    case keepHourly = "keep_hourly"
    case keepDaily = "keep_daily"
    case keepWeekly = "keep_weekly"
    case keepMonthly = "keep_monthly"
    case keepYearly = "keep_yearly"
    case maxChain = "max_chain"
    case auditEvery = "audit_every"
    case incrementalEvery = "incremental_every"
    case fullEvery = "full_every"
    case verifyEvery = "verify_every"
    case keepDropped = "keep_dropped"
    case skipUnchanged = "skip_unchanged"

    /// As statements spell it.
    package var keyword: String { rawValue.uppercased() }

    init?(keyword: String) { self.init(rawValue: keyword.lowercased()) }

    /// The values that it takes, for messages.
    package var accepted: String {
        switch self {
        case .storage: "'cluster'; others aren't built yet in this version"
        case .location: "an absolute path, or s3://BUCKET/PREFIX without credentials"
        case .incrementalBackupEnabled, .omitIndexes, .skipUnchanged: "'true' or 'false'"
        case .omitTables: "names of tables with commas between them, as in 'a, \"b, c\"'"
        case .capture: "'auto' or 'scan'"
        case .keepLast, .keepHourly, .keepDaily, .keepWeekly, .keepMonthly, .keepYearly:
            "a number from 1 to 1000000, or 'unlimited'"
        case .keepWithin: "years, months, days, hours as in '1y5m7d2h'"
        case .maxChain, .auditEvery: "a number from 1 to 1000000"
        case .incrementalEvery, .fullEvery, .verifyEvery:
            "a time from '1s' on, as in '30m', '24h', '7d', '1d12h'"
        case .keepDropped: "a time as in '0s', '30m', '24h', '7d'"
        }
    }

    /// nil when the text is none of `accepted`.
    func value(of text: String) -> SettingValue? {
        switch self {
        case .storage: CollectionSettings.Storage(rawValue: text.lowercased()).map { .storage($0) }
        case .location: isLocation(text) ? .location(text) : nil
        case .incrementalBackupEnabled, .omitIndexes, .skipUnchanged:
            boolean(text).map { .flag($0) }
        case .omitTables: NameList(text).map { .names($0) }
        case .capture: CollectionSettings.Capture(rawValue: text.lowercased()).map { .capture($0) }
        case .keepLast, .keepHourly, .keepDaily, .keepWeekly, .keepMonthly, .keepYearly:
            KeepCount(text).map { .keep($0) }
        case .keepWithin: CalendarPeriod(text).map { .calendar($0) }
        case .maxChain, .auditEvery: count(text).map { .count($0) }
        case .incrementalEvery, .fullEvery, .verifyEvery:
            Period(text).flatMap { $0.seconds >= 1 ? .period($0) : nil }
        case .keepDropped: Period(text).map { .period($0) }
        }
    }
}

/// A value of a `KEEP_…` rule that counts: how many, or all.
package enum KeepCount: Sendable, Hashable, CustomStringConvertible {
    case newest(Int)
    case unlimited

    init?(_ text: String) {
        if text.lowercased() == "unlimited" || text == "-1" {
            self = .unlimited
        } else if let number = count(text) {
            self = .newest(number)
        } else {
            return nil
        }
    }

    package var description: String {
        switch self {
        case .newest(let count): "\(count)"
        case .unlimited: "unlimited"
        }
    }
}

/// A value that is valid for its key. Its text is what statements write and the log stores.
enum SettingValue: Sendable, Hashable, CustomStringConvertible {
    case storage(CollectionSettings.Storage)
    case location(String)
    case flag(Bool)
    case names(NameList)
    case capture(CollectionSettings.Capture)
    case keep(KeepCount)
    case calendar(CalendarPeriod)
    case count(Int)
    case period(Period)

    var description: String {
        switch self {
        case .storage(let storage): storage.rawValue
        case .location(let text): text
        case .flag(let flag): "\(flag)"
        case .names(let names): names.description
        case .capture(let capture): capture.rawValue
        case .keep(let count): count.description
        case .calendar(let period): period.description
        case .count(let count): "\(count)"
        case .period(let period): period.description
        }
    }
}

/// The settings of a collection. Holds what was set, answers with defaults for the rest.
package struct CollectionSettings: Sendable, Hashable {
    package enum Storage: String, Sendable {
        /// The default LOCATION.
        case cluster
        case filesystem
        case s3
    }

    /// How changes are found at a source that can be asked for them in more than one way.
    package enum Capture: String, Sendable {
        case auto
        case scan
    }

    private var values: [SettingKey: SettingValue] = [:]

    package init() {}

    package var storage: Storage {
        if case .storage(let storage)? = values[.storage] { storage } else { .cluster }
    }

    /// A path or an `s3://` address; nil exactly if `storage` is `cluster`, once `conflict` is nil.
    package var location: String? {
        if case .location(let text)? = values[.location] { text } else { nil }
    }

    /// False by default, as in YDB since 25.4.
    package var isIncrementalBackupEnabled: Bool { flag(.incrementalBackupEnabled) }
    package var omitsIndexes: Bool { flag(.omitIndexes) }

    /// Whether an incremental that finds no change makes no point.
    package var skipsUnchanged: Bool { flag(.skipUnchanged) }

    /// Tables of the database that are never read.
    package var omitTables: [String] {
        if case .names(let list)? = values[.omitTables] { list.names } else { [] }
    }

    /// False, and nothing set, if there is none or one is empty.
    mutating func setOmitTables(_ names: [String]) -> Bool {
        guard let list = NameList(names) else { return false }
        values[.omitTables] = .names(list)
        return true
    }

    package var capture: Capture {
        if case .capture(let capture)? = values[.capture] { capture } else { .auto }
    }

    package var keepLast: KeepCount? { keep(.keepLast) }
    package var keepHourly: KeepCount? { keep(.keepHourly) }
    package var keepDaily: KeepCount? { keep(.keepDaily) }
    package var keepWeekly: KeepCount? { keep(.keepWeekly) }
    package var keepMonthly: KeepCount? { keep(.keepMonthly) }
    package var keepYearly: KeepCount? { keep(.keepYearly) }

    package var keepWithin: CalendarPeriod? {
        if case .calendar(let period)? = values[.keepWithin] { period } else { nil }
    }

    /// Which of so many incrementals compares everything, whatever the source knows of changes; nil: as
    /// it is elsewhere.
    package var auditEvery: Int? {
        if case .count(let count)? = values[.auditEvery] { count } else { nil }
    }

    /// Points of one chain before it is compacted.
    package var maxChain: Int {
        if case .count(let count)? = values[.maxChain] { count } else { 100 }
    }

    package var incrementalEvery: Period? { period(.incrementalEvery) }
    package var fullEvery: Period? { period(.fullEvery) }

    /// How long a dropped point can be had back.
    package var keepDropped: Period { period(.keepDropped) ?? Period(seconds: 86_400) }

    /// What was set, in the order of `SettingKey`.
    package var keys: [SettingKey] { SettingKey.allCases.filter { values[$0] != nil } }

    /// The text of what was set for `key`.
    package func text(of key: SettingKey) -> String? { values[key]?.description }

    /// False, and nothing set, if `key` doesn't accept `text`.
    package mutating func set(_ key: SettingKey, _ text: String) -> Bool {
        guard let value = key.value(of: text) else { return false }
        values[key] = value
        return true
    }

    /// A collection's settings always say where it is stored, so that its CREATE does.
    mutating func fillInStorage() {
        if values[.storage] == nil { values[.storage] = .storage(.cluster) }
    }

    /// These settings after `SET` of `changes`.
    package func setting(_ changes: CollectionSettings) -> CollectionSettings {
        var result = self
        result.values.merge(changes.values) { $1 }
        return result
    }

    /// These settings after `RESET`: the keys have their defaults again.
    package func resetting(_ keys: [SettingKey]) -> CollectionSettings {
        var result = self
        for key in keys { result.values[key] = nil }
        result.fillInStorage()
        return result
    }

    /// Why the settings can't be meant together, and the key to point at. Asked of the whole: after
    /// `WITH`, and after `SET` or `RESET` were applied.
    package var conflict: (key: SettingKey, message: String)? {
        switch (storage, location) {
        case (.cluster, nil): break
        case (.cluster, _?):
            return (.location, "LOCATION needs STORAGE = 'filesystem' or 's3'")
        case (_, nil): return (.storage, "STORAGE = '\(storage.rawValue)' needs a LOCATION")
        case (.filesystem, let path?):
            if !path.hasPrefix("/") {
                return (.location, "STORAGE = 'filesystem' needs an absolute path as LOCATION")
            }
        case (.s3, let address?):
            if !address.hasPrefix("s3://") {
                return (.location, "STORAGE = 's3' needs s3://BUCKET/PREFIX as LOCATION")
            }
        }
        if incrementalEvery != nil && !isIncrementalBackupEnabled {
            let needed = "INCREMENTAL_BACKUP_ENABLED = 'true'"
            return (.incrementalEvery, "INCREMENTAL_EVERY needs \(needed)")
        }
        return nil
    }

    /// In which time a live mount reads every file once; nil: it doesn't.
    package var verifyEvery: Period? { period(.verifyEvery) }

    private func flag(_ key: SettingKey) -> Bool {
        if case .flag(let flag)? = values[key] { flag } else { false }
    }

    private func keep(_ key: SettingKey) -> KeepCount? {
        if case .keep(let count)? = values[key] { count } else { nil }
    }

    private func period(_ key: SettingKey) -> Period? {
        if case .period(let period)? = values[key] { period } else { nil }
    }
}

extension CollectionSettings: Codable {
    /// An object of what was set, with lower-case keys; flags and numbers as such, all else text.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: SettingKey.self)
        for (key, value) in values {
            switch value {
            case .flag(let flag): try container.encode(flag, forKey: key)
            case .count(let count), .keep(.newest(let count)):
                try container.encode(count, forKey: key)
            default: try container.encode(value.description, forKey: key)
            }
        }
    }

    /// Ignores keys that it doesn't know: a later version may have written them.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: SettingKey.self)
        for key in container.allKeys {
            let text: String
            if let flag = try? container.decode(Bool.self, forKey: key) {
                text = "\(flag)"
            } else if let number = try? container.decode(Int.self, forKey: key) {
                text = "\(number)"
            } else {
                text = try container.decode(String.self, forKey: key)
            }
            if !set(key, text) {
                throw DecodingError.dataCorruptedError(
                    forKey: key, in: container,
                    debugDescription: "\(quotedForMessage(text)) is not \(key.accepted)")
            }
        }
    }
}

/// The forms that YDB's text-to-bool conversion takes.
func boolean(_ text: String) -> Bool? {
    switch text.lowercased() {
    case "true", "t", "yes", "y", "on", "1": true
    case "false", "f", "no", "n", "off", "0": false
    default: nil
    }
}

private func count(_ text: String) -> Int? {
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
        (1...1_000_000).contains(number)
    else { return nil }
    return number
}

private func isLocation(_ text: String) -> Bool {
    if text.utf8.count > 4_096 || text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
        return false
    }
    if text.hasPrefix("/") { return true }
    guard text.hasPrefix("s3://") else { return false }
    // Secrets never stand in statements: they are kept in logs and shown.
    let bucket = text.dropFirst(5).prefix { $0 != "/" && $0 != "?" }
    return !bucket.isEmpty && !bucket.contains("@")
}
