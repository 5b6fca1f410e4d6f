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
        /// The operation that failed; nil if it never came to one.
        package var operation: UInt64?
    }

    private static let limit = 200
    private static let textLimit = 4096
    private let items = Mutex<[Item]>([])
    /// Told of every addition.
    private let added: Mutex<Kept<@Sendable (Item) -> Void>>

    init() { added = Mutex(Kept { _ in }) }

    /// - Parameter added: told of every item from now on, when it is in.
    func watch(_ added: @escaping @Sendable (Item) -> Void) {
        self.added.withLock { $0 = Kept(added) }
    }

    package func add(
        _ text: String, message: String, snippet: String? = nil, collection: String? = nil,
        operation: UInt64? = nil, at time: Instant = .now
    ) {
        let text = String(decoding: text.utf8.prefix(Self.textLimit), as: UTF8.self)
        let item = Item(
            time: time, text: text, message: message, snippet: snippet, collection: collection,
            operation: operation)
        items.withLock { Self.insert(item, into: &$0) }
        added.withLock(\.self).closure(item)
    }

    /// Takes in what is known from before, and tells nobody.
    func recall(_ known: [Item]) {
        items.withLock { items in for item in known { Self.insert(item, into: &items) } }
    }

    /// What other processes did may be heard of late.
    private static func insert(_ item: Item, into items: inout [Item]) {
        let place = (items.lastIndex { $0.time <= item.time } ?? -1) + 1
        items.insert(item, at: place)
        if items.count > limit { items.removeFirst(items.count - limit) }
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
