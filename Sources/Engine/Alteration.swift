import Bytes
import Repository

/// A collection's definition while `ALTER BACKUP COLLECTION` changes it, clause after clause.
///
/// Members keep the spelling that they were given by (`/Root/database/orders`), beside the path that
/// it means, so that `collection.sql` goes on to read as its author wrote it.
struct Alteration {
    private let statement: Statement
    private let old: CollectionDefinition
    private var members: [(path: String, spelling: String)]
    private var settings: CollectionSettings
    private var changedSettings: [SettingKey: SourcePosition] = [:]

    init(_ definition: CollectionDefinition, _ statement: Statement) throws(Failure) {
        self.statement = statement
        old = definition
        do {
            settings = try CollectionSettings(stored: definition.settings)
        } catch {
            throw error as? Failure ?? Failure(.corrupt, "\(error)")
        }
        let spellings = Self.spellings(definition)
        members = definition.tables.enumerated().map { ($1, spellings?[$0] ?? $1) }
    }

    /// The tables as the definition's own text names them.
    private static func spellings(_ definition: CollectionDefinition) -> [String]? {
        guard let parsed = try? Statement.parse(definition.sql).first,
            case .create(let create) = parsed.action, case .tables(let tables) = create.members,
            tables.count == definition.tables.count
        else { return nil }
        return tables.map(\.value)
    }

    // MARK: Tables

    /// - Parameter path: what `table` means in the database, where it exists.
    mutating func add(_ table: Located<String>, path: String) throws(Failure) {
        try requireList(table)
        if members.contains(where: { $0.path.hasSameBytes(as: path) }) {
            throw statement.refusal(
                .exists, "table \(path) is in \(old.name) already", at: table.position)
        }
        members.append((path, table.value))
    }

    mutating func drop(_ table: Located<String>, path: String) throws(Failure) {
        try requireList(table)
        guard let index = members.firstIndex(where: { $0.path.hasSameBytes(as: path) }) else {
            let names = members.prefix(10).map(\.path).joined(separator: ", ")
            throw statement.refusal(
                .notFound, "\(old.name) has no table \(path); it has: \(names)", at: table.position)
        }
        members.remove(at: index)
    }

    private func requireList(_ table: Located<String>) throws(Failure) {
        if !old.isDatabase { return }
        throw statement.refusal(
            .unsupported,
            "\(old.name) is a collection of the whole DATABASE: it has every table that there is",
            at: table.position)
    }

    // MARK: Settings

    mutating func set(_ changes: Statement.Settings) throws(Failure) {
        for key in changes.values.keys {
            try requireFixed(key, changes.values.text(of: key), at: changes.positions[key])
            changedSettings[key] = changes.positions[key]
        }
        settings = settings.setting(changes.values)
    }

    mutating func reset(_ keys: [Located<SettingKey>]) throws(Failure) {
        let reset = settings.resetting(keys.map(\.value))
        for key in keys {
            try requireFixed(key.value, reset.text(of: key.value), at: key.position)
            changedSettings[key.value] = key.position
        }
        settings = reset
    }

    /// Where a collection is stored can't change while it has points there.
    private func requireFixed(
        _ key: SettingKey, _ text: String?, at position: SourcePosition?
    ) throws(Failure) {
        guard key == .storage || key == .location, text != settings.text(of: key) else { return }
        throw statement.refusal(
            .unsupported,
            "\(key.keyword) of a collection can't be changed: make another collection there",
            at: position ?? statement.position)
    }

    // MARK: The outcome

    func definition() throws(Failure) -> CollectionDefinition {
        if members.isEmpty && !old.isDatabase {
            throw statement.refusal(
                .invalid,
                "\(old.name) would have no table left: DROP BACKUP COLLECTION drops it as a whole",
                at: statement.position)
        }
        if let conflict = settings.conflict {
            throw statement.refusal(
                .invalid, conflict.message,
                at: changedSettings[conflict.key] ?? statement.position)
        }
        var new = old
        new.tables = members.map(\.path)
        // What a later version may have written is none of ours.
        new.settings = old.settings.filter { SettingKey(rawValue: $0.key) == nil }
            .merging(settings.stored) { $1 }
        let schedule = [SettingKey.incrementalEvery, .fullEvery].map(\.rawValue)
        if schedule.contains(where: { new.settings[$0] != old.settings[$0] }) {
            new.settings[Schedule.sinceKey] = "\(Instant.now.microseconds)"
        }
        new.sql =
            CollectionSpecification(
                name: old.name,
                members: old.isDatabase ? .database : .tables(members.map(\.spelling)),
                settings: settings
            ).sql
        return new
    }
}
