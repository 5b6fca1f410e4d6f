import Bytes
import Engine
import Glibc

/// Something in the tree: a directory, a file or a symlink. Made whenever it is looked up; nothing of
/// it changes but what it answers.
///
/// A new view is one file beside this one, and a line in the directory that lists it.
protocol TreeNode: AnyObject, Sendable {
    var identity: FileIdentity { get }
    var kind: Attributes.Kind { get }

    /// What `stat` shows of it now. Throws `ENOENT` or `ESTALE` once what it shows is gone.
    func appearance() throws(Errno) -> Appearance

    /// Whether `prepare` has to run before `appearance` can answer, or `open`.
    var needsPreparation: Bool { get }
    var needsPreparationToOpen: Bool { get }
    /// Finds out what takes long. `checkpoint` throws when nobody waits for it any more.
    func prepare(_ checkpoint: @escaping @Sendable () throws -> Void) throws

    func child(_ name: String) throws(Errno) -> any TreeNode
    func children() throws(Errno) -> [(name: String, node: any TreeNode)]

    func target() throws(Errno) -> String

    /// What `-o xattr` shows of it.
    func extendedAttributes() throws(Errno) -> [(name: String, value: String)]

    /// Whether it may be written to; attributes that somebody sets are ignored then.
    var isWritable: Bool { get }
    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache)
    /// For those that show writers something else than readers.
    func open(
        _ mode: OpenMode, _ caller: Caller
    ) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache)
}

protocol TreeDirectory: TreeNode {}

extension TreeDirectory {
    var kind: Attributes.Kind { .directory }
    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        throw .isDirectory
    }
}

protocol TreeFile: TreeNode {}

extension TreeFile {
    var kind: Attributes.Kind { .file }
}

protocol TreeLink: TreeNode {}

extension TreeLink {
    var kind: Attributes.Kind { .symlink }
    func open(_ caller: Caller) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        throw .invalid
    }
}

/// What a node isn't.
extension TreeNode {
    var needsPreparation: Bool { false }
    var needsPreparationToOpen: Bool { needsPreparation }
    func prepare(_ checkpoint: @escaping @Sendable () throws -> Void) throws {}
    func child(_ name: String) throws(Errno) -> any TreeNode { throw .notDirectory }
    func children() throws(Errno) -> [(name: String, node: any TreeNode)] { throw .notDirectory }
    func target() throws(Errno) -> String { throw .invalid }
    func extendedAttributes() throws(Errno) -> [(name: String, value: String)] { [] }
    var isWritable: Bool { false }
    func open(
        _ mode: OpenMode, _ caller: Caller
    ) throws(Errno) -> (file: any OpenFile, cache: Opened.Cache) {
        try open(caller)
    }
}

/// What is open of a file. Used by many threads.
protocol OpenFile: Sendable {
    /// Appends at most `count` bytes at `offset`; fewer only at the end.
    func read(at offset: UInt64, count: Int, into output: ByteBuffer) throws(Errno)
    /// Replies once, now or later, on any thread. Returns what interrupts it, or nil if the reply was
    /// given already.
    func readLater(
        at offset: UInt64, count: Int, reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> (@Sendable () -> Void)?
    func write(_ bytes: [UInt8], _ caller: Caller) throws(Errno)
    func flush(_ caller: Caller) throws(Errno)
    func release()
}

extension OpenFile {
    func readLater(
        at offset: UInt64, count: Int, reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> (@Sendable () -> Void)? {
        reply(.failure(.invalid))
        return nil
    }
    func write(_ bytes: [UInt8], _ caller: Caller) throws(Errno) { throw .badHandle }
    func flush(_ caller: Caller) throws(Errno) {}
    func release() {}
}

/// What `stat` shows of a node, but for what the mount decides: its number and its owner.
struct Appearance {
    var permissions: UInt16
    var bytes: UInt64
    var modified: Instant
    /// Seconds for which the kernel may keep the name.
    var lifetimeSeconds: Double

    static let dayInSeconds: Double = 86_400
    /// How long the kernel may keep a directory's name without asking again: it asks for each part of
    /// each path otherwise. Together with the time between refreshes less than the second after which
    /// changes show everywhere.
    static let directorySeconds = 0.4

    static func directory(modified: Instant, isImmutable: Bool = false) -> Appearance {
        Appearance(
            permissions: 0o755, bytes: 4096, modified: modified,
            lifetimeSeconds: isImmutable ? dayInSeconds : directorySeconds)
    }

    static func file(
        bytes: UInt64, modified: Instant, permissions: UInt16 = 0o444, isImmutable: Bool = false
    ) -> Appearance {
        Appearance(
            permissions: permissions, bytes: bytes, modified: modified,
            lifetimeSeconds: isImmutable ? dayInSeconds : 0)
    }

    static func link(to target: String, modified: Instant) -> Appearance {
        Appearance(
            permissions: 0o777, bytes: UInt64(target.utf8.count), modified: modified,
            lifetimeSeconds: 0)
    }
}
