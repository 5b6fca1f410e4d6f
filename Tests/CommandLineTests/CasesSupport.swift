import Foundation
import Testing

/// An application's database in a sandbox, the backups of all of it in the collection `c`, and files
/// restored from them. Python's sqlite3 makes it and compares, with functions and a collation that only
/// the application has: `fold`, `regexp`, `unicase`.
final class CaseDatabase {
    /// An operation as `run --json` tells it.
    struct Outcome: Decodable {
        struct LeftOut: Decodable {
            var path: String
            var reason: String
        }

        var state: String
        var point: String?
        var error: String?
        var notes: [String]?
        var incomplete: UInt64?
        var leftOut: [LeftOut]?

        /// All that it says, in one text.
        var words: String {
            let reasons = (leftOut ?? []).map { "\($0.path): \($0.reason)" }
            return ((notes ?? []) + reasons + [error ?? ""]).joined(separator: "\n")
        }
    }

    let sandbox: Sandbox
    private(set) var points: [String] = []

    static let name = "app.db"

    /// Makes the database by a script, and its collection.
    init(_ script: String, settings: String = "", tables: String = "DATABASE") throws {
        sandbox = try Sandbox()
        try execute(script)
        let made = try sandbox.ydbfs(
            "run", Self.name,
            "CREATE BACKUP COLLECTION c \(tables) WITH (STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true'\(settings))")
        try #require(made.status == 0, "\(made.errors)")
    }

    // MARK: The application

    private static let preamble = """
        import hashlib, os, sqlite3, sys
        import compare

        def prepare(connection):
            def text(value):
                return value.decode() if isinstance(value, bytes) else value
            connection.create_function(
                "fold", 1, lambda value: text(value).lower(), deterministic=True)
            connection.create_function(
                "regexp", 2, lambda pattern, value: value is not None, deterministic=True)
            def order(a, b):
                a, b = a.lower(), b.lower()
                return (a > b) - (a < b)
            connection.create_collation("unicase", order)

        def connect(name="\(name)"):
            connection = sqlite3.connect(name, isolation_level=None)
            prepare(connection)
            return connection

        """

    /// Where the comparison lies that the tests with real programs use as well.
    private static let realFiles = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "RealFiles").path(percentEncoded: false)

    /// Runs a program in Python that has `connect()`; answers what it prints.
    @discardableResult
    func python(_ program: String, _ arguments: String...) throws -> String {
        try python(program, arguments)
    }

    @discardableResult
    func python(_ program: String, _ arguments: [String]) throws -> String {
        let ran = try sandbox.run(
            Sandbox.python, ["-B", "-c", Self.preamble + program] + arguments,
            environment: ["PYTHONPATH": Self.realFiles])
        try #require(ran.status == 0, "python: \(ran.errors)")
        return ran.output
    }

    /// Runs a script of SQL as the application would.
    func execute(_ script: String, in database: String = name) throws {
        try python("connect(sys.argv[1]).executescript(sys.argv[2])", database, script)
    }

    /// The rows that a query of the application finds, as Python writes them.
    func rows(_ sql: String, in database: String = name) throws -> String {
        try python(
            "print(connect(sys.argv[1]).execute(sys.argv[2]).fetchall(), end='')", database, sql)
    }

    // MARK: Backups

    /// Takes a point, beside a copy of the database, and checks that no byte of it changed.
    @discardableResult
    func backUp(incremental: Bool = false, status: Int32 = 0) throws -> Outcome {
        let copy = "copy\(points.count).db"
        try python(
            """
            source, target = (sqlite3.connect(name) for name in (sys.argv[1], sys.argv[2]))
            source.backup(target)
            """, Self.name, copy)
        let before = try digest()
        let outcome = try run([incremental ? "BACKUP c INCREMENTAL" : "BACKUP c"], status: status)
        let after = try digest()
        #expect(before == after, "the backup wrote to the database")
        points.append(outcome.point ?? "")
        return outcome
    }

    /// Of the database's file and of its log, as long as there is something in it.
    func digest() throws -> String {
        try python(
            """
            for name in ("\(Self.name)", "\(Self.name)-wal", "\(Self.name)-journal"):
                if os.path.exists(name) and os.path.getsize(name) > 0:
                    with open(name, "rb") as file:
                        print(name, hashlib.sha256(file.read()).hexdigest())
            """)
    }

    /// Runs one statement.
    @discardableResult
    func run(_ arguments: [String], status: Int32 = 0) throws -> Outcome {
        let ran = try sandbox.run(Sandbox.binary, ["run", Self.name, "--json"] + arguments)
        #expect(ran.status == status, "\(arguments): \(ran.output)\(ran.errors)")
        let line = try #require(ran.output.split(separator: "\n").last, "\(ran.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Outcome.self, from: Data(line.utf8))
    }

    // MARK: Restores

    /// Restores a point into a new file.
    @discardableResult
    func restore(_ number: Int, into name: String, status: Int32 = 0) throws -> Outcome {
        try run(["--into", name, "RESTORE c AT '\(points[number])'"], status: status)
    }

    /// Every point restored and compared with the copy taken beside it.
    func expectAllPoints(
        excused: [String] = [], at location: SourceLocation = #_sourceLocation
    ) throws {
        for number in points.indices {
            let name = "new\(number).db"
            try restore(number, into: name)
            try expectSame("copy\(number).db", name, excused: excused, at: location)
        }
    }

    /// The same schema, numbers, rows, storage classes and rowids.
    func expectSame(
        _ expected: String, _ found: String, excused: [String] = [],
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let differences = try python(
            """
            for line in compare.differences(sys.argv[1], sys.argv[2], prepare, sys.argv[3].split()):
                print(line)
            """, expected, found, excused.joined(separator: " "))
        #expect(differences == "", "\(found)", sourceLocation: location)
    }

    // MARK: Files of a point

    /// A table of a point as a file of the format.
    func export(_ number: Int, _ table: String, _ format: String = "csv") throws -> String {
        let folder = "\(format)\(number)"
        if !sandbox.exists(folder) {
            let ran = try sandbox.ydbfs(
                "export", Self.name, "c/\(points[number])", folder, "--format", format)
            try #require(ran.status == 0, "\(ran.errors)")
        }
        return "\(folder)/\(table).\(format)"
    }

    func csv(_ number: Int, _ table: String) throws -> String {
        try sandbox.text(export(number, table))
    }
}
