import Bytes

/// A file's number in one mount. 1 is the root; numbers hash what the file *is*, so that they are
/// the same in every mount and a re-used name never meets old cached pages.
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
    package var attributes: Attributes
    /// Seconds. 0 for what can change, a day for what can't.
    package var lifetimeSeconds: Double
    /// Seconds. The same, or more for directories: who walks a path asks for every part of it.
    package var attributesLifetimeSeconds: Double

    package init(
        _ attributes: Attributes, lifetimeSeconds: Double, attributesLifetimeSeconds: Double? = nil
    ) {
        self.attributes = attributes
        self.lifetimeSeconds = lifetimeSeconds
        self.attributesLifetimeSeconds = attributesLifetimeSeconds ?? lifetimeSeconds
    }
}

package struct DirectoryEntry: Sendable {
    package var name: String
    package var entry: Entry

    package init(name: String, entry: Entry) {
        self.name = name
        self.entry = entry
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
/// does I/O. What isn't here (create, unlink, rename, …) is refused with `EROFS` by the adapter.
package protocol FileSystem: AnyObject, Sendable {
    func lookup(_ name: String, in parent: Inode) throws(Errno) -> Entry
    func entry(of inode: Inode) throws(Errno) -> Entry
    /// Accepted and ignored on control files, else `EROFS`.
    func setAttributes(of inode: Inode) throws(Errno) -> Entry
    func readLink(_ inode: Inode) throws(Errno) -> String

    /// The whole listing as of now, without `.` and `..`; the adapter pages through it.
    func list(_ inode: Inode) throws(Errno) -> [DirectoryEntry]

    func open(_ inode: Inode, mode: OpenMode, caller: Caller) throws(Errno) -> Opened
    /// Appends at most `count` bytes at `offset` to `output`; fewer only at the end of the file.
    func read(_ handle: UInt64, at offset: UInt64, count: Int, into output: ByteBuffer)
        throws(Errno)
    /// For `Opened.Cache.blocking`: answers once, now or later, on any thread. Returns a ticket for
    /// `interrupt`, or nil if the answer was given already.
    func readLater(
        _ handle: UInt64, at offset: UInt64, count: Int,
        reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> UInt64?
    /// Answers a pending `readLater` with `EINTR`; nothing happens if it was answered already.
    func interrupt(_ ticket: UInt64)
    /// Takes all of `bytes` or throws.
    func write(_ handle: UInt64, bytes: [UInt8], caller: Caller) throws(Errno)
    /// One per `close` of any descriptor of the handle, by whichever process.
    func flush(_ handle: UInt64, caller: Caller) throws(Errno)
    func release(_ handle: UInt64)

    func statistics() -> FileSystemStatistics
}
