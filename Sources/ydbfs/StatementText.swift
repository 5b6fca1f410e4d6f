import Bytes
import Engine
import Glibc

/// The statements that `run` was given, and how to point at what is wrong with them.
package struct StatementText: Sendable {
    package let statements: [Statement]
    /// What `control` takes in one write.
    package let text: String

    /// - Parameter arguments: each a text of one or more statements; none may span two of them.
    /// - Throws: `.invalid` with the line at fault and a caret.
    package init(arguments: [String]) throws(Failure) {
        var text = ""
        for (index, argument) in arguments.enumerated() {
            guard let argument = String(validating: PathText.bytes(argument), as: UTF8.self) else {
                throw Failure(.invalid, "argument \(index + 1) is no UTF-8 text: \(argument)")
            }
            do {
                _ = try Statement.parse(argument)
            } catch {
                let whole = arguments.joined(separator: " ")
                if arguments.count > 1, (try? Statement.parse(whole)) != nil {
                    throw Failure(
                        .invalid,
                        "each argument is a statement: put it in quotes: "
                            + PathText.shellWord(whole))
                }
                let place = arguments.count > 1 ? "argument \(index + 1), " : ""
                throw Failure(.invalid, "\(place)\(error)", snippet: error.snippet)
            }
            // A comment may end the argument.
            text += argument + "\n;\n"
        }
        try self.init(checked: text)
    }

    package init(_ text: String) throws(Failure) {
        do {
            _ = try Statement.parse(text)
        } catch {
            throw Failure(.invalid, "\(error)", snippet: error.snippet)
        }
        try self.init(checked: text + "\n;\n")
    }

    private init(checked text: String) throws(Failure) {
        let bytesMax = ControlText.limit
        guard text.utf8.count <= bytesMax else {
            throw Failure(.tooLong, "the statements have more than \(bytesMax) bytes: split them")
        }
        do {
            statements = try Statement.parse(text)
        } catch {
            throw error.failure
        }
        self.text = text
    }

    /// Adds the line at fault to a refusal that says where it is: `2:5: there is no table …`.
    package func pointing(_ failure: Failure) -> Failure {
        let parts = failure.message.split(separator: ":", maxSplits: 2)
        guard parts.count == 3, let line = Int(parts[0]), let column = Int(parts[1]),
            let position = position(line, column),
            let statement = statements.last(where: { $0.position <= position })
        else { return failure }
        return Failure(failure.code, failure.message, snippet: statement.snippet(at: position))
    }

    private func position(_ line: Int, _ column: Int) -> SourcePosition? {
        var (atLine, atColumn, offset) = (1, 1, 0)
        for scalar in text.unicodeScalars {
            if (atLine, atColumn) == (line, column) {
                return SourcePosition(offset: offset, line: line, column: column)
            }
            offset += UTF8.width(scalar)
            (atLine, atColumn) = scalar == "\n" ? (atLine + 1, 1) : (atLine, atColumn + 1)
        }
        return nil
    }

    /// All of the standard input, as far as the limit.
    package static func readInput() throws(Failure) -> String {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= ControlText.limit {
            let count = read(STDIN_FILENO, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure("can't read the standard input") }
            if count == 0 { break }
            bytes += part[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Failure(.invalid, "the standard input is no UTF-8 text")
        }
        return text
    }
}
