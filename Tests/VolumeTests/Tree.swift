import Bytes
import Foundation
import Synchronization
import Volume

/// What a test sees of a file.
struct FileStatus: Equatable {
    var inode: UInt64
    var kind: Attributes.Kind
    var bytes: UInt64
    /// Permission bits.
    var permissions: UInt16
    var modifiedSeconds: Int64
}

/// A mounted tree, whether through the kernel or not. Paths are relative to its root, `""` is the
/// root itself; symlinks are followed except by `readLink` and `status`.
protocol Tree: Sendable {
    func status(_ path: String) throws(Errno) -> FileStatus
    func list(_ path: String) throws(Errno) -> [String]
    func readLink(_ path: String) throws(Errno) -> String
    /// All of a file, by reads of `pieceBytes`.
    func read(_ path: String, pieceBytes: Int) throws(Errno) -> [UInt8]
    func read(_ path: String, at offset: UInt64, count: Int) throws(Errno) -> [UInt8]
    /// Opens, writes each piece by a call of its own, and closes.
    func write(_ path: String, pieces: [[UInt8]]) throws(Errno)
}

extension Tree {
    func read(_ path: String) throws(Errno) -> [UInt8] { try read(path, pieceBytes: 1 << 17) }

    func text(_ path: String) throws(Errno) -> String {
        String(decoding: try read(path), as: UTF8.self)
    }

    func write(_ path: String, _ text: String) throws(Errno) {
        try write(path, pieces: [Array(text.utf8)])
    }

    /// Every file below `path`, in the order of a walk.
    func files(below path: String) throws(Errno) -> [String] {
        var found: [String] = []
        for name in try list(path) {
            let child = path.isEmpty ? name : path + "/" + name
            switch try status(child).kind {
            case .directory: found += try files(below: child)
            case .file: found.append(child)
            case .symlink: break
            }
        }
        return found
    }
}

/// Calls the volume as the kernel would.
struct DirectTree: Tree {
    let volume: Volume
    /// The process that it claims to be.
    var caller = Caller(uid: getuid(), gid: getgid(), pid: getpid())

    private static let linksMax = 8

    private func find(_ path: String, follow: Bool, links: Int = 0) throws(Errno) -> Entry {
        var entry = try volume.entry(of: 1).get()
        let parts = path.split(separator: "/").map(String.init)
        for (index, part) in parts.enumerated() {
            if part == ".." { throw Errno(rawValue: EINVAL) }
            entry = try volume.lookup(part, in: entry.node).get()
            guard entry.attributes.kind == .symlink, follow || index < parts.count - 1 else {
                continue
            }
            if links == Self.linksMax { throw Errno(rawValue: ELOOP) }
            let target = try volume.readLink(entry.node)
            var base = parts[..<index]
            for step in target.split(separator: "/") {
                if step == ".." { base.removeLast() } else { base.append(String(step)) }
            }
            let rest = (base + parts[(index + 1)...]).joined(separator: "/")
            return try find(rest, follow: follow, links: links + 1)
        }
        return entry
    }

    func status(_ path: String) throws(Errno) -> FileStatus {
        let found = try find(path, follow: false).attributes
        return FileStatus(
            inode: found.inode, kind: found.kind, bytes: found.sizeBytes,
            permissions: found.permissions, modifiedSeconds: found.modifiedSeconds)
    }

    func list(_ path: String) throws(Errno) -> [String] {
        try volume.list(find(path, follow: true).node).map(\.name)
    }

    func readLink(_ path: String) throws(Errno) -> String {
        try volume.readLink(find(path, follow: false).node)
    }

    func read(_ path: String, pieceBytes: Int) throws(Errno) -> [UInt8] {
        let opened = try volume.open(
            find(path, follow: true).node, mode: .read, caller: caller
        ).get()
        defer { volume.release(opened.handle) }
        var bytes: [UInt8] = []
        while true {
            let piece = try read(opened, at: UInt64(bytes.count), count: pieceBytes)
            bytes += piece
            if piece.count < pieceBytes { break }
        }
        try volume.flush(opened.handle, caller: caller)
        return bytes
    }

    func read(_ path: String, at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
        let opened = try volume.open(
            find(path, follow: true).node, mode: .read, caller: caller
        ).get()
        defer { volume.release(opened.handle) }
        return try read(opened, at: offset, count: count)
    }

    private func read(_ opened: Opened, at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
        if opened.cache != .blocking {
            let output = ByteBuffer()
            try volume.read(opened.handle, at: offset, count: count, into: output)
            return output.array
        }
        let answer = Monitor<Result<[UInt8], Errno>?>(nil)
        _ = volume.readLater(opened.handle, at: offset, count: count) { result in
            answer.update { $0 = result }
        }
        return try answer.wait { $0 }.get()
    }

    func write(_ path: String, pieces: [[UInt8]]) throws(Errno) {
        let opened = try volume.open(
            find(path, follow: true).node, mode: .write, caller: caller
        ).get()
        defer { volume.release(opened.handle) }
        for piece in pieces {
            try volume.write(opened.handle, bytes: piece, caller: caller)
        }
        try volume.flush(opened.handle, caller: caller)
    }
}

/// The same through a mount, by system calls.
struct MountedTree: Tree {
    let root: String

    private func full(_ path: String) -> String { path.isEmpty ? root : root + "/" + path }

    func status(_ path: String) throws(Errno) -> FileStatus {
        var found = stat()
        guard lstat(full(path), &found) == 0 else { throw .current }
        let kind: Attributes.Kind =
            switch found.st_mode & S_IFMT {
            case S_IFDIR: .directory
            case S_IFLNK: .symlink
            default: .file
            }
        return FileStatus(
            inode: UInt64(found.st_ino), kind: kind, bytes: UInt64(found.st_size),
            permissions: UInt16(found.st_mode & 0o7777),
            modifiedSeconds: Int64(found.st_mtim.tv_sec))
    }

    func list(_ path: String) throws(Errno) -> [String] {
        guard let directory = opendir(full(path)) else { throw .current }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    func readLink(_ path: String) throws(Errno) -> String {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = target.withUnsafeMutableBytes {
            readlink(full(path), $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard count >= 0 else { throw .current }
        return String(decoding: target.prefix(count), as: UTF8.self)
    }

    func read(_ path: String, pieceBytes: Int) throws(Errno) -> [UInt8] {
        let descriptor = open(full(path), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .current }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            let piece = try read(descriptor, at: UInt64(bytes.count), count: pieceBytes)
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    func read(_ path: String, at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
        let descriptor = open(full(path), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .current }
        defer { close(descriptor) }
        return try read(descriptor, at: offset, count: count)
    }

    private func read(
        _ descriptor: Int32, at offset: UInt64, count: Int
    ) throws(Errno) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes {
            pread(descriptor, $0.baseAddress, count, off_t(offset))
        }
        guard got >= 0 else { throw .current }
        return Array(bytes.prefix(got))
    }

    func write(_ path: String, pieces: [[UInt8]]) throws(Errno) {
        let descriptor = open(full(path), O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard descriptor >= 0 else { throw .current }
        for piece in pieces {
            let put = piece.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if put != piece.count {
                let error = put < 0 ? Errno.current : Errno(rawValue: EIO)
                close(descriptor)
                throw error
            }
        }
        if close(descriptor) != 0 { throw .current }
    }
}
