import Bytes
import CLinux
import Glibc

/// The file system calls that a repository in a directory makes, one method a call: the seam where
/// tests count, refuse and forget them. Nothing here retries, buffers or decides.
package protocol SystemCalls: Sendable {
    func open(_ path: String, _ access: FileAccess) throws(Errno) -> Int32
    func close(_ descriptor: Int32)
    func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int
    /// Asks the kernel to have these bytes at hand soon. It may decline.
    func willNeed(_ descriptor: Int32, at offset: UInt64, count: Int)
    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int
    func sync(_ descriptor: Int32) throws(Errno)
    /// Whether `syncAll` is to be had and tells of everything that failed since the directory was
    /// opened.
    func canSyncAll(_ descriptor: Int32) -> Bool
    /// Makes all durable that was written to the file system that the open directory lies on.
    func syncAll(_ descriptor: Int32) throws(Errno)
    func size(_ descriptor: Int32) throws(Errno) -> UInt64
    /// Gives the file another name that must not exist.
    func link(_ path: String, as name: String) throws(Errno)
    /// Moves the file to a name, in place of the file that has it.
    func rename(_ path: String, to name: String) throws(Errno)
    /// Moves the file to a name that must not exist.
    func renameNew(_ path: String, to name: String) throws(Errno)
    func unlink(_ path: String) throws(Errno)
    func makeDirectory(_ path: String) throws(Errno)
    /// Of a directory with nothing in it.
    func removeDirectory(_ path: String) throws(Errno)
    /// Names in a directory without `.` and `..`, in no order.
    func list(_ path: String) throws(Errno) -> [String]
    func status(_ path: String) throws(Errno) -> FileStatus
    /// Takes the open file's exclusive lock; `EAGAIN` when another open file has it.
    func lock(_ descriptor: Int32) throws(Errno)
    /// Whether another open file has the exclusive lock.
    func isLocked(_ descriptor: Int32) throws(Errno) -> Bool
    /// The open file's inode number.
    func number(_ descriptor: Int32) throws(Errno) -> UInt64
    /// Gives the lock back. Closing would do, but for a child that is just being started: until it
    /// runs its program, it has a copy of the open file and of its lock.
    func unlock(_ descriptor: Int32)
    func space(_ path: String) throws(Errno) -> Space
    /// Makes a file that must not exist, of so many bytes, with its blocks allocated; all or nothing.
    func allocate(_ path: String, bytes: UInt64) throws(Errno)
    /// Cuts such a file off.
    func shrink(_ path: String, to bytes: UInt64) throws(Errno)
}

extension SystemCalls {
    package func willNeed(_ descriptor: Int32, at offset: UInt64, count: Int) {}

    package func unlock(_ descriptor: Int32) {}
}

package enum FileAccess: Sendable {
    /// Reading a file that exists.
    case read
    /// Writing a file that doesn't exist yet.
    case create
    /// A directory, to sync it.
    case directory
    /// A file to hold a lock on, created when absent; never written.
    case lock
}

package struct FileStatus: Sendable {
    package enum Kind: Sendable { case file, directory, other }

    package var kind: Kind
    package var sizeBytes: UInt64
    /// Seconds since 1970.
    package var modified: Int64
    /// The inode's.
    package var number: UInt64

    package init(kind: Kind = .file, sizeBytes: UInt64, modified: Int64, number: UInt64) {
        self.kind = kind
        self.sizeBytes = sizeBytes
        self.modified = modified
        self.number = number
    }
}

/// What `statfs` says of the volume that a repository lies on.
package struct Space: Sendable, Equatable {
    package var blockBytes: UInt64
    package var blocks: UInt64
    package var blocksFree: UInt64
    /// Free for users other than root.
    package var blocksAvailable: UInt64
    package var files: UInt64

    package init(
        blockBytes: UInt64, blocks: UInt64, blocksFree: UInt64, blocksAvailable: UInt64,
        files: UInt64
    ) {
        self.blockBytes = blockBytes
        self.blocks = blocks
        self.blocksFree = blocksFree
        self.blocksAvailable = blocksAvailable
        self.files = files
    }
}

/// The operating system itself.
package struct Kernel: SystemCalls {
    private let folders: Folders
    private let owner: FileOwner?

    /// - Parameters:
    ///   - location: below it no symbolic link is followed, and what is neither a file nor a directory
    ///     is refused (`Errno.odd`). What root makes there belongs to the owner of its folder.
    ///   - owner: whose the location becomes, if root makes it.
    package init(below location: String? = nil, owner: FileOwner? = nil) {
        folders = Folders(below: location)
        self.owner = owner
    }

    private func newOwner(in place: Folders.Place) -> FileOwner? {
        if !FileOwner.isRoot { return nil }
        return place.isBelow ? FileOwner(of: place.folder) : owner
    }

    /// Files are opened so that nothing else is waited for that may be in their place.
    package func open(_ path: String, _ access: FileAccess) throws(Errno) -> Int32 {
        let flags =
            switch access {
            case .read: O_RDONLY
            case .create: O_WRONLY | O_CREAT | O_EXCL
            case .directory: O_RDONLY | O_DIRECTORY
            case .lock: O_RDWR | O_CREAT
            }
        return try folders.reach(path) { (place) throws(Errno) in
            let descriptor = openat(
                place.folder, place.name,
                flags | place.openFlags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0o666)
            guard descriptor >= 0 else { throw place.refused(.current) }
            if access == .directory { return descriptor }
            var status = stat()
            let isKnown = fstat(descriptor, &status) == 0
            let error = Errno.current
            if isKnown, Self.kind(status) == .file {
                if access != .read { newOwner(in: place)?.take(descriptor) }
                return descriptor
            }
            close(descriptor)
            throw isKnown ? .odd : error
        }
    }

    private static func kind(_ status: stat) -> FileStatus.Kind {
        switch status.st_mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        default: .other
        }
    }

    package func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    package func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        guard let offset = off_t(exactly: offset) else { throw Errno(rawValue: EINVAL) }
        return try checked(pread(descriptor, buffer.baseAddress, buffer.count, offset))
    }

    package func willNeed(_ descriptor: Int32, at offset: UInt64, count: Int) {
        guard let offset = off_t(exactly: offset) else { return }
        _ = posix_fadvise(descriptor, offset, off_t(count), POSIX_FADV_WILLNEED)
    }

    package func write(
        _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer
    ) throws(Errno) -> Int {
        try checked(Glibc.write(descriptor, bytes.baseAddress, bytes.count))
    }

    package func sync(_ descriptor: Int32) throws(Errno) { try checked(fsync(descriptor)) }

    package func canSyncAll(_ descriptor: Int32) -> Bool {
        guard Self.reportsSyncFailures else { return false }
        var status = statfs()
        return fstatfs(descriptor, &status) == 0
            && Self.localFileSystems.contains(UInt32(truncatingIfNeeded: status.f_type))
    }

    package func syncAll(_ descriptor: Int32) throws(Errno) { try checked(syncfs(descriptor)) }

    /// ext4, XFS, Btrfs, F2FS, tmpfs, as linux/magic.h has them: to others, those in layers and those of a
    /// network among them, `syncfs` may come and say nothing.
    private static let localFileSystems: Set<UInt32> = [
        0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994,
    ]

    /// From Linux 5.8 on `syncfs` reports what couldn't be written.
    private static let reportsSyncFailures: Bool = {
        var name = utsname()
        guard uname(&name) == 0 else { return false }
        let release = withUnsafeBytes(of: &name.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let numbers = release.split(separator: ".").prefix(2).compactMap { Int($0) }
        return numbers.count == 2 && (numbers[0], numbers[1]) >= (5, 8)
    }()

    package func size(_ descriptor: Int32) throws(Errno) -> UInt64 {
        var status = stat()
        try checked(fstat(descriptor, &status))
        return UInt64(status.st_size)
    }

    package func link(_ path: String, as name: String) throws(Errno) {
        try folders.reach(path) { (old) throws(Errno) in
            try folders.reach(name) { (new) throws(Errno) in
                try checked(linkat(old.folder, old.name, new.folder, new.name, 0))
            }
        }
    }

    package func rename(_ path: String, to name: String) throws(Errno) {
        try folders.reach(path) { (old) throws(Errno) in
            try folders.reach(name) { (new) throws(Errno) in
                try checked(renameat(old.folder, old.name, new.folder, new.name))
            }
        }
    }

    package func renameNew(_ path: String, to name: String) throws(Errno) {
        guard let call = Self.renameat2 else { throw Errno(rawValue: ENOSYS) }
        try folders.reach(path) { (old) throws(Errno) in
            try folders.reach(name) { (new) throws(Errno) in
                try checked(
                    PathText.withCString(old.name) { oldName in
                        PathText.withCString(new.name) {
                            call(old.folder, oldName, new.folder, $0, Self.renameNoReplace)
                        }
                    })
            }
        }
    }

    package func unlink(_ path: String) throws(Errno) {
        try folders.reach(path) { (place) throws(Errno) in
            // What isn't a file was put there by somebody else.
            if try status(place).kind != .file { throw .odd }
            try checked(unlinkat(place.folder, place.name, 0))
        }
    }

    package func makeDirectory(_ path: String) throws(Errno) {
        try folders.reach(path) { (place) throws(Errno) in
            try checked(mkdirat(place.folder, place.name, 0o777))
            guard let owner = newOwner(in: place) else { return }
            let made = openat(
                place.folder, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard made >= 0 else { return }
            owner.take(made)
            close(made)
        }
    }

    package func removeDirectory(_ path: String) throws(Errno) {
        try folders.reach(path) { (place) throws(Errno) in
            try checked(unlinkat(place.folder, place.name, AT_REMOVEDIR))
        }
    }

    package func list(_ path: String) throws(Errno) -> [String] {
        let descriptor = try open(path, .directory)
        guard let directory = fdopendir(descriptor) else {
            let error = Errno.current
            close(descriptor)
            throw error
        }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else {
                if errno != 0 { throw .current }
                return names
            }
            let name = PathText.name(entry)
            if name != ".", name != ".." { names.append(name) }
        }
    }

    package func status(_ path: String) throws(Errno) -> FileStatus {
        try folders.reach(path) { (place) throws(Errno) in try status(place) }
    }

    private func status(_ place: Folders.Place) throws(Errno) -> FileStatus {
        var status = stat()
        try checked(fstatat(place.folder, place.name, &status, place.statusFlags))
        return FileStatus(
            kind: Self.kind(status), sizeBytes: UInt64(status.st_size),
            modified: Int64(status.st_mtim.tv_sec), number: UInt64(status.st_ino))
    }

    package func lock(_ descriptor: Int32) throws(Errno) {
        try checked(setLock(descriptor, F_WRLCK))
    }

    package func isLocked(_ descriptor: Int32) throws(Errno) -> Bool {
        var range = Self.range(F_WRLCK)
        try checked(fcntl(descriptor, Self.getOpenFileLock, &range))
        return range.l_type != Int16(F_UNLCK)
    }

    package func number(_ descriptor: Int32) throws(Errno) -> UInt64 {
        var status = stat()
        try checked(fstat(descriptor, &status))
        return UInt64(status.st_ino)
    }

    package func unlock(_ descriptor: Int32) { _ = setLock(descriptor, F_UNLCK) }

    private func setLock(_ descriptor: Int32, _ type: Int32) -> Int32 {
        var range = Self.range(type)
        return fcntl(descriptor, Self.setOpenFileLock, &range)
    }

    /// All of a file.
    private static func range(_ type: Int32) -> flock {
        var range = flock()
        range.l_type = Int16(type)
        range.l_whence = Int16(SEEK_SET)
        return range
    }

    package func space(_ path: String) throws(Errno) -> Space {
        var status = statvfs()
        try checked(statvfs(path, &status))
        return Space(
            blockBytes: UInt64(status.f_frsize), blocks: UInt64(status.f_blocks),
            blocksFree: UInt64(status.f_bfree), blocksAvailable: UInt64(status.f_bavail),
            files: UInt64(status.f_files))
    }

    /// `F_OFD_GETLK` and `F_OFD_SETLK` of linux/fcntl.h, which the Glibc module hides with all of
    /// `_GNU_SOURCE`.
    private static let getOpenFileLock: Int32 = 36
    private static let setOpenFileLock: Int32 = 37
    /// `RENAME_NOREPLACE` of linux/fs.h, hidden likewise.
    private static let renameNoReplace: UInt32 = 1

    private typealias RenameAt2 =
        @convention(c) (
            Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32
        ) -> Int32

    /// The C library's own; absent before glibc 2.28.
    private static let renameat2: RenameAt2? = dlsym(nil, "renameat2").map {
        unsafeBitCast($0, to: RenameAt2.self)
    }

    @discardableResult
    private func checked<T: SignedInteger>(_ result: T) throws(Errno) -> T {
        if result < 0 { throw .current }
        return result
    }
}
