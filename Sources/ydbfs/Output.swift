import Glibc

/// The standard streams, unbuffered: other processes read along.
enum Output {
    static func print(_ text: String) { write(STDOUT_FILENO, text) }

    /// One line on the error stream, with the program's name.
    static func error(_ text: String) { write(STDERR_FILENO, "ydbfs: \(text)") }

    /// Text for somebody at a terminal, as it is.
    static func note(_ text: String) { write(STDERR_FILENO, text, terminator: "") }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// A stream that nobody reads any more is no reason to stop.
    private static func write(_ descriptor: Int32, _ text: String, terminator: String = "\n") {
        var rest = Array((text.hasSuffix("\n") ? text : text + terminator).utf8)
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest, rest.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return }
            rest.removeFirst(count)
        }
    }
}
