import ArgumentParser
import Bytes

/// Verbs that are reserved and take their words, so that nobody gets a mount instead.
private func refusal(_ verb: String, _ instead: String) -> Failure {
    Failure(.unsupported, "\(verb) isn't built yet in this version: \(instead)")
}

struct RekeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rekey", abstract: "Change passphrases of a repository (not built yet).")

    @Argument(parsing: .allUnrecognized) var words: [String] = []

    func run() throws { throw refusal("rekey", "repositories aren't encrypted yet either") }
}
