import Bytes
import Engine

/// A file whose text is made when it is looked at.
final class TextFile: TreeFile {
    typealias Text = @Sendable () throws(Errno) -> [UInt8]
    typealias Time = @Sendable () throws(Errno) -> Instant

    let identity: FileIdentity
    private let tree: TreeContext
    private let isImmutable: Bool
    private let modified: Time
    private let make: Text
    private let isFresh: Bool

    /// - Parameters:
    ///   - isImmutable: whether the text of this very file never changes: the kernel keeps it.
    ///   - isFresh: whether it is looked for what other processes did whenever it is opened.
    init(
        _ tree: TreeContext, _ identity: FileIdentity, isImmutable: Bool = false,
        isFresh: Bool = false, modified: @escaping Time, _ make: @escaping Text
    ) {
        self.isFresh = isFresh
        self.tree = tree
        self.identity = identity
        self.isImmutable = isImmutable
        self.modified = modified
        self.make = make
    }

    private func text() throws(Errno) -> [UInt8] { try tree.text(identity, make) }

    func appearance() throws(Errno) -> Appearance {
        .file(
            bytes: isImmutable ? try knownSize() : UInt64(try text().count),
            modified: try modified(), isImmutable: isImmutable)
    }

    /// A listing asks for the sizes of all files, of which mostly none is read.
    private func knownSize() throws(Errno) -> UInt64 {
        do {
            return try tree.engine.cache.value(identity.cacheKey) {
                (TextSize(bytes: UInt64(try text().count)), bytes: 64)
            }.bytes
        } catch {
            throw error as? Errno ?? .io
        }
    }

    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        // What can't be read now is tried again.
        if isFresh { try? tree.engine.refresh() }
        return (OpenText(try text()), isImmutable ? .keep : .direct)
    }
}

private final class TextSize: Sendable {
    let bytes: UInt64

    init(bytes: UInt64) { self.bytes = bytes }
}

/// Text as it was at `open`.
struct OpenText: OpenFile {
    private let text: [UInt8]

    init(_ text: [UInt8]) { self.text = text }

    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno) {
        guard offset < UInt64(text.count) else { return }
        output.append(Array(text[Int(offset)...].prefix(count)))
    }
}

/// A symlink whose target may change.
final class Link: TreeLink {
    let identity: FileIdentity
    private let modified: TextFile.Time
    private let find: @Sendable () throws(Errno) -> String

    /// - Parameter find: the target; throws `ENOENT` while there is none.
    init(
        _ identity: FileIdentity, modified: @escaping TextFile.Time,
        _ find: @escaping @Sendable () throws(Errno) -> String
    ) {
        self.identity = identity
        self.modified = modified
        self.find = find
    }

    func target() throws(Errno) -> String { try find() }

    func appearance() throws(Errno) -> Appearance {
        .link(to: try find(), modified: try modified())
    }
}
