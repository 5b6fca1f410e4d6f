import Bytes
import Synchronization

/// What was refused or failed, newest last: the content of `errors`.
package final class ErrorLog: Sendable {
    package struct Item: Sendable {
        package var time: Instant
        /// The statement, or the text that was none.
        package var text: String
        package var message: String
        /// The line at fault with a caret under it.
        package var snippet: String?
        package var collection: String?
    }

    private static let limit = 200
    private static let textLimit = 4096
    private let items = Mutex<[Item]>([])
    /// Told of every addition.
    private let changed: @Sendable () -> Void

    init(changed: @escaping @Sendable () -> Void) { self.changed = changed }

    package func add(
        _ text: String, message: String, snippet: String? = nil, collection: String? = nil,
        at time: Instant = .now
    ) {
        let text = String(decoding: text.utf8.prefix(Self.textLimit), as: UTF8.self)
        items.withLock {
            $0.append(
                Item(
                    time: time, text: text, message: message, snippet: snippet,
                    collection: collection))
            if $0.count > Self.limit { $0.removeFirst($0.count - Self.limit) }
        }
        changed()
    }

    /// All of them, or those of one collection.
    package func newest(collection: String? = nil) -> [Item] {
        items.withLock(\.self).filter { collection == nil || $0.collection == collection }
    }
}

extension ErrorLog.Item {
    /// Several lines: time and message, then the text, or the line at fault and a caret.
    package var lines: String {
        let body = (snippet ?? text).split(separator: "\n", omittingEmptySubsequences: false)
        let indented = body.map { "    \(oneLine(String($0)))" }.joined(separator: "\n")
        return "\(time) \(oneLine(message))\n\(indented)\n"
    }
}
