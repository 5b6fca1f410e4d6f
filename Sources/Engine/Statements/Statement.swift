import Bytes
import Repository
import Tables

/// The collection in whose `control` a text was written: there its name may be left out.
package struct CollectionScope: Sendable, Equatable {
    package let name: String

    package init(name: String) { self.name = name }
}

/// One parsed statement. The grammar is YDB's (`BACKUP COLLECTION` statements of YQL) and more.
package struct Statement: Sendable, Equatable {
    package enum Action: Sendable, Equatable {
        case create(Create)
        case alter([Change])
        case drop
        case backup(Backup)
        case restore(Restore)
        case verify(Verify)
        case compact
        case prune(isDryRun: Bool)
        /// nil: the newest point.
        case pull(at: Located<String>?)
        case show(Question)
    }

    /// What can be asked for.
    package enum Question: Sendable, Equatable { case collections, backups, operations }

    package struct Create: Sendable, Equatable {
        package let members: Members
        /// Complete: `STORAGE` is filled in.
        package let settings: Settings
    }

    package enum Members: Sendable, Equatable {
        case database(at: SourcePosition)
        case tables([Located<String>])
    }

    /// Values that are valid on their own, and where each key was written.
    package struct Settings: Sendable, Equatable {
        package var values: CollectionSettings
        package let positions: [SettingKey: SourcePosition]

        /// Those of a collection that is made without any.
        static var standard: Settings {
            var values = CollectionSettings()
            values.fillInStorage()
            return Settings(values: values, positions: [:])
        }
    }

    package enum Change: Sendable, Equatable {
        case set(Settings)
        case reset([Located<SettingKey>])
        case addTable(Located<String>)
        case dropTable(Located<String>)
        case dropBackup(Located<String>)
        case undropBackup(Located<String>)
        case pinBackup(Located<String>)
        case unpinBackup(Located<String>)
    }

    package struct Backup: Sendable, Equatable {
        package let isIncremental: Bool
        /// Where `INCREMENTAL` stands, else where the statement begins.
        package let kindPosition: SourcePosition
        package let uid: Located<String>?
    }

    package struct Restore: Sendable, Equatable {
        /// nil: the newest point.
        package let point: Located<String>?
        /// nil: all tables under their own names.
        package let tables: [Table]?
        /// Whether something that can't be restored ends all of it.
        package let isStrict: Bool
        /// How rows are put back, if it is about rows.
        package var rules = RowRules()

        package struct Table: Sendable, Equatable {
            package let path: Located<String>
            package let target: Located<String>?
            /// nil: a whole table, which isn't there yet. All tables of a statement are whole, or none.
            package var rows: Rows?
        }

        /// Which rows are put back into a table that is there.
        package enum Rows: Sendable, Equatable {
            /// Their keys, the values of each as fields of CSV.
            case keys([Located<[String]>])
            /// Those that are others since a point or a time.
            case changed(since: Located<String>)
        }
    }

    package struct Verify: Sendable, Equatable {
        /// nil: every point.
        package let point: Located<String>?
        /// nil: the default level.
        package let level: Located<VerifyLevel>?
    }

    package typealias VerifyLevel = CheckLevel

    package let action: Action
    /// Its name is empty where a question is about all of them.
    package let collection: CollectionName
    /// The source text from its first token to its last, without `;`.
    package let text: String
    /// Where `text` begins in what was parsed.
    package let position: SourcePosition

    /// The statements of `text`, which begins at `origin` of some larger text. In a `scope` the
    /// collection's name may be left out; another name, and CREATE, are refused there.
    package static func parse(
        _ text: String, scope: CollectionScope? = nil, origin: SourcePosition = .start
    ) throws(StatementError) -> [Statement] {
        try parse(bytes: Array(text.utf8), scope: scope, origin: origin)
    }

    /// - Precondition: valid UTF-8.
    static func parse(
        bytes: [UInt8], scope: CollectionScope?, origin: SourcePosition
    ) throws(StatementError) -> [Statement] {
        var parser = StatementParser(bytes, scope: scope, origin: origin)
        return try parser.statements()
    }

    /// Whether it only asks: then it makes no operation, and changes nothing.
    package var isQuestion: Bool {
        if case .show = action { true } else { false }
    }

    /// The refusal of something in this statement, for its one line and its caret snippet.
    package func error(_ message: String, at position: SourcePosition) -> StatementError {
        StatementError(message, at: position, in: text.utf8, from: self.position)
    }

    /// Two lines: the statement's line at `position`, and a caret under it.
    package func snippet(at position: SourcePosition) -> String {
        caretSnippet(at: position.offset - self.position.offset, in: text.utf8)
    }
}

/// A collection as a statement names it: `shop` or `/Root/db/.backups/collections/shop`.
package struct CollectionName: Sendable, Equatable {
    package let name: String
    /// `/Root/db` of the absolute form: it must be the database that the statement runs on.
    package let database: String?
    /// Where it was written; the statement's beginning if it was left out.
    package let position: SourcePosition

    /// Where YDB keeps collections below a database.
    static let folder = "/.backups/collections/"
}
