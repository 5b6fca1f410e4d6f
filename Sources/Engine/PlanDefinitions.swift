import Bytes
import Repository
import Tables

/// What CREATE, ALTER and DROP BACKUP COLLECTION would do.
extension Plan {
    func create(
        _ statement: Statement, _ create: Statement.Create, _ state: inout Expected
    ) throws(Failure) -> Step {
        let name = statement.collection.name
        let position = statement.collection.position
        if state.exists {
            throw statement.refusal(.exists, "collection \(name) exists already", at: position)
        }
        if Self.reservedNames.contains(name) || name == "." || name == ".." {
            throw statement.refusal(
                .invalid, "\(name) is a name of the mount's own: choose another", at: position)
        }
        if name.utf8.count > Self.maxNameBytes {
            throw statement.refusal(
                .invalid, "a collection's name has at most \(Self.maxNameBytes) bytes", at: position
            )
        }
        try checkSettings(statement, create.settings)
        if case .tables = create.members { try refuseOmitting(create.settings, statement) }
        let (definition, notes) = try define(statement, create)
        state.definition = definition
        return .define(definition, before: nil, notes: notes)
    }

    func alter(
        _ statement: Statement, _ changes: [Statement.Change], _ state: inout Expected
    ) throws(Failure) -> Step {
        let before = try require(statement, state)
        try requireIdle(statement, state)
        let pointChanges = changes.compactMap(PointChange.of)
        if pointChanges.count == changes.count { return try alterPoints(statement, pointChanges) }
        var alteration = try Alteration(before, statement)
        var notes: [String] = []
        for change in changes {
            switch change {
            case .addTable(let table):
                let path = try resolve(table, statement)
                try alteration.add(table, path: path)
                try requireUsable(path, table, statement, among: sourceTables())
            case .dropTable(let table):
                try alteration.drop(table, path: resolve(table, statement))
            case .set(var settings):
                if !before.isDatabase { try refuseOmitting(settings, statement) }
                settings.values = try resolved(settings, statement)
                if !settings.values.omitTables.isEmpty {
                    notes += unknownTables(settings.values, among: try sourceTables())
                }
                try alteration.set(settings)
                try checkSettings(statement, settings)
            case .reset(let keys): try alteration.reset(keys)
            case .dropBackup, .undropBackup, .pinBackup, .unpinBackup:
                throw statement.refusal(
                    .unsupported,
                    "DROP, UNDROP, PIN and UNPIN BACKUP go with each other, not with changes of "
                        + "settings or tables: write two statements", at: statement.position)
            }
        }
        let definition = try alteration.definition()
        state.definition = definition
        return .define(definition, before: before, notes: notes)
    }

    // MARK: Settings

    /// Refuses what is understood but not built.
    private func checkSettings(
        _ statement: Statement, _ settings: Statement.Settings
    ) throws(Failure) {
        for key in settings.values.keys {
            let isRefused =
                key == .storage
                ? settings.values.storage != .cluster
                : key == .omitIndexes ? settings.values.omitsIndexes : key == .location
            if isRefused {
                throw statement.refusal(
                    .unsupported,
                    key == .storage
                        ? "this version of ydbfs stores collections with STORAGE = 'cluster' only"
                        : "\(key.keyword) isn't built yet in this version of ydbfs",
                    at: settings.positions[key] ?? statement.position)
            }
        }
    }

    private func refuseOmitting(
        _ settings: Statement.Settings, _ statement: Statement
    ) throws(Failure) {
        guard let position = settings.positions[.omitTables] else { return }
        throw statement.refusal(
            .invalid,
            "OMIT_TABLES is of collections of the whole DATABASE: a list of tables names what it has",
            at: position)
    }

    /// The settings with tables named as the source names them.
    private func resolved(
        _ settings: Statement.Settings, _ statement: Statement
    ) throws(Failure) -> CollectionSettings {
        var values = settings.values
        guard let position = settings.positions[.omitTables] else { return values }
        var paths: [String] = []
        for name in values.omitTables {
            let path = try resolve(Located(name, at: position), statement)
            if !paths.contains(where: { $0.hasSameBytes(as: path) }) { paths.append(path) }
        }
        if !values.setOmitTables(paths) {
            throw statement.refusal(.invalid, "OMIT_TABLES names the database", at: position)
        }
        return values
    }

    /// What OMIT_TABLES names in vain: there may be such a table later.
    private func unknownTables(
        _ settings: CollectionSettings, among all: [SourceTable]
    ) -> [String] {
        settings.omitTables.filter { name in !all.contains { $0.isOmitted(by: name) } }
            .map { "OMIT_TABLES: " + Self.missing($0, among: all) }
    }

    // MARK: Members

    private func define(
        _ statement: Statement, _ create: Statement.Create
    ) throws(Failure) -> (CollectionDefinition, [String]) {
        let all = try sourceTables()
        var paths: [String] = []
        var notes: [String] = []
        let settings = try resolved(create.settings, statement)
        switch create.members {
        case .database:
            let omitted = settings.omitTables
            notes = all.filter { table in !omitted.contains { table.isOmitted(by: $0) } }
                .compactMap { table in table.refusal.map { "not backed up: \($0)" } }
            notes += unknownTables(settings, among: all)
        case .tables(let tables):
            for table in tables {
                let path = try resolve(table, statement)
                if paths.contains(where: { $0.hasSameBytes(as: path) }) {
                    throw statement.refusal(
                        .invalid, "table \(path) is named twice", at: table.position)
                }
                try requireUsable(path, table, statement, among: all)
                paths.append(path)
            }
        }
        var definition = CollectionSpecification(name: statement.collection.name, create)
        definition.settings = settings
        let record = CollectionDefinition(
            name: definition.name, tables: paths, isDatabase: paths.isEmpty,
            settings: settings.stored, sql: definition.sql,
            time: Instant.now.microseconds)
        return (record, notes)
    }

    /// Refuses a table that the database hasn't got, or that can't be backed up.
    private func requireUsable(
        _ path: String, _ table: Located<String>, _ statement: Statement, among all: [SourceTable]
    ) throws(Failure) {
        guard let found = all.first(where: { $0.path.hasSameBytes(as: path) }) else {
            if let kind = try? openSource().otherKind(of: path) {
                throw statement.refusal(
                    .unsupported,
                    "\(path) is \(kind): a list is of tables that have rows, DATABASE takes everything",
                    at: table.position)
            }
            throw statement.refusal(.notFound, Self.missing(path, among: all), at: table.position)
        }
        if let refusal = found.refusal {
            throw statement.refusal(.unsupported, refusal, at: table.position)
        }
    }

    private static func missing(_ path: String, among tables: [SourceTable]) -> String {
        let alike = tables.first { $0.path.lowercased() == path.lowercased() }
        if let alike { return "there is no table \(path); did you mean \(alike.path)?" }
        let names = tables.prefix(10).map(\.path).joined(separator: ", ")
        return "there is no table \(path); there are: \(names.isEmpty ? "none" : names)"
    }

    /// The path below the database that a statement means.
    func resolve(
        _ table: Located<String>, _ statement: Statement
    ) throws(Failure) -> String {
        guard table.value.hasPrefix("/"), let root = engine.database?.path else {
            return table.value
        }
        guard table.value.hasPrefix(root + "/") else {
            throw statement.refusal(
                .notFound, "\(table.value) is not below this database, which is \(root)",
                at: table.position)
        }
        return String(table.value.dropFirst(root.count + 1))
    }

    func drop(_ statement: Statement, _ state: inout Expected) throws(Failure) -> Step {
        try require(statement, state)
        if let source = engine.options.points, state.definition?.sourceKind != nil {
            throw statement.refusal(
                .unsupported,
                "\(statement.collection.name) is what \(source.name) holds: it would be imported anew; "
                    + "remove \(engine.location), and nothing there is lost",
                at: statement.position)
        }
        try requireIdle(statement, state)
        state = Expected()
        return .drop
    }

    /// Refuses what can't wait until others are done with the collection.
    private func requireIdle(_ statement: Statement, _ state: Expected) throws(Failure) {
        if state.queued > 0 {
            throw Failure(
                .busy,
                "\(statement.collection.name) has \(state.queued) operations queued or running: "
                    + "wait for them or cancel them")
        }
        try checkLock(statement.collection.name)
    }
}

extension SourceTable {
    /// Whether OMIT_TABLES that holds `name` leaves it out: a table, or what a virtual one keeps in it.
    func isOmitted(by name: String) -> Bool {
        if case .shadow(let table) = kind, table.hasSameBytes(as: name) { return true }
        return path.hasSameBytes(as: name)
    }
}
