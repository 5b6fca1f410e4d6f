import Bytes

/// Something that was refused, or that somebody should know, and that no operation in the journal tells.
package struct RememberedError: Sendable, Equatable {
    /// Microseconds since 1970.
    package var time: Int64
    /// The statement, or what it is about.
    package var text: String
    package var message: String
    /// The line at fault with a caret under it.
    package var snippet: String?
    package var collection: String?

    package init(
        time: Int64, text: String, message: String, snippet: String?, collection: String?
    ) {
        self.time = time
        self.text = text
        self.message = message
        self.snippet = snippet
        self.collection = collection
    }
}

/// What of `errors` outlives a mount, in the file `errors` of the repository. It may be lost.
extension Repository {
    static let errorsName = "errors"
    private static let errorsMax = 100
    private static let errorsLimitBytes = 1 << 20
    private static let errorTextMax = 1024

    /// The oldest first. None if they can't be read.
    package func rememberedErrors() -> [RememberedError] {
        let found: RememberedErrors?? = try? storage.record(
            Self.errorsName, limit: Self.errorsLimitBytes)
        return (found ?? nil)?.items ?? []
    }

    /// Adds one to those that all processes have remembered. Of the same again only the newest stays.
    package func remember(_ error: RememberedError) throws {
        try checkPlace()
        var error = error
        error.text = String(decoding: error.text.utf8.prefix(Self.errorTextMax), as: UTF8.self)
        error.message = String(
            decoding: error.message.utf8.prefix(Self.errorTextMax), as: UTF8.self)
        error.snippet = error.snippet.map {
            String(decoding: $0.utf8.prefix(Self.errorTextMax), as: UTF8.self)
        }
        let others = rememberedErrors().filter {
            ($0.text, $0.message) != (error.text, error.message)
        }
        let items = (others + [error]).sorted { $0.time < $1.time }.suffix(Self.errorsMax)
        try storage.replace(Self.errorsName, with: RememberedErrors(items: Array(items)))
    }
}

private struct RememberedErrors: JSONValue {
    var items: [RememberedError]

    init(items: [RememberedError]) { self.items = items }

    init(json: inout JSONReader) throws {
        let member = try json.members()
        items = try member("errors")
    }

    func write(json: inout JSONWriter) {
        json.object { json in json.member("errors", items) }
    }
}

extension RememberedError: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        try self.init(
            time: member("time"), text: member("text"), message: member("message"),
            snippet: member.optional("snippet"), collection: member.optional("collection"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("time", time)
            json.member("text", text)
            json.member("message", message)
            json.member("snippet", snippet)
            json.member("collection", collection)
        }
    }
}
