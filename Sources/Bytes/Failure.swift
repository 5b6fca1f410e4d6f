/// Why something could not be done: a category that decides the errno and the exit status, and one
/// line for the user that says what failed, to what, and what to do next.
///
/// One error type serves the whole product: every room adds its own words, and only the edges
/// (the mount, the command line) look at `code`.
package struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable, Codable {
        /// Syntax or a value that can't be meant. `EINVAL`
        case invalid
        /// No such collection, point, table or file. `ENOENT`
        case notFound
        /// The uid or name is taken, or a target is already there. `EEXIST`
        case exists
        /// Another process holds it. `EBUSY`
        case busy
        /// Not the owner, or the source refuses. `EACCES`
        case denied
        /// Not enabled, not possible here, or not built yet. `EOPNOTSUPP`
        case unsupported
        /// An incremental without a full. `ENODATA`
        case noData
        /// The queue is full: try again later. `EAGAIN`
        case queueFull
        /// The source can't be reached. `EHOSTUNREACH`
        case unreachable
        /// The source didn't answer in time. `ETIMEDOUT`
        case timedOut
        /// No room on the disk. `ENOSPC`
        case noSpace
        /// The mount is read-only. `EROFS`
        case readOnly
        /// Text beyond the limit of a control file. `EMSGSIZE`
        case tooLong
        /// Stored data is damaged. `EIO`
        case corrupt
        /// The point was dropped while it was read. `ESTALE`
        case stale
        /// Stopped on request. `EINTR`
        case cancelled
        /// The operating system failed us, or our own mistake. `EIO`
        case system
    }

    package let code: Code
    package let message: String
    /// The line at fault and a caret under it, if a text is to blame.
    package let snippet: String?

    package init(_ code: Code, _ message: String, snippet: String? = nil) {
        self.code = code
        self.message = message
        self.snippet = snippet
    }

    package var description: String { message }
}
