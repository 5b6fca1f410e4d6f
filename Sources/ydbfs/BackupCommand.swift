import ArgumentParser
import Bytes
import Engine
import Repository

/// `BACKUP` without its grammar: an incremental where that is possible, else a full.
struct BackupCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Back up a collection: the short form of run SOURCE 'BACKUP …'.",
        discussion: """
            An incremental backup where one is possible, else a full one. If there is no collection \
            yet, one of the whole database is made, named after its file, with incremental backups \
            enabled. COLLECTION may be left out if there is just one.
            """)

    @Argument(help: ArgumentHelp("A SQLite database, or a mount point.", valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp("Which one.", valueName: "COLLECTION"))
    var collection: String?

    @Flag(help: "A full backup.")
    var full = false

    @OptionGroup var common: ShortFormOptions

    var quiet: QuietOption { common.quiet }

    func run() throws {
        let argument = try SourceArgument.given(source, repository: common.repository)
        let states = try common.collections(argument)
        guard let state = try common.choose(collection, among: states) else {
            return try create(argument)
        }
        let settings = state.definition.flatMap { try? CollectionSettings(stored: $0.settings) }
        let isIncremental =
            !full && settings?.isIncrementalBackupEnabled == true && state.newest != nil
        try common.run(
            source, "BACKUP \(quotedName(state.name))\(isIncremental ? " INCREMENTAL" : "")")
    }

    private static func canBeCalled(
        _ name: String, _ specification: CollectionSpecification
    ) -> Bool {
        !Plan.reservedNames.contains(name) && (try? Statement.parse(specification.sql)) != nil
    }

    private func create(_ argument: SourceArgument) throws {
        guard let path = argument.databasePath else {
            throw Failure(.notFound, "\(source) has no collection, and no database to make one of")
        }
        if let problem = argument.problem(), problem.code != .busy { throw problem }
        let name = collection ?? PathText.lastName(path)
        var settings = CollectionSettings()
        _ = settings.set(.incrementalBackupEnabled, "true")
        let specification = CollectionSpecification(
            name: name, members: .database, settings: settings)
        guard collection != nil || Self.canBeCalled(name, specification) else {
            throw Failure(
                .invalid,
                "there is no collection yet, and none can be called \(name) as the database is: "
                    + "ydbfs backup \(PathText.shellWord(source)) NAME makes one of that name")
        }
        Output.remark("there is no collection yet: making \(name), of the whole database")
        try common.run(source, "\(specification.sql); BACKUP \(quotedName(name))")
    }
}

/// `RESTORE` without its grammar.
struct RestoreCommand: ParsableCommand, QuietVerb {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Bring back tables: the short form of run SOURCE 'RESTORE …'.",
        discussion: """
            Restores what isn't there: tables in the way are named and nothing is changed. \
            COLLECTION may be left out if there is just one. Rows, and tables under other names, \
            have no short form: see RESTORE in the README.

              ydbfs restore shop.db --at yesterday --into old.db
              ydbfs restore shop.db shop --table orders
            """)

    @Argument(help: ArgumentHelp("A SQLite database, or a mount point.", valueName: "SOURCE"))
    var source: String

    @Argument(help: ArgumentHelp("Which one.", valueName: "COLLECTION"))
    var collection: String?

    @Option(
        help: ArgumentHelp("A point, or a time (default: the newest).", valueName: "POINT"))
    var at: String?

    @Option(help: ArgumentHelp("Only this table; may be repeated.", valueName: "T"))
    var table: [String] = []

    @Option(
        help: ArgumentHelp("Into this database; it may be a new file.", valueName: "DATABASE"))
    var into: String?

    @OptionGroup var common: ShortFormOptions

    var quiet: QuietOption { common.quiet }

    func run() throws {
        let argument = try SourceArgument.given(source, repository: common.repository)
        let states = try common.collections(argument)
        guard let state = try common.choose(collection, among: states) else {
            throw Failure(.notFound, "\(source) has no collection, so there is nothing to restore")
        }
        var statement = "RESTORE \(quotedName(state.name))"
        if let at { statement += " AT \(quotedValue(at))" }
        if !table.isEmpty {
            let tables = table.map { "TABLE \(quotedName($0))" }
            statement += " (\(tables.joined(separator: ", ")))"
        }
        try common.run(source, statement, more: into.map { ["--into", $0] } ?? [])
    }
}

/// What the short forms share.
struct ShortFormOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where the backups are (default: SOURCE.backups).", valueName: "LOCATION"))
    var repository: String?

    @Flag(help: "One JSON object per operation.")
    var json = false

    @OptionGroup var quiet: QuietOption

    /// None if nothing was ever stored.
    func collections(_ argument: SourceArgument) throws -> [CollectionState] {
        do {
            return try Repository.open(argument.location).collections
        } catch let failure as Failure where failure.code == .notFound {
            return []
        }
    }

    /// The one of that name, or the only one; nil if there is none at all.
    func choose(
        _ name: String?, among states: [CollectionState]
    ) throws -> CollectionState? {
        let defined = states.filter { $0.definition != nil }
        if defined.isEmpty { return nil }
        let names = defined.map(\.name).joined(separator: ", ")
        guard let name else {
            if defined.count == 1 { return defined[0] }
            throw ValidationError("Which collection? There are: \(names)")
        }
        guard let state = defined.first(where: { $0.name.hasSameBytes(as: name) }) else {
            throw Failure(.notFound, "there is no collection \(name); there are: \(names)")
        }
        return state
    }

    func run(_ source: String, _ statement: String, more words: [String] = []) throws {
        var arguments = [source, statement] + words
        if let repository { arguments += ["--repository", repository] }
        if json { arguments.append("--json") }
        if quiet.isOn { arguments.append("--quiet") }
        try RunCommand.parse(arguments).run()
    }
}
