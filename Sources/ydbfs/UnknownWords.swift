import ArgumentParser
import Engine

/// Words that look like verbs and are none. `mount` may be left out, so that any first word that isn't a
/// verb would be taken for a SOURCE.
package enum UnknownWords {
    /// The program's words with the verb in front of options that stand before it. Throws if there is no
    /// word, or the first one is no verb and no file, but nearly a verb.
    static func checked(_ words: [String]) throws -> [String] {
        if words.isEmpty { throw BareUsage() }
        if ["-v", "-V"].contains(words[0]) {
            throw ValidationError("unknown option \(words[0]): did you mean --version?")
        }
        if words[0].hasPrefix("--"), !options.contains(words[0]),
            let option = nearestWord(to: words[0], among: options)
        {
            throw ValidationError("unknown option \(words[0]): did you mean \(option)?")
        }
        guard words[0] != "--version" else { return words }
        let place = firstPlainWord(of: words)
        if place == words.count, !words.contains(where: isAnswered) { throw BareUsage() }
        // Behind `--` stands no verb.
        guard place < words.count, words[place] != "--" else { return words }
        let word = words[place]
        if verbs.contains(word) {
            return [word] + words[..<place] + words[(place + 1)...]
        }
        guard !word.contains("/"), !Paths.exists(word), !Paths.exists(word + ".backups"),
            let verb = nearestWord(to: word, among: verbs)
        else { return words }
        throw ValidationError("unknown command \(word): did you mean \(verb)?")
    }

    /// Where the first word is that is neither an option nor the value of one.
    private static func firstPlainWord(of words: [String]) -> Int {
        var place = 0
        while place < words.count, words[place].hasPrefix("-"), words[place] != "--" {
            place += valued.contains(words[place]) ? 2 : 1
        }
        return min(place, words.count)
    }

    private static let options = ["--help", "--version"]
    /// Whether it is an option that needs nothing else.
    private static func isAnswered(_ word: String) -> Bool {
        answered.contains { word == $0 || word.hasPrefix($0 + "=") }
    }

    private static let answered =
        options + [
            "-h", "--help-hidden", "--experimental-dump-help", "--generate-completion-script",
        ]

    /// Options whose value is the next word.
    package static let valued: Set = [
        "-o", "--repository", "--into", "--rate", "--reserve", "--max-age", "--last", "--sql",
        "--table", "--level", "--format", "--at", "--from", "--generate-completion-script",
    ]

    /// Those that a user may type.
    static let verbs: [String] = Ydbfs.configuration.subcommands.flatMap { command in
        let known = command.configuration
        return known.shouldDisplay ? [known.commandName].compactMap(\.self) + known.aliases : []
    }
}

/// Nothing was asked for: what can be.
struct BareUsage: Error {
    let text = """
        usage: ydbfs SOURCE MOUNTPOINT shows the backups of SOURCE, a SQLite database
        ydbfs backup SOURCE takes one, ydbfs status SOURCE tells how things are
        ydbfs --help tells the rest
        """
}
