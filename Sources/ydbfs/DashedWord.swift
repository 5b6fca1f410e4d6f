import ArgumentParser

/// An argument that may begin with a dash and a digit, as `-2h` or a negative key does: no option does, but
/// the parser would take it for a row of them (`-2 -h`, and print its help).
struct DashedWord: ExpressibleByArgument {
    let text: String

    init(argument: String) {
        text = argument.hasPrefix(Self.mark) ? String(argument.dropFirst()) : argument
    }

    /// What no argument of a process holds.
    private static let mark = "\0"

    /// The verbs whose arguments are of this type.
    private static let verbs = [DiffCommand.self, HistoryCommand.self].compactMap {
        ($0 as any ParsableCommand.Type).configuration.commandName
    }

    /// The program's words with such ones marked. Throws where no verb takes them.
    static func marked(_ words: [String]) throws -> [String] {
        let isTaken = words.first.map(verbs.contains) == true
        let end = words.firstIndex(of: "--") ?? words.endIndex
        return try words.enumerated().map { index, word in
            guard index < end, word.hasPrefix("-"), word.dropFirst().first?.isNumber == true else {
                return word
            }
            guard isTaken else { throw ValidationError("Unknown option '\(word)'") }
            return mark + word
        }
    }
}
