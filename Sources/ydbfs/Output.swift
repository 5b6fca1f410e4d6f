import Bytes
import Engine
import FoundationEssentials
import Glibc
import Synchronization

/// The standard streams, unbuffered: other processes read along. Names that stand in the text are data,
/// which no terminal obeys.
enum Output {
    private static let manner = Mutex((isQuiet: false, isJSON: false))

    /// Nothing is said but errors, what was asked for, and what was left out.
    static var isQuiet: Bool {
        get { manner.withLock { $0.isQuiet } }
        set { manner.withLock { $0.isQuiet = newValue } }
    }

    /// The error stream has an object on each line.
    static var isJSON: Bool {
        get { manner.withLock { $0.isJSON } }
        set { manner.withLock { $0.isJSON = newValue } }
    }

    /// What was asked for.
    static func print(_ text: String) { write(STDOUT_FILENO, text.escapingUnprintable) }

    /// What was done.
    static func say(_ text: String) { if !isQuiet { print(text) } }

    /// What wasn't done of something that is done: whom the rest doesn't interest should hear of it.
    static func leftOut(_ line: String) {
        isQuiet ? error("left out: \(line)") : print("left out: \(line)")
    }

    /// One object, on a line of its own or made to be read.
    static func json(_ value: some Encodable, isPretty: Bool = false) throws {
        print(try text(of: value, isPretty: isPretty))
    }

    private static func text(of value: some Encodable, isPretty: Bool) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return PathText.shown(json: String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Text whose every character counts, such as SQL: as it is, but for a terminal.
    static func data(_ text: String) {
        write(STDOUT_FILENO, isatty(STDOUT_FILENO) == 1 ? text.escapingUnprintable : text)
    }

    /// One line on the error stream, with the program's name.
    ///
    /// - Parameter code: what kind of error it is, for programs.
    static func error(_ text: String, code: String? = nil) {
        if isJSON { return errorObject(ErrorReport(error: text, code: code)) }
        write(STDERR_FILENO, "ydbfs: \(text.escapingUnprintable)")
    }

    /// On the error stream, with the line at fault.
    static func error(_ failure: Failure) {
        if isJSON {
            return errorObject(
                ErrorReport(
                    error: failure.message, code: failure.code.rawValue, snippet: failure.snippet))
        }
        error(
            ([oneLine(failure.message)] + [failure.snippet].compactMap(\.self))
                .joined(separator: "\n"))
    }

    /// Something to know that is no error, on the error stream, since the other one is for what was asked.
    static func remark(_ text: String) {
        if isQuiet { return }
        if isJSON { return errorObject(ErrorReport(note: text)) }
        error(text)
    }

    private struct ErrorReport: Encodable {
        var error: String?
        var note: String?
        var code: String?
        var snippet: String?
    }

    private static func errorObject(_ report: ErrorReport) {
        // Text in fields of text: it can't fail.
        guard let line = try? text(of: report, isPretty: false) else { return }
        write(STDERR_FILENO, line.escapingUnprintable)
    }

    /// Why not all reached the standard output.
    static var loss: Failure? { lost.withLock(\.self) }

    private static let lost = Mutex<Failure?>(nil)

    /// Text for somebody at a terminal, as it is.
    static func note(_ text: String) { write(STDERR_FILENO, text, terminator: "") }

    /// A part of a file. Somebody who stops reading ends it.
    static func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let count = Glibc.write(STDOUT_FILENO, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("can't write to standard output") }
            rest = rest.from(count)
        }
    }

    /// Lines of a table: words on the left of their columns, numbers on the right.
    /// The first are headings.
    static func aligned(_ rows: [[String]], leftColumns: Set<Int>) -> [String] {
        let rows = rows.map { $0.map(oneLine) }
        return TextTable(
            heads: rows[0], rows: Array(rows.dropFirst()), leftColumns: leftColumns
        ).lines(within: Terminal.columns(STDOUT_FILENO))
    }

    /// Whether somebody looks on.
    static var showsProgress: Bool { !isQuiet && !isJSON && isatty(STDERR_FILENO) == 1 }

    /// A stream that can't be written is no reason to stop, but makes the end a failure.
    private static func write(_ descriptor: Int32, _ text: String, terminator: String = "\n") {
        var rest = Array((text.hasSuffix("\n") ? text : text + terminator).utf8)
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest, rest.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 {
                if descriptor == STDOUT_FILENO {
                    let failure = Failure("can't write to the standard output")
                    lost.withLock { $0 = $0 ?? failure }
                }
                return
            }
            rest.removeFirst(count)
        }
    }
}
