import Bytes
import Engine
import FoundationEssentials
import Glibc
import Synchronization

/// The standard streams, unbuffered: other processes read along. Names that stand in the text are data,
/// which no terminal obeys.
enum Output {
    static func print(_ text: String) { write(STDOUT_FILENO, text.escapingUnprintable) }

    /// One object, on a line of its own or made to be read.
    static func json(_ value: some Encodable, isPretty: Bool = false) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Text whose every character counts, such as SQL: as it is, but for a terminal.
    static func data(_ text: String) {
        write(STDOUT_FILENO, isatty(STDOUT_FILENO) == 1 ? text.escapingUnprintable : text)
    }

    /// One line on the error stream, with the program's name.
    static func error(_ text: String) {
        write(STDERR_FILENO, "ydbfs: \(text.escapingUnprintable)")
    }

    /// On the error stream, with the line at fault.
    static func error(_ failure: Failure) {
        error(
            ([oneLine(failure.message)] + [failure.snippet].compactMap(\.self))
                .joined(separator: "\n"))
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
    static func aligned(_ rows: [[String]], leftColumns: Set<Int>) -> [String] {
        TextTable.aligned(rows.map { $0.map(oneLine) }, leftColumns: leftColumns)
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// A stream that nobody reads any more is no reason to stop. What is lost otherwise makes the end a
    /// failure.
    private static func write(_ descriptor: Int32, _ text: String, terminator: String = "\n") {
        var rest = Array((text.hasSuffix("\n") ? text : text + terminator).utf8)
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest, rest.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 {
                if descriptor == STDOUT_FILENO, errno != EPIPE {
                    let failure = Failure("can't write to the standard output")
                    lost.withLock { $0 = $0 ?? failure }
                }
                return
            }
            rest.removeFirst(count)
        }
    }
}
