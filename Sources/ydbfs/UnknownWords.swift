import ArgumentParser
import Engine

/// Words that look like verbs and are none. `mount` may be left out, so that any first word that isn't a
/// verb would be taken for a SOURCE.
enum UnknownWords {
    /// Throws if there is no word, or the first one is no verb and no file, but nearly a verb.
    static func check(_ words: [String]) throws {
        if words.isEmpty { throw BareUsage() }
        if ["-v", "-V"].contains(words[0]) {
            throw ValidationError("unknown option \(words[0]): did you mean --version?")
        }
        if words[0].hasPrefix("--"), !options.contains(words[0]),
            let option = nearestWord(to: words[0], among: options)
        {
            throw ValidationError("unknown option \(words[0]): did you mean \(option)?")
        }
        guard let word = words.first, !word.hasPrefix("-"), !word.contains("/"),
            !verbs.contains(word), !Paths.exists(word), !Paths.exists(word + ".backups"),
            let verb = nearestWord(to: word, among: verbs)
        else { return }
        throw ValidationError("unknown command \(word): did you mean \(verb)?")
    }

    private static let options = ["--help", "--version"]

    /// Those that a user may type.
    private static let verbs: [String] = Ydbfs.configuration.subcommands.flatMap { command in
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
