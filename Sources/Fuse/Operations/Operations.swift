import Bytes
import CFuse
import Glibc
import Volume

/// libfuse's table of low-level operations as calls of `FileSystem`: convert, call, convert back.
///
/// What isn't in the table is answered with `ENOSYS` by libfuse, with the kernel's meaning:
/// - `getxattr`, `listxattr`, if they aren't wanted: the kernel stops asking;
/// - `fsync`: succeeds; `lseek` for holes, locks: done by the kernel;
/// - `copy_file_range`: falls back to read and write, so that `cp` of a file of statements to
///   `control` works. Its target is always open for writing, so `open` has refused all others.
///
/// - Parameter extendedAttributes: whether these are shown.
func makeOperations(extendedAttributes: Bool) -> fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    operations.`init` = { _, connection in
        if let connection { configure(&connection.pointee) }
    }
    addInodes(to: &operations)
    addFiles(to: &operations)
    addDirectories(to: &operations)
    addRefusals(to: &operations)
    if extendedAttributes { addExtendedAttributes(to: &operations) }
    return operations
}

/// The session's terms. libfuse has put what the kernel can into `capable` and its own choice into
/// `want`: asynchronous reads and `O_TRUNC` as a flag of `open` among them.
private func configure(_ connection: inout fuse_conn_info) {
    func set(_ capability: Int32, _ isWanted: Bool) {
        let bit = UInt32(bitPattern: capability)
        connection.want &= ~bit
        if isWanted { connection.want |= connection.capable & bit }
    }
    set(FUSE_CAP_ASYNC_READ, true)
    set(FUSE_CAP_PARALLEL_DIROPS, true)
    // Attributes are at hand in every listing; the automatic choice costs one LOOKUP per file.
    set(FUSE_CAP_READDIRPLUS, true)
    set(FUSE_CAP_READDIRPLUS_AUTO, false)
    // Cached data never changes.
    set(FUSE_CAP_AUTO_INVAL_DATA, false)
    connection.max_read = UInt32(Adapter.requestBytesMax)
    connection.max_write = UInt32(Adapter.requestBytesMax)
    connection.max_background = 64
    connection.congestion_threshold = 48
}

/// Runs a handler that answers at its end, or throws before.
private func serve(
    _ pointer: fuse_req_t?, _ kind: RequestTimes.Kind = .other,
    _ body: (Request, Adapter) throws(Errno) -> Void
) {
    guard let pointer else { return }
    let adapter = Adapter.of(pointer)
    let start = RequestTimes.now
    defer { adapter.fileSystem.requests.add(kind, since: start) }
    do throws(Errno) {
        try body(Request(pointer: pointer), adapter)
    } catch {
        Request(pointer: pointer).fail(error)
    }
}

private func stat(of attributes: Attributes) -> stat {
    var status = Glibc.stat()
    let kind =
        switch attributes.kind {
        case .directory: Glibc.S_IFDIR
        case .file: Glibc.S_IFREG
        case .symlink: Glibc.S_IFLNK
        }
    status.st_ino = UInt(attributes.inode)
    status.st_mode = kind | UInt32(attributes.permissions & 0o7777)
    status.st_nlink = 1
    status.st_uid = attributes.uid
    status.st_gid = attributes.gid
    status.st_size = Int(clamping: attributes.sizeBytes)
    status.st_blksize = 4096
    status.st_blocks = Int(attributes.sizeBytes / 512 + (attributes.sizeBytes % 512 == 0 ? 0 : 1))
    let modified = timespec(
        tv_sec: Int(attributes.modifiedSeconds), tv_nsec: Int(attributes.modifiedNanoseconds))
    status.st_mtim = modified
    status.st_ctim = modified
    status.st_atim = modified
    return status
}

private func parameters(of entry: Entry) -> fuse_entry_param {
    var parameters = fuse_entry_param()
    parameters.ino = entry.node
    parameters.attr = stat(of: entry.attributes)
    parameters.attr_timeout = entry.attributesLifetimeSeconds
    parameters.entry_timeout = entry.lifetimeSeconds
    return parameters
}

private func addInodes(to operations: inout fuse_lowlevel_ops) {
    operations.lookup = { pointer, parent, name in
        serve(pointer, .lookup) { (request, adapter) throws(Errno) in
            // A name that isn't UTF-8 is none of ours.
            guard let name, let text = String(validatingCString: name) else {
                throw Errno(rawValue: ENOENT)
            }
            adapter.answer(request, try adapter.fileSystem.lookup(text, in: parent)) { entry in
                var answer = parameters(of: entry)
                // A reply that nobody took is no look-up that the kernel will forget.
                if fuse_reply_entry(request.pointer, &answer) == 0 { return nil }
                return { adapter.fileSystem.forget(entry.node, lookups: 1) }
            }
        }
    }
    operations.forget = { pointer, node, lookups in
        guard let pointer else { return }
        Adapter.of(pointer).fileSystem.forget(node, lookups: lookups)
        fuse_reply_none(pointer)
    }
    operations.forget_multi = { pointer, count, forgotten in
        guard let pointer else { return }
        let fileSystem = Adapter.of(pointer).fileSystem
        for one in UnsafeBufferPointer(start: forgotten, count: count) {
            fileSystem.forget(one.ino, lookups: one.nlookup)
        }
        fuse_reply_none(pointer)
    }
    operations.getattr = { pointer, node, _ in
        serve(pointer, .getattr) { (request, adapter) throws(Errno) in
            adapter.answer(request, try adapter.fileSystem.entry(of: node)) { entry in
                var status = stat(of: entry.attributes)
                fuse_reply_attr(request.pointer, &status, entry.attributesLifetimeSeconds)
                return nil
            }
        }
    }
    operations.setattr = { pointer, node, _, _, _ in
        serve(pointer) { (request, adapter) throws(Errno) in
            let entry = try adapter.fileSystem.setAttributes(of: node)
            var status = stat(of: entry.attributes)
            fuse_reply_attr(request.pointer, &status, entry.attributesLifetimeSeconds)
        }
    }
    operations.readlink = { pointer, node in
        serve(pointer, .readlink) { (request, adapter) throws(Errno) in
            fuse_reply_readlink(request.pointer, try adapter.fileSystem.readLink(node))
        }
    }
    operations.statfs = { pointer, _ in
        serve(pointer) { (request, adapter) throws(Errno) in
            let statistics = adapter.fileSystem.statistics()
            var status = statvfs()
            status.f_bsize = 4096
            status.f_frsize = 4096
            status.f_blocks = UInt(statistics.blocks)
            status.f_bfree = UInt(statistics.blocksFree)
            status.f_bavail = UInt(statistics.blocksAvailable)
            status.f_files = UInt(statistics.files)
            status.f_namemax = 255
            fuse_reply_statfs(request.pointer, &status)
        }
    }
}

private func addFiles(to operations: inout fuse_lowlevel_ops) {
    operations.open = { pointer, node, info in
        serve(pointer, .open) { (request, adapter) throws(Errno) in
            guard let info else { throw Errno(rawValue: EIO) }
            let given = info.pointee
            let opened = try adapter.fileSystem.open(
                node, mode: openMode(given.flags), caller: request.caller)
            adapter.answer(request, opened) { opened in
                var info = given
                info.fh = opened.handle
                switch opened.cache {
                case .keep:
                    info.keep_cache = 1
                    // Nothing was written: `close` needn't ask us.
                    info.noflush = 1
                case .direct, .blocking, .stream: info.direct_io = 1
                }
                adapter.remember(opened)
                let isTaken =
                    opened.cache == .stream
                    ? request.succeed(openedStream: opened.handle)
                    : fuse_reply_open(request.pointer, &info) == 0
                // An `open` that was interrupted meanwhile gets no `release`.
                if isTaken { return nil }
                return { adapter.forget(opened.handle) }
            }
        }
    }
    operations.read = { pointer, _, size, offset, info in
        serve(pointer, .read) { (request, adapter) throws(Errno) in
            guard let handle = info?.pointee.fh, offset >= 0 else { throw Errno(rawValue: EINVAL) }
            let offset = UInt64(offset)
            if adapter.isBlocking(handle) {
                adapter.answerLater(
                    request,
                    { reply in
                        adapter.fileSystem.readLater(
                            handle, at: offset, count: size, reply: reply)
                    },
                    { bytes in
                        if bytes.count <= size {
                            _ = bytes.withUnsafeBytes { request.succeed($0) }
                        } else {
                            request.fail(Errno(rawValue: EIO))
                        }
                        return nil
                    })
                return
            }
            try adapter.withBuffer { (buffer) throws(Errno) in
                try adapter.fileSystem.read(handle, at: offset, count: size, into: buffer)
                guard buffer.count <= size else { throw Errno(rawValue: EIO) }
                _ = buffer.withBytes { request.succeed($0) }
            }
        }
    }
    operations.write = { pointer, _, bytes, size, _, info in
        serve(pointer, .write) { (request, adapter) throws(Errno) in
            guard let handle = info?.pointee.fh else { throw Errno(rawValue: EINVAL) }
            let bytes = [UInt8](UnsafeRawBufferPointer(start: bytes, count: size))
            try adapter.fileSystem.write(handle, bytes: bytes, caller: request.caller)
            fuse_reply_write(request.pointer, size)
        }
    }
    operations.flush = { pointer, _, info in
        serve(pointer) { (request, adapter) throws(Errno) in
            guard let handle = info?.pointee.fh else { throw Errno(rawValue: EINVAL) }
            try adapter.fileSystem.flush(handle, caller: request.caller)
            fuse_reply_err(request.pointer, 0)
        }
    }
    operations.release = { pointer, _, info in
        serve(pointer) { (request, adapter) throws(Errno) in
            if let handle = info?.pointee.fh { adapter.forget(handle) }
            fuse_reply_err(request.pointer, 0)
        }
    }
}

extension Request {
    /// Answers `open` with a file that has no position. libfuse has no word for that before 3.17: the
    /// kernel's own answer (`struct fuse_open_out` of linux/fuse.h) goes as bytes.
    fileprivate func succeed(openedStream handle: UInt64) -> Bool {
        let (directIO, stream): (UInt32, UInt32) = (1, 1 << 4)
        let answer = (handle, directIO | stream, UInt32(0))
        return withUnsafeBytes(of: answer) { succeed($0) } == 0
    }
}

/// What `open` is for. `O_RDONLY | O_TRUNC` would truncate, so it counts as writing.
private func openMode(_ flags: Int32) -> OpenMode {
    switch flags & O_ACCMODE {
    case O_WRONLY: .write
    case O_RDWR: .readWrite
    default: flags & O_TRUNC != 0 ? .readWrite : .read
    }
}

private func addDirectories(to operations: inout fuse_lowlevel_ops) {
    operations.opendir = { pointer, node, info in
        serve(pointer, .opendir) { (request, adapter) throws(Errno) in
            guard let info else { throw Errno(rawValue: EIO) }
            let handle = adapter.remember(
                OpenDirectory(node, try adapter.fileSystem.list(node)))
            info.pointee.fh = handle
            if fuse_reply_open(request.pointer, info) != 0 { adapter.forgetDirectory(handle) }
        }
    }
    operations.readdir = { pointer, _, size, offset, info in
        serve(pointer, .readdir) { (request, adapter) throws(Errno) in
            let handle = info?.pointee.fh ?? 0
            try list(
                request, adapter, handle, size, Int(offset), isPlus: false
            ) { room, name, entry, next in
                var status = entry.attr
                return fuse_add_direntry(
                    request.pointer, room.baseAddress, room.count, name, &status, next)
            }
        }
    }
    operations.readdirplus = { pointer, _, size, offset, info in
        serve(pointer, .readdir) { (request, adapter) throws(Errno) in
            let handle = info?.pointee.fh ?? 0
            try list(
                request, adapter, handle, size, Int(offset), isPlus: true
            ) { room, name, entry, next in
                fuse_add_direntry_plus(
                    request.pointer, room.baseAddress, room.count, name, &entry, next)
            }
        }
    }
    operations.releasedir = { pointer, _, info in
        serve(pointer) { (request, adapter) throws(Errno) in
            if let handle = info?.pointee.fh { adapter.forgetDirectory(handle) }
            fuse_reply_err(request.pointer, 0)
        }
    }
}

/// Answers with the entries from `offset` on that fit into `size` bytes. An entry's offset is its
/// place in the listing, `.` and `..` first, so `seekdir` works with every value of `telldir`.
///
/// - Parameters:
///   - isPlus: whether entries come with attributes: each is a look-up then, which the kernel counts.
///   - append: writes one entry, or nothing if there's too little room, and returns its size.
private func list(
    _ request: Request, _ adapter: Adapter, _ handle: UInt64, _ size: Int, _ offset: Int,
    isPlus: Bool,
    append: (UnsafeMutableBufferPointer<CChar>, String, inout fuse_entry_param, Int) -> Int
) throws(Errno) {
    let directory = try adapter.directory(handle)
    let entries = try directory.entries(at: offset, in: adapter.fileSystem)
    let room = min(size, Adapter.requestBytesMax)
    var looked: [NodeID] = []
    let error = adapter.withBuffer { buffer -> Int32 in
        buffer.append(room: room) { memory in
            let page = memory.bindMemory(to: CChar.self)
            var used = 0
            for position in max(offset, 0)..<max(entries.count + 2, offset, 0) {
                var name = position == 0 ? "." : ".."
                var entry = dots(position == 0 ? directory.node : unknownInode)
                if position >= 2 {
                    let listed = entries[position - 2]
                    name = listed.name
                    entry = unlooked(listed)
                    if isPlus {
                        let needed = fuse_add_direntry_plus(request.pointer, nil, 0, name, nil, 0)
                        if needed > room - used { break }
                        do throws(Errno) {
                            let found = try adapter.fileSystem.lookup(listed, in: directory.node)
                            if let found {
                                looked.append(found.node)
                                entry = parameters(of: found)
                            }
                        } catch {
                            // It has vanished since the directory was opened.
                            continue
                        }
                    }
                }
                let rest = UnsafeMutableBufferPointer(rebasing: page[used..<room])
                let needed = append(rest, name, &entry, position + 1)
                if needed > rest.count { break }
                used += needed
            }
            return used
        }
        return buffer.withBytes { request.succeed($0) }
    }
    if error != 0 { for node in looked { adapter.fileSystem.forget(node, lookups: 1) } }
}

/// An entry without attributes: who wants them looks it up.
private func unlooked(_ entry: DirectoryEntry) -> fuse_entry_param {
    var parameters = fuse_entry_param()
    parameters.attr.st_ino = UInt(entry.inode)
    parameters.attr.st_mode =
        switch entry.kind {
        case .directory: Glibc.S_IFDIR
        case .file: Glibc.S_IFREG
        case .symlink: Glibc.S_IFLNK
        }
    return parameters
}

/// libfuse's number for "an inode whose number isn't known"; 0 would hide the entry.
private let unknownInode: UInt64 = 0xffff_ffff

/// `.` and `..`: a number and a type; the kernel makes no inodes of them.
private func dots(_ inode: UInt64) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.attr.st_ino = UInt(inode)
    entry.attr.st_mode = Glibc.S_IFDIR
    return entry
}

/// The kernel asks for them at every `ls -l`, and for some of its own that there never are.
private func addExtendedAttributes(to operations: inout fuse_lowlevel_ops) {
    operations.getxattr = { pointer, node, name, size in
        serve(pointer) { (request, adapter) throws(Errno) in
            guard let name = name.flatMap({ String(validatingCString: $0) }),
                name.hasPrefix("user."),
                let found = try adapter.fileSystem.extendedAttributes(of: node)
                    .first(where: { $0.name == name })
            else { throw Errno(rawValue: ENODATA) }
            try request.succeed(Array(found.value.utf8), in: size)
        }
    }
    operations.listxattr = { pointer, node, size in
        serve(pointer) { (request, adapter) throws(Errno) in
            let names = try adapter.fileSystem.extendedAttributes(of: node).map(\.name)
            try request.succeed(names.flatMap { Array($0.utf8) + [0] }, in: size)
        }
    }
}

extension Request {
    /// Answers with bytes, or with how many they are to who has no room and wants to know that.
    fileprivate func succeed(_ bytes: [UInt8], in room: Int) throws(Errno) {
        if room == 0 {
            fuse_reply_xattr(pointer, bytes.count)
        } else {
            guard bytes.count <= room else { throw Errno(rawValue: ERANGE) }
            bytes.withUnsafeBytes { _ = succeed($0) }
        }
    }
}

/// Whatever would change the tree, refused for everyone, root included.
private func addRefusals(to operations: inout fuse_lowlevel_ops) {
    operations.create = { request, _, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.mknod = { request, _, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.mkdir = { request, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.unlink = { request, _, _ in fuse_reply_err(request, EROFS) }
    operations.rmdir = { request, _, _ in fuse_reply_err(request, EROFS) }
    operations.rename = { request, _, _, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.link = { request, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.symlink = { request, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.setxattr = { request, _, _, _, _, _ in fuse_reply_err(request, EROFS) }
    operations.removexattr = { request, _, _ in fuse_reply_err(request, EROFS) }
    operations.fallocate = { request, _, _, _, _, _ in fuse_reply_err(request, EROFS) }
}
