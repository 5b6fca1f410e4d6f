import Bytes
import CSQLite
import Glibc
import Synchronization

/// What SQLite's online backup writes to when pages are only to be seen: the one file of a VFS of our
/// own. What is written is looked at, and, if a copy is wanted, goes on to a temporary file without a
/// name, which can then be read as a database of its own.
///
/// SQLite calls from the thread that makes the backup; afterwards from the ones that read the copy,
/// one at a time.
final class PageSink: @unchecked Sendable {
    /// Sees every page but the first; a page may be written again, and the last time counts.
    typealias Look = (_ page: UnsafeRawBufferPointer, _ number: Int) throws -> Void

    private let pageSize: Int
    private let look: Look?
    /// Nil: what is written is only looked at.
    private let copy: Int32?
    private var size: Int64 = 0
    /// As it was written; of a database without a copy nothing else is ever read.
    private(set) var firstPage: [UInt8] = []
    /// A bit for every page that was written.
    private let seen: ByteBuffer
    private(set) var pagesSeen = 0
    /// Something was written that is no page.
    private(set) var isOdd = false
    /// Why `look` is no longer called: what a callback can't throw.
    private(set) var failure: (any Error)?

    /// The file's name in the VFS.
    let name: String

    /// - Parameter pageCount: of the database that will be written.
    init(pageSize: Int, pageCount: Int, copies: Bool, look: Look?) throws {
        self.pageSize = pageSize
        self.look = look
        copy = copies ? try SpillFile.openNameless(in: SpillFile.defaultDirectory) : nil
        seen = ByteBuffer(capacity: pageCount / 8 + 2)
        seen.append(byte: 0, repeated: pageCount / 8 + 2)
        name = PageFiles.newName()
        PageFiles.add(self)
    }

    /// A database that lies in a file without a name, which is closed with this.
    init(nameless file: Int32, size: Int64) {
        pageSize = 0
        look = nil
        copy = file
        self.size = size
        seen = ByteBuffer()
        name = PageFiles.newName()
        PageFiles.add(self)
    }

    deinit { if let copy { Glibc.close(copy) } }

    /// The VFS opens the file no more.
    func end() { PageFiles.remove(name) }

    // MARK: What SQLite asks for

    fileprivate func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> CInt {
        guard bytes.count == pageSize, offset >= 0, offset % Int64(pageSize) == 0 else {
            isOdd = true
            return copy == nil ? SQLITE_OK : forward(bytes, at: offset)
        }
        size = max(size, offset + Int64(bytes.count))
        if offset == 0 {
            firstPage = Array(bytes)
            // The copy of a database with a write-ahead log has none.
            if firstPage[18] == 2 { (firstPage[18], firstPage[19]) = (1, 1) }
        }
        let number = Int(offset / Int64(pageSize)) + 1
        note(number)
        do {
            if number > 1, failure == nil { try look?(bytes, number) }
        } catch {
            // The copy can be had all the same.
            failure = error
            if copy == nil { return IOError.write }
        }
        if copy == nil { return SQLITE_OK }
        return number == 1
            ? firstPage.withUnsafeBytes { forward($0, at: 0) } : forward(bytes, at: offset)
    }

    private func note(_ number: Int) {
        guard number / 8 < seen.count else {
            isOdd = true
            return
        }
        let bits = seen.load(at: number / 8, as: UInt8.self)
        let bit: UInt8 = 1 << (number % 8)
        if bits & bit == 0 { pagesSeen += 1 }
        seen.replace(at: number / 8, with: bits | bit)
    }

    private func forward(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> CInt {
        var rest = bytes
        var offset = offset
        while rest.count > 0 {
            let count = pwrite(copy!, rest.baseAddress, rest.count, Int(offset))
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { return errno == ENOSPC ? SQLITE_FULL : IOError.write }
            rest = rest.from(count)
            offset += Int64(count)
        }
        return SQLITE_OK
    }

    fileprivate func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) -> CInt {
        var done = 0
        if let copy {
            while done < bytes.count {
                let count = pread(
                    copy, bytes.baseAddress! + done, bytes.count - done, Int(offset) + done)
                if count < 0 && errno == EINTR { continue }
                if count < 0 { return IOError.read }
                if count == 0 { break }
                done += count
            }
        } else if offset >= 0, offset + Int64(bytes.count) <= Int64(firstPage.count) {
            firstPage.withUnsafeBytes {
                bytes.copyMemory(
                    from: UnsafeRawBufferPointer(
                        rebasing: $0[Int(offset)..<Int(offset) + bytes.count]))
            }
            done = bytes.count
        }
        if done == bytes.count { return SQLITE_OK }
        // SQLite wants the rest to be zeros.
        memset(bytes.baseAddress! + done, 0, bytes.count - done)
        return copy == nil && offset < size ? IOError.read : IOError.shortRead
    }

    fileprivate func truncate(_ size: Int64) -> CInt {
        self.size = size
        if let copy, ftruncate(copy, Int(size)) != 0 { return IOError.truncate }
        return SQLITE_OK
    }

    fileprivate var byteCount: Int64 { size }
}

/// SQLite's extended result codes, macros that Swift doesn't see.
private enum IOError {
    static let read: CInt = SQLITE_IOERR | 1 << 8
    static let shortRead: CInt = SQLITE_IOERR | 2 << 8
    static let write: CInt = SQLITE_IOERR | 3 << 8
    static let truncate: CInt = SQLITE_IOERR | 6 << 8
}

/// SQLite's virtual file system for `PageSink`s (sqlite.org/vfs.html).
enum PageFiles {
    static let vfsName = "ydbfs-pages"

    private static let sinks = Mutex<(next: Int, open: [String: PageSink])>((0, [:]))

    fileprivate static func newName() -> String {
        sinks.withLock { sinks in
            sinks.next += 1
            return "\(vfsName)-\(sinks.next)"
        }
    }

    fileprivate static func add(_ sink: PageSink) { sinks.withLock { $0.open[sink.name] = sink } }

    fileprivate static func remove(_ name: String) { sinks.withLock { $0.open[name] = nil } }

    /// Whether SQLite knows the VFS; it is registered at the first look, for good.
    static let isRegistered: Bool = {
        guard let standard = sqlite3_vfs_find(nil) else { return false }
        let vfs = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        vfs.initialize(to: standard.pointee)
        vfs.pointee.iVersion = 1
        vfs.pointee.pNext = nil
        vfs.pointee.zName = UnsafePointer(strdup(vfsName))
        vfs.pointee.pAppData = UnsafeMutableRawPointer(standard)
        vfs.pointee.szOsFile = max(
            standard.pointee.szOsFile, CInt(MemoryLayout<SinkFile>.size))
        vfs.pointee.xOpen = open
        vfs.pointee.xDelete = { _, _, _ in SQLITE_OK }
        vfs.pointee.xAccess = { _, _, _, answer in
            answer?.pointee = 0
            return SQLITE_OK
        }
        vfs.pointee.xFullPathname = { _, name, room, output in
            guard let name, let output, strlen(name) < Int(room) else { return SQLITE_CANTOPEN }
            strcpy(output, name)
            return SQLITE_OK
        }
        return sqlite3_vfs_register(vfs, 0) == SQLITE_OK
    }()

    /// SQLite's open file, and behind it what is ours.
    private struct SinkFile {
        var base: sqlite3_file
        var sink: Unmanaged<PageSink>
    }

    /// Files without a name are SQLite's own temporary ones, and lie where they always do.
    private static let open:
        @convention(c) (
            UnsafeMutablePointer<sqlite3_vfs>?, UnsafePointer<CChar>?,
            UnsafeMutablePointer<sqlite3_file>?, CInt, UnsafeMutablePointer<CInt>?
        ) -> CInt = { vfs, name, file, flags, flagsOut in
            guard let vfs, let file else { return SQLITE_CANTOPEN }
            guard let name else {
                let standard = vfs.pointee.pAppData!.assumingMemoryBound(to: sqlite3_vfs.self)
                return standard.pointee.xOpen(standard, nil, file, flags, flagsOut)
            }
            file.pointee.pMethods = nil
            let sink = sinks.withLock { $0.open[String(cString: name)] }
            guard let sink, flags & SQLITE_OPEN_MAIN_DB != 0 else { return SQLITE_CANTOPEN }
            let ours = UnsafeMutableRawPointer(file).assumingMemoryBound(to: SinkFile.self)
            ours.pointee.sink = .passRetained(sink)
            file.pointee.pMethods = methods
            flagsOut?.pointee = flags
            return SQLITE_OK
        }

    private static func sink(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Unmanaged<PageSink> {
        UnsafeMutableRawPointer(file!).assumingMemoryBound(to: SinkFile.self).pointee.sink
    }

    nonisolated(unsafe) private static let methods: UnsafePointer<sqlite3_io_methods> = {
        let methods = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        methods.initialize(to: sqlite3_io_methods())
        methods.pointee.iVersion = 1
        methods.pointee.xClose = { file in
            sink(file).release()
            file?.pointee.pMethods = nil
            return SQLITE_OK
        }
        methods.pointee.xRead = { file, bytes, count, offset in
            sink(file)._withUnsafeGuaranteedRef {
                $0.read(.init(start: bytes, count: Int(count)), at: offset)
            }
        }
        methods.pointee.xWrite = { file, bytes, count, offset in
            sink(file)._withUnsafeGuaranteedRef {
                $0.write(.init(start: bytes, count: Int(count)), at: offset)
            }
        }
        methods.pointee.xTruncate = { file, size in
            sink(file)._withUnsafeGuaranteedRef { $0.truncate(size) }
        }
        methods.pointee.xSync = { _, _ in SQLITE_OK }
        methods.pointee.xFileSize = { file, size in
            size?.pointee = sink(file)._withUnsafeGuaranteedRef { $0.byteCount }
            return SQLITE_OK
        }
        methods.pointee.xLock = { _, _ in SQLITE_OK }
        methods.pointee.xUnlock = { _, _ in SQLITE_OK }
        methods.pointee.xCheckReservedLock = { _, answer in
            answer?.pointee = 0
            return SQLITE_OK
        }
        methods.pointee.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
        methods.pointee.xSectorSize = { _ in 4096 }
        methods.pointee.xDeviceCharacteristics = { _ in 0 }
        return UnsafePointer(methods)
    }()
}
