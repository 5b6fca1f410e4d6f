import Bytes

/// The way mount(8) calls its helpers: `mount.ydbfs SOURCE DIR [-sfnv] [-N NS] [-o OPTS] [-t TYPE]`.
package enum MountHelper {
    package static let name = "mount.ydbfs"

    /// The words behind the program's name, as `ydbfs` takes them. `-f` of mount(8) means to do all
    /// but the mounting, not the foreground.
    package static func translate(_ arguments: [String]) throws(Failure) -> [String] {
        let words = Array(arguments.dropFirst())
        guard let program = arguments.first, PathText.lastName(program) == name else {
            return words.flatMap(splitJoined)
        }
        if words == ["--help"] || words == ["--version"] { return words }
        var translated = ["mount"]
        var rest = words.flatMap(splitJoined)[...]
        while let word = rest.popFirst() {
            switch word {
            case "-o", "-N", "-t":
                guard let value = rest.popFirst() else {
                    throw Failure(.invalid, "\(name): \(word) needs a value")
                }
                if word == "-o" { translated += ["-o", value] }
            case _ where word.hasPrefix("-") && word.count > 1:
                for letter in word.dropFirst() {
                    switch letter {
                    case "s": translated.append("--sloppy")
                    case "f": translated.append("--fake")
                    case "r": translated += ["-o", "ro"]
                    case "n", "v", "w": continue
                    default: throw Failure(.invalid, "\(name): unknown option -\(letter)")
                    }
                }
            default: translated.append(word)
            }
        }
        return translated
    }

    /// `-oro,uid=5` in two words: the parser would take `uid` for an option's name.
    private static func splitJoined(_ word: String) -> [String] {
        guard word.hasPrefix("-o"), word.count > 2 else { return [word] }
        return ["-o", String(word.dropFirst(2))]
    }
}
