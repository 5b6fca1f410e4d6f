import Bytes

/// Finds the `;` that end statements in text that arrives in pieces, without keeping any text.
struct StatementScanner: Sendable {
    private enum State: Sendable, Equatable {
        case plain
        /// Behind a `-` or `/` that may begin a comment.
        case dash
        case slash
        case quoted(by: UInt8)
        case escaped(in: UInt8)
        case lineComment
        case blockComment
        case blockCommentStar
    }

    private var state = State.plain
    private var depth = 0

    /// Within brackets, quotes or a block comment no statement is complete.
    var isOpen: Bool {
        switch state {
        case .quoted, .escaped, .blockComment, .blockCommentStar: true
        default: depth > 0
        }
    }

    /// True when `byte` is a `;` that ends a statement.
    mutating func push(_ byte: UInt8) -> Bool {
        switch state {
        case .plain: return plain(byte)
        case .dash where byte == UInt8(ascii: "-"): state = .lineComment
        case .slash where byte == UInt8(ascii: "*"): state = .blockComment
        case .dash, .slash: return plain(byte)
        case .quoted(let quote):
            if byte == quote {
                state = .plain
            } else if byte == UInt8(ascii: "\\") {
                state = .escaped(in: quote)
            }
        case .escaped(let quote): state = .quoted(by: quote)
        case .lineComment: if byte == UInt8(ascii: "\n") { state = .plain }
        case .blockComment: if byte == UInt8(ascii: "*") { state = .blockCommentStar }
        case .blockCommentStar:
            if byte == UInt8(ascii: "/") {
                state = .plain
            } else if byte != UInt8(ascii: "*") {
                state = .blockComment
            }
        }
        return false
    }

    private mutating func plain(_ byte: UInt8) -> Bool {
        state = .plain
        switch byte {
        case UInt8(ascii: "-"): state = .dash
        case UInt8(ascii: "/"): state = .slash
        case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"): state = .quoted(by: byte)
        case UInt8(ascii: "("): depth += 1
        case UInt8(ascii: ")"): depth = max(0, depth - 1)
        case UInt8(ascii: ";"):
            depth = 0
            return true
        default: break
        }
        return false
    }
}

/// Cuts a stream, such as the standard input of `run`, into the texts between `;`.
///
/// Each piece comes with its position in the stream: give it to `Statement.parse` as `origin` and
/// errors name the line of the stream. Memory is bounded by the longest piece, 1 MiB.
package struct StatementSplitter: Sendable {
    package struct Piece: Sendable, Equatable {
        /// With its `;`, and whatever stood before the statement.
        package let text: String
        package let origin: SourcePosition
    }

    /// Bytes of one statement.
    package static let limit = 1 << 20

    private var scanner = StatementScanner()
    private var pending: [UInt8] = []
    private var origin = SourcePosition.start

    package init() {}

    /// All pieces of a whole text, the last of which may lack its `;`.
    package static func split(_ text: String) throws(Failure) -> [Piece] {
        var splitter = StatementSplitter()
        var pieces = try splitter.push(text.utf8)
        if let last = try splitter.finish() { pieces.append(last) }
        return pieces
    }

    /// The pieces that `bytes` end.
    package mutating func push(_ bytes: some Sequence<UInt8>) throws(Failure) -> [Piece] {
        var pieces: [Piece] = []
        for byte in bytes {
            if pending.count == Self.limit { throw statementTooLong(at: origin) }
            pending.append(byte)
            if scanner.push(byte) { pieces.append(try take()) }
        }
        return pieces
    }

    /// What stands behind the last `;`; nil if that is nothing but blanks.
    package mutating func finish() throws(Failure) -> Piece? {
        if pending.allSatisfy({ $0 == 0x20 || (0x09...0x0D).contains($0) }) { return nil }
        return try take()
    }

    private mutating func take() throws(Failure) -> Piece {
        switch TextCheck(pending[...]) {
        case .whole: break
        case .unfinished(let offset): throw fault("the text is not valid UTF-8", at: offset)
        case .fault(let message, let offset): throw fault(message, at: offset)
        }
        let piece = Piece(text: String(decoding: pending, as: UTF8.self), origin: origin)
        origin = origin.advanced(over: pending)
        pending.removeAll(keepingCapacity: true)
        return piece
    }

    private func fault(_ message: String, at offset: Int) -> Failure {
        let position = origin.advanced(over: pending[..<offset])
        return StatementError(message, at: position, in: pending, from: origin).failure
    }
}

func statementTooLong(at position: SourcePosition) -> Failure {
    Failure(
        .tooLong,
        "line \(position.line): a statement is longer than 1 MiB; end it by ; or split it")
}

/// Whether bytes are text as statements may hold it.
enum TextCheck: Equatable {
    case whole
    /// The last character has begun behind `prefix` bytes; more bytes may complete it.
    case unfinished(prefix: Int)
    case fault(String, offset: Int)

    init(_ bytes: ArraySlice<UInt8>) {
        if let index = bytes.firstIndex(of: 0) {
            self = .fault("unexpected NUL byte", offset: index - bytes.startIndex)
            return
        }
        if isValid(bytes) {
            self = .whole
            return
        }
        // A lead byte and too few continuation bytes at the end, if any could complete them.
        if let lead = bytes.suffix(3).lastIndex(where: { $0 & 0xC0 == 0xC0 }) {
            let length = bytes[lead] >= 0xF0 ? 4 : bytes[lead] >= 0xE0 ? 3 : 2
            let missing = length - (bytes.endIndex - lead)
            let completions = [0x80, 0xBF].map {
                Array(repeating: UInt8($0), count: max(0, missing))
            }
            if missing > 0, completions.contains(where: { isValid(bytes + $0) }) {
                self = .unfinished(prefix: lead - bytes.startIndex)
                return
            }
        }
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        var count = 0
        while case .scalarValue(let scalar) = decoder.decode(&iterator) {
            count += UTF8.width(scalar)
        }
        self = .fault("the text is not valid UTF-8", offset: min(count, bytes.count))
    }
}

private func isValid(_ bytes: ArraySlice<UInt8>) -> Bool {
    String(validating: bytes, as: UTF8.self) != nil
}
