import ArgumentParser
import Bytes

/// How much is shown of points, and how.
struct ShownOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only the newest N points.", valueName: "N"))
    var last: Int?

    @Flag(help: "Times in UTC, also on a terminal.")
    var utc = false

    func validate() throws {
        if let last, last < 1 {
            throw ValidationError("--last \(last): expected a number from 1 on")
        }
    }

    var shown: Shown { .output(isUTC: utc) }
}
