import ArgumentParser
import Bytes
import SQLiteSource

struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Remove what earlier versions left in a database.",
        discussion: """
            Versions that found changes by triggers wrote triggers and tables named _ydbfs_… into the \
            database. Nothing needs them any more. repair removes them, in one transaction, and \
            prints the statements that did; ydbfs status says whether there are any.
            """)

    @Argument(help: ArgumentHelp("A SQLite database.", valueName: "SOURCE"))
    var source: String

    func run() throws {
        guard case .database(let file) = try SourceArgument(source).kind else {
            throw Failure(.invalid, "\(source) is no database: repair takes a SQLite database")
        }
        let statements = try SQLiteSource(path: file).removeLeftoverCapture()
        if statements.isEmpty {
            return Output.print("\(source): there is nothing to repair")
        }
        Output.print(statements.map { "\($0);" }.joined(separator: "\n"))
        Output.print("\(source): \(statements.count) objects of earlier versions removed")
    }
}
