import Bytes
import Engine
import Foundation
import TestSupport
import Testing

@Suite struct SettingsTests {
    private func created(_ settings: String) throws -> CollectionSettings {
        let text = "CREATE BACKUP COLLECTION c DATABASE WITH (\(settings))"
        guard case .create(let create) = try one(text).action else {
            throw Failure(.system, "no CREATE")
        }
        return create.settings.values
    }

    @Test func defaultsAreThoseOfTheContract() throws {
        let settings = try created("STORAGE = 'cluster'")
        #expect(!settings.isIncrementalBackupEnabled && !settings.omitsIndexes)
        #expect(settings.capture == .auto && settings.maxChain == 100)
        #expect(settings.keepDropped == Period(seconds: 86_400))
        #expect(settings.keepLast == nil && settings.keepWithin == nil && settings.fullEvery == nil)
        #expect(try created("KEEP_LAST = 1") != settings)
    }

    @Test func valuesAreTyped() throws {
        let settings = try created(
            """
            Storage = S3, location = 's3://bucket/a?endpoint=http://h:1&region=x',
            INCREMENTAL_BACKUP_ENABLED = YES, OMIT_INDEXES = '0', capture = Scan,
            KEEP_LAST = '7', KEEP_HOURLY = unlimited, KEEP_WITHIN = '1y5m7d2h', MAX_CHAIN = 12,
            INCREMENTAL_EVERY = 30m, FULL_EVERY = "1w", KEEP_DROPPED = 0s, SKIP_UNCHANGED = on,
            """)
        #expect(settings.storage == .s3)
        #expect(settings.location == "s3://bucket/a?endpoint=http://h:1&region=x")
        #expect(settings.isIncrementalBackupEnabled && !settings.omitsIndexes)
        #expect(settings.capture == .scan && settings.maxChain == 12)
        #expect(try settings.skipsUnchanged && !created("KEEP_LAST = 1").skipsUnchanged)
        #expect(settings.keepLast == .newest(7) && settings.keepHourly == .unlimited)
        #expect(settings.keepWithin == CalendarPeriod(years: 1, months: 5, days: 7, hours: 2))
        #expect(settings.incrementalEvery?.seconds == 1_800)
        #expect(settings.fullEvery?.seconds == 604_800 && settings.keepDropped.seconds == 0)
    }

    @Test func valuesThatCannotBeMeantAreRefused() throws {
        let wrong: [String] = [
            "STORAGE=''", "INCREMENTAL_BACKUP_ENABLED=maybe", "KEEP_LAST='-2'", "KEEP_LAST='1.5'",
            "KEEP_LAST='99999999999999999999'", "KEEP_WITHIN='5'", "KEEP_WITHIN='1h1h'",
            "KEEP_WITHIN='0d'", "KEEP_WITHIN='3w'", "MAX_CHAIN=''", "FULL_EVERY='0s'",
            "FULL_EVERY='30m1h'", "FULL_EVERY='99999999999w'", "KEEP_DROPPED='1'",
            "STORAGE=filesystem, LOCATION='relative'", "STORAGE=s3, LOCATION='s3://key:secret@b/p'",
            "STORAGE=s3, LOCATION='/path'", "STORAGE=filesystem, LOCATION='s3://b'",
            "STORAGE=s3, LOCATION='s3:///p'", "OMIT_TABLES=''", "OMIT_TABLES='a,,b'",
            "OMIT_TABLES='a,'", "OMIT_TABLES='\"a'", "OMIT_TABLES='\"a\" b'",
        ]
        for settings in wrong {
            let text = "CREATE BACKUP COLLECTION c DATABASE WITH (\(settings))"
            #expect(try !refusal(of: text).isIncomplete, "\(settings)")
        }
    }

    @Test func tablesToOmitAreAListOfNames() throws {
        let names: [(String, [String])] = [
            ("a", ["a"]), ("'log, Cache'", ["log", "Cache"]),
            ("' a b ,\t`c,d` , \"e\"\"f\"'", ["a b", "c,d", "e\"f"]),
            ("\"it's\"", ["it's"]), ("'x``y, ``` `'", ["x``y", "` "]),
        ]
        for (text, expected) in names {
            let settings = try created("OMIT_TABLES = \(text)")
            #expect(settings.omitTables == expected, "\(text)")
            let shown = CollectionSpecification(
                name: "c", members: .database, settings: settings
            ).sql
            guard case .create(let again) = try one(shown).action else {
                throw Failure(.system, "no CREATE")
            }
            #expect(again.settings.values.omitTables == expected, "\(shown)")
        }
        #expect(try created("KEEP_LAST=1").omitTables == [])
    }

    @Test func alterChangesAndResets() throws {
        let before = try created("KEEP_LAST=3, CAPTURE=scan")
        guard
            case .alter(let changes) = try one(
                "ALTER BACKUP COLLECTION c SET (KEEP_LAST=4, MAX_CHAIN=9), RESET (capture, storage)"
            ).action, case .set(let set) = changes[0], case .reset(let keys) = changes[1]
        else { throw Failure(.system, "no ALTER") }
        let after = before.setting(set.values).resetting(keys.map(\.value))
        #expect(after == (try created("KEEP_LAST=4, MAX_CHAIN=9")))
        #expect(set.positions[.maxChain]?.column == 45)
        #expect(after.resetting(SettingKey.allCases) == (try created("STORAGE=cluster")))
        let moved = before.setting(try patch("STORAGE=filesystem"))
        #expect(moved.conflict?.key == .storage)
    }

    private func patch(_ settings: String) throws -> CollectionSettings {
        guard
            case .alter(let changes) = try one("ALTER BACKUP COLLECTION c SET (\(settings))").action,
            case .set(let set) = changes[0]
        else { throw Failure(.system, "no SET") }
        return set.values
    }

    @Test func jsonHoldsWhatWasSet() throws {
        let settings = try created(
            "KEEP_LAST=3, KEEP_DAILY=unlimited, OMIT_INDEXES=no, FULL_EVERY=24h")
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let definition = CollectionSpecification(
            name: "c", members: .tables(["a"]), settings: settings)
        let json = String(decoding: try encoder.encode(definition), as: UTF8.self)
        #expect(
            json
                == #"{"name":"c","settings":{"full_every":"1d","keep_daily":"unlimited","keep_last":3,"#
                + #""omit_indexes":false,"storage":"cluster"},"tables":["a"]}"#)
        func decode(_ json: String) throws -> CollectionSpecification {
            try JSONDecoder().decode(CollectionSpecification.self, from: Data(json.utf8))
        }
        #expect(try decode(json) == definition)
        #expect(
            try decode(json.replacing("\"full_every\"", with: "\"later_key\"")).settings.fullEvery
                == nil)
        #expect(throws: (any Error).self) { try decode(json.replacing("1d", with: "soon")) }
    }

    /// Whatever a definition holds, the CREATE that it prints defines the same.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func printedDefinitionsParseBack(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for round in 0..<3_000 {
            let definition = randomDefinition(&generator)
            let statement = try one(definition.sql)
            guard case .create(let create) = statement.action else {
                throw Failure(.system, "no CREATE")
            }
            #expect(
                CollectionSpecification(name: statement.collection.name, create) == definition,
                "seed \(seed) round \(round)")
            let data = try JSONEncoder().encode(definition)
            #expect(
                try JSONDecoder().decode(CollectionSpecification.self, from: data) == definition)
        }
    }

    private func randomDefinition(_ generator: inout SeededGenerator) -> CollectionSpecification {
        let characters: [Character] = [
            "a", "Z", "0", "_", "-", ".", " ", "`", "'", "\"", "\\", ";", "\n", "\t", "\u{1}",
            "\u{7F}", "é", "日", "😀", "n", "x",
        ]
        func text() -> String {
            let count = Int.random(in: 1...8, using: &generator)
            return String((0..<count).map { _ in characters.randomElement(using: &generator)! })
        }
        let candidates: [(SettingKey, [String])] = [
            (.incrementalBackupEnabled, ["true", "0"]), (.omitIndexes, ["yes", "off"]),
            (.omitTables, ["a", " \"b, \"\"c\" , d", "`\u{301}`,'`'"]),
            (.capture, ["auto", "SCAN"]), (.keepLast, ["1", "unlimited"]),
            (.keepWithin, ["1y5m7d2h", "3d", "2H"]), (.keepHourly, ["24"]), (.keepDaily, ["7"]),
            (.keepWeekly, ["-1"]), (.keepMonthly, ["12"]), (.keepYearly, ["1000000"]),
            (.maxChain, ["1", "100"]), (.fullEvery, ["7d", "1w1s", "90m"]),
            (.keepDropped, ["0s", "36h"]),
        ]
        var settings = CollectionSettings()
        for (key, values) in candidates where Bool.random(using: &generator) {
            precondition(settings.set(key, values.randomElement(using: &generator)!))
        }
        if settings.isIncrementalBackupEnabled { _ = settings.set(.incrementalEvery, "1h30m") }
        if Bool.random(using: &generator) {
            let path = "/" + text().filter { $0.isLetter || "'\\;` ".contains($0) }
            precondition(settings.set(.storage, "filesystem") && settings.set(.location, path))
        }
        // Names that the grammar refuses are no definitions.
        var name = text()
        if name == "." || name == ".." { name = "dots" }
        let tables = Set(
            (0..<Int.random(in: 1...4, using: &generator)).map { _ in "/Root/" + text() })
        return CollectionSpecification(
            name: name,
            members: Bool.random(using: &generator) ? .database : .tables(tables.sorted()),
            settings: settings)
    }
}
