import Bytes

/// A text that was refused or discarded, for `errors`.
package struct Refusal: Sendable, Equatable {
    package let text: String
    package let failure: Failure
    /// The line with a caret under the fault; nil when the text itself is not at fault, or when
    /// `validate` refused it and knows better.
    package let snippet: String?
}

/// The text side of one open handle of a control file: what was written so far, which statements
/// start when, what is refused where. Pure; the caller serialises the calls of one handle.
///
/// A statement ends at `;` and starts at that write. Text that ends in a newline and is complete
/// without `;` is validated at that write, where an errno is seen by shells, and starts at the next
/// `;`, at the opener's FLUSH, or at RELEASE: the next write may extend it (bash writes an `echo` of
/// several lines line by line). Other text is decided at FLUSH and RELEASE.
///
/// What a call hands out to start has passed `validate` within that call, all of it together. The
/// statements of one write are refused together; a refused write drops all text that has not
/// started, so that nothing starts of which a later line was refused, and the next write is fresh.
package struct ControlText: Sendable {
    /// Bytes of text that has neither started nor been refused, and of one write: as many as the
    /// kernel sends at once.
    package static let limit = 1 << 20

    /// Beyond this size, text with open brackets or quotes is not parsed at every line again, or
    /// a long statement in many small writes would cost quadratic time.
    private static let eagerLimit = 16 << 10

    /// Why the last call threw; nil after one that didn't, and after an incomplete FLUSH, whose
    /// text is kept: RELEASE will report it if nothing completes it.
    package private(set) var refusal: Refusal?

    private let scope: CollectionScope?
    private var pending: [UInt8] = []
    /// Bytes of `pending` known to be whole characters.
    private var checkedCount = 0
    private var scanner = StatementScanner()
    private var hasNewText = false
    /// A piece is as much shorter as the writer's memory begins behind a page's begin.
    private static let pageBytes = 4096
    /// The last write was about as long as a write can be: probably the kernel cut a longer one in pieces,
    /// of which a later one's error reaches nobody, because the first were taken.
    private var isPiece = false
    /// Such an error and the bytes refused: for the next write, if that is the same rest again, or
    /// for the FLUSH.
    private var unheard: (failure: Failure, bytes: [UInt8])?

    package init(scope: CollectionScope?) { self.scope = scope }

    /// Takes all of `bytes` and returns what starts now, or throws and drops all that is pending.
    package mutating func write(
        _ bytes: [UInt8], validate: ([Statement]) throws(Failure) -> Void
    ) throws(Failure) -> [Statement] {
        refusal = nil
        if bytes.isEmpty { return [] }
        if let unheard, unheard.bytes == bytes { try raiseUnheard() }
        unheard = nil
        let wasPiece = isPiece
        isPiece = bytes.count > Self.limit - Self.pageBytes
        do {
            return try accept(bytes, validate)
        } catch {
            let failure = drop(because: error)
            if wasPiece { unheard = (failure, bytes) }
            throw failure
        }
    }

    private mutating func raiseUnheard() throws(Failure) {
        guard let failure = unheard?.failure else { return }
        unheard = nil
        isPiece = false
        throw failure
    }

    /// One FLUSH, of which every `close` of a descriptor sends one. Only the opener's decides; one
    /// of another process (a child that inherited the descriptor) does nothing.
    package mutating func flush(
        byOpener: Bool, validate: ([Statement]) throws(Failure) -> Void
    ) throws(Failure) -> [Statement] {
        refusal = nil
        guard byOpener else { return [] }
        try raiseUnheard()
        isPiece = false
        guard hasNewText else { return [] }
        hasNewText = false
        do {
            return try end(validate)
        } catch {
            if error.isIncomplete { throw error.failure }
            throw drop(because: error)
        }
    }

    /// The end of the handle: starts what is complete, gives back what is not or is refused.
    package mutating func release(
        validate: ([Statement]) throws(Failure) -> Void
    ) -> (start: [Statement], discarded: Refusal?) {
        refusal = nil
        do {
            return (try end(validate), nil)
        } catch {
            _ = drop(because: error)
            return ([], refusal)
        }
    }

    private struct Fault: Error {
        var failure: Failure
        var snippet: String?
        /// More text could make it right.
        var isIncomplete = false

        init(_ failure: Failure) {
            self.failure = failure
            snippet = failure.snippet
        }

        init(_ error: StatementError) {
            failure = error.failure
            snippet = error.snippet
            isIncomplete = error.isIncomplete
        }
    }

    private mutating func accept(
        _ bytes: [UInt8], _ validate: ([Statement]) throws(Failure) -> Void
    ) throws(Fault) -> [Statement] {
        if bytes.count > Self.limit {
            throw Fault(statementTooLong(at: SourcePosition.start.advanced(over: pending)))
        }
        var endOffset = 0
        for (index, byte) in bytes.enumerated() where scanner.push(byte) {
            endOffset = pending.count + index + 1
        }
        pending += bytes
        try checkNewText()
        var ended: [Statement] = []
        var middle = SourcePosition.start
        if endOffset > 0 {
            let head = Array(pending[..<endOffset])
            middle = middle.advanced(over: head)
            ended = try parsed(head, from: .start)
        }
        if pending.count - endOffset > Self.limit { throw Fault(statementTooLong(at: middle)) }
        let (begun, isBlank) = try begunStatements(behind: endOffset, at: middle)
        try admit(ended + begun, validate)
        pending.removeFirst(isBlank ? pending.count : endOffset)
        checkedCount = max(0, min(checkedCount - endOffset, pending.count))
        hasNewText = true
        return ended
    }

    /// What the text behind the last `;` says, if it ends in a newline and is complete; whether it
    /// is blank.
    private func begunStatements(
        behind offset: Int, at position: SourcePosition
    ) throws(Fault) -> (statements: [Statement], isBlank: Bool) {
        guard pending.last == UInt8(ascii: "\n") || offset == pending.count,
            pending.count - offset <= Self.eagerLimit || !scanner.isOpen
        else { return ([], false) }
        do {
            let statements = try parsed(Array(pending[offset...]), from: position)
            return (statements, statements.isEmpty)
        } catch {
            guard error.isIncomplete else { throw error }
            return ([], false)
        }
    }

    /// Refuses NUL and what isn't UTF-8; a character may be cut in two by two writes.
    private mutating func checkNewText() throws(Fault) {
        switch TextCheck(pending[checkedCount...]) {
        case .whole: checkedCount = pending.count
        case .unfinished(let prefix): checkedCount += prefix
        case .fault(let message, let offset):
            let position = SourcePosition.start.advanced(over: pending[..<(checkedCount + offset)])
            throw Fault(StatementError(message, at: position, in: pending, from: .start))
        }
    }

    /// Decides all pending text as if nothing could follow.
    private mutating func end(
        _ validate: ([Statement]) throws(Failure) -> Void
    ) throws(Fault) -> [Statement] {
        if checkedCount < pending.count {
            let position = SourcePosition.start.advanced(over: pending[..<checkedCount])
            throw Fault(
                StatementError(
                    "the last character is incomplete", at: position, in: pending, from: .start,
                    isIncomplete: true))
        }
        let statements = try parsed(pending, from: .start)
        // A comment without its newline goes on in the next write.
        if statements.isEmpty { return [] }
        try admit(statements, validate)
        clear()
        return statements
    }

    private func parsed(
        _ bytes: [UInt8], from origin: SourcePosition
    ) throws(Fault) -> [Statement] {
        do {
            return try Statement.parse(bytes: bytes, scope: scope, origin: origin)
        } catch {
            throw Fault(error)
        }
    }

    private func admit(
        _ statements: [Statement], _ validate: ([Statement]) throws(Failure) -> Void
    ) throws(Fault) {
        if statements.isEmpty { return }
        do {
            try validate(statements)
        } catch {
            throw Fault(error)
        }
    }

    /// Drops all pending text and keeps it, cut at the limit, for `refusal`.
    private mutating func drop(because fault: Fault) -> Failure {
        refusal = Refusal(
            text: String(decoding: pending.prefix(Self.limit), as: UTF8.self),
            failure: fault.failure, snippet: fault.snippet)
        clear()
        return fault.failure
    }

    private mutating func clear() {
        pending = []
        checkedCount = 0
        scanner = StatementScanner()
        hasNewText = false
    }
}
