import Bytes

/// What the kernel knows a file by in one mount. 1 is the root; the others are counted up and never
/// used twice, since the pages that the kernel keeps of a file hang on them.
package typealias NodeID = UInt64

/// What `stat` shows as a file's number: a hash of what the file *is*, the same in every mount.
package typealias Inode = UInt64

/// The process behind a request.
package struct Caller: Sendable {
    package let uid: UInt32
    package let gid: UInt32
    /// Thread id as the kernel names it; 0 when it lives in another pid namespace.
    package let pid: Int32

    package init(uid: UInt32, gid: UInt32, pid: Int32) {
        self.uid = uid
        self.gid = gid
        self.pid = pid
    }
}

/// What `stat` shows.
package struct Attributes: Sendable, Equatable {
    package enum Kind: Sendable { case directory, file, symlink }

    package var inode: Inode
    package var kind: Kind
    /// Permission bits, umask applied.
    package var permissions: UInt16
    package var uid: UInt32
    package var gid: UInt32
    package var sizeBytes: UInt64
    /// Seconds and nanoseconds since 1970; also shown as atime and ctime.
    package var modifiedSeconds: Int64
    package var modifiedNanoseconds: UInt32

    package init(
        inode: Inode, kind: Kind, permissions: UInt16, uid: UInt32, gid: UInt32, sizeBytes: UInt64,
        modifiedSeconds: Int64, modifiedNanoseconds: UInt32 = 0
    ) {
        self.inode = inode
        self.kind = kind
        self.permissions = permissions
        self.uid = uid
        self.gid = gid
        self.sizeBytes = sizeBytes
        self.modifiedSeconds = modifiedSeconds
        self.modifiedNanoseconds = modifiedNanoseconds
    }
}

/// Attributes and how long the kernel may keep name and attributes without asking again.
package struct Entry: Sendable, Equatable {
    package var node: NodeID
    package var attributes: Attributes
    /// Seconds. 0 for what can change, a day for what can't.
    package var lifetimeSeconds: Double
    /// Seconds. The same, or more for directories: who walks a path asks for every part of it.
    package var attributesLifetimeSeconds: Double

    package init(
        _ node: NodeID, _ attributes: Attributes, lifetimeSeconds: Double,
        attributesLifetimeSeconds: Double? = nil
    ) {
        self.node = node
        self.attributes = attributes
        self.lifetimeSeconds = lifetimeSeconds
        self.attributesLifetimeSeconds = attributesLifetimeSeconds ?? lifetimeSeconds
    }
}

/// A name in a listing, and what it stands for.
package struct DirectoryEntry: Sendable {
    package var name: String
    package var kind: Attributes.Kind
    package var inode: Inode
    /// The file, for who made the listing.
    package var file: (any AnyObject & Sendable)?

    package init(
        name: String, kind: Attributes.Kind, inode: Inode, file: (any AnyObject & Sendable)? = nil
    ) {
        self.name = name
        self.kind = kind
        self.inode = inode
        self.file = file
    }
}

/// An answer that is there, or that takes long to find.
package enum Answer<Value: Sendable>: Sendable {
    package typealias Reply = @Sendable (Result<Value, Errno>) -> Void

    case now(Value)
    /// Begins to look for it. The reply comes once, now or later, on any thread. Returns a ticket for
    /// `FileSystem.interrupt`, or nil if the reply was given already.
    case later(@Sendable (_ reply: @escaping Reply) -> UInt64?)

    /// The answer, waited for.
    package func get() throws(Errno) -> Value {
        switch self {
        case .now(let value): return value
        case .later(let begin):
            let answer = Monitor<Result<Value, Errno>?>(nil)
            _ = begin { result in answer.update { $0 = result } }
            return try answer.wait { $0 }.get()
        }
    }
}

/// What `open` gave.
package struct Opened: Sendable {
    package enum Cache: Sendable {
        /// Immutable data: the kernel keeps its pages over opens.
        case keep
        /// Virtual text: every read comes to us, sizes need not be known before.
        case direct
        /// As `direct`, and a read may take until an operation ends: use `readLater`.
        case blocking
        /// As `blocking`, without a position: what is read goes on where the last read ended, and a
        /// read that waits is in nobody's way who writes.
        case stream

        package var waits: Bool { self == .blocking || self == .stream }
    }

    package var handle: UInt64
    package var cache: Cache

    package init(handle: UInt64, cache: Cache) {
        self.handle = handle
        self.cache = cache
    }
}

package enum OpenMode: Sendable { case read, write, readWrite }

/// What `statfs` shows, in blocks of 4096 bytes.
package struct FileSystemStatistics: Sendable {
    package var blocks: UInt64
    package var blocksFree: UInt64
    package var blocksAvailable: UInt64
    package var files: UInt64

    package init(blocks: UInt64, blocksFree: UInt64, blocksAvailable: UInt64, files: UInt64) {
        self.blocks = blocks
        self.blocksFree = blocksFree
        self.blocksAvailable = blocksAvailable
        self.files = files
    }
}

/// A mounted tree without the kernel: `Fuse` turns requests into these calls, tests call it directly.
///
/// Every method may be called from any thread. None blocks on an operation; only `read` on data
/// does I/O. What takes long is answered later. What isn't here (create, unlink, rename, …) is refused
/// with `EROFS` by the adapter.
///
/// The kernel counts: each entry that it got by a look-up is one more reason to keep the node, until
/// it is told to `forget` them.
package protocol FileSystem: AnyObject, Sendable {
    /// Counts a look-up of the entry's node.
    func lookup(_ name: String, in parent: NodeID) throws(Errno) -> Answer<Entry>
    /// As looking up the name of an entry of a listing. Nil if finding its attributes takes long: it is
    /// listed without them then. Throws if it has vanished meanwhile.
    func lookup(_ entry: DirectoryEntry, in parent: NodeID) throws(Errno) -> Entry?
    /// So many look-ups less of a node.
    func forget(_ node: NodeID, lookups: UInt64)

    func entry(of node: NodeID) throws(Errno) -> Answer<Entry>
    /// Accepted and ignored on control files, else `EROFS`.
    func setAttributes(of node: NodeID) throws(Errno) -> Entry
    func readLink(_ node: NodeID) throws(Errno) -> String
    /// What is told of a node besides its attributes, by names that begin with `user.`.
    func extendedAttributes(of node: NodeID) throws(Errno) -> [(name: String, value: String)]

    /// The whole listing as of now, without `.` and `..`; the adapter pages through it. Counts nothing.
    func list(_ node: NodeID) throws(Errno) -> [DirectoryEntry]

    func open(_ node: NodeID, mode: OpenMode, caller: Caller) throws(Errno) -> Answer<Opened>
    /// Appends at most `count` bytes at `offset` to `output`; fewer only at the end of the file.
    func read(_ handle: UInt64, at offset: UInt64, count: Int, into output: ByteBuffer)
        throws(Errno)
    /// For an `Opened.Cache` that `waits`: answers once, now or later, on any thread. Returns a ticket for
    /// `interrupt`, or nil if the answer was given already.
    func readLater(
        _ handle: UInt64, at offset: UInt64, count: Int,
        reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> UInt64?
    /// Answers what is pending with `EINTR`; nothing happens if it was answered already.
    func interrupt(_ ticket: UInt64)
    /// Takes all of `bytes` or throws.
    func write(_ handle: UInt64, bytes: [UInt8], caller: Caller) throws(Errno)
    /// One per `close` of any descriptor of the handle, by whichever process.
    func flush(_ handle: UInt64, caller: Caller) throws(Errno)
    func release(_ handle: UInt64)

    func statistics() -> FileSystemStatistics
    /// Where the adapter notes how long answers took.
    var requests: RequestTimes { get }
}
