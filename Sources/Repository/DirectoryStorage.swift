import Bytes
import Glibc
import Synchronization

/// Storage in a directory of a POSIX file system.
///
/// An object is published by an fsynced temporary that is linked to the final name, where links
/// don't exist renamed without replacing; then the directory is fsynced. A temporary's name begins
/// with a dot, and `list` doesn't show it.
package final class DirectoryStorage: Storage {
    package let location: String
    let calls: any SystemCalls
    /// Up to so many files are made durable one by one; for more the whole file system is asked to,
    /// which may have to write what is other programs'.
    let fewFiles: Int
    /// Directories that this process knows to exist durably: three for a collection, one for a table.
    private let prepared = Mutex<Set<String>>([])

    /// Nothing is touched before something is asked for.
    ///
    /// - Parameter owner: whose the location becomes, if root makes it.
    package init(
        _ location: String, owner: FileOwner? = nil, calls: (any SystemCalls)? = nil,
        fewFiles: Int = OpenFiles.share(most: 32)
    ) {
        self.location =
            location.count > 1 && location.hasSuffix("/") ? String(location.dropLast()) : location
        self.calls = calls ?? Kernel(below: self.location, owner: owner)
        self.fewFiles = fewFiles
    }

    private func path(_ name: String) -> String { name.isEmpty ? location : "\(location)/\(name)" }

    /// `call`, or nil where the object doesn't exist.
    private func ifPresent<R>(
        _ what: @autoclosure () -> String, _ call: () throws(Errno) -> R
    ) throws -> R? {
        do throws(Errno) {
            return try uninterrupted(call)
        } catch {
            if error.rawValue == ENOENT || error.rawValue == ENOTDIR { return nil }
            throw Failure(what(), ofPlace: error)
        }
    }

    // MARK: Reading

    package func list(_ directory: String) throws -> [String] {
        try everything(in: directory).filter { !$0.hasPrefix(".") }
    }

    private func everything(in directory: String) throws -> [String] {
        let path = path(directory)
        return try ifPresent("can't list \(path)") { () throws(Errno) in try calls.list(path) }
            ?? []
    }

    package func size(of name: String) throws -> UInt64? {
        let path = path(name)
        let status = try ifPresent("can't look at \(path)") { () throws(Errno) in
            try calls.status(path)
        }
        if let status, status.kind != .file {
            throw Failure("can't look at \(path)", ofPlace: .odd)
        }
        return status?.sizeBytes
    }

    package func isTaken(_ name: String) throws -> Bool { try exists(path(name)) }

    private func openFile(_ name: String) throws -> File? {
        let path = path(name)
        return try ifPresent("can't open \(path)") { () throws(Errno) in
            try File(path, .read, calls: calls)
        }
    }

    package func open(_ name: String) throws -> (any StoredObject)? {
        try openFile(name)
    }

    package func read(_ name: String, limit: Int) throws -> [UInt8]? {
        guard let file = try openFile(name) else { return nil }
        let size = try file.sizeBytes
        guard size <= UInt64(limit) else {
            throw Failure(.corrupt, "\(file.path) has \(size) bytes, more than \(limit) can't be")
        }
        return try [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            count = try file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))
        }
    }

    package func space() throws -> Space? {
        try attempt("can't ask for the free space at \(location)") { () throws(Errno) in
            try calls.space(location)
        }
    }

    // MARK: Writing

    package func beginBatch() -> any ObjectBatch { DirectoryBatch(self) }

    /// The location itself, to be synced.
    func openLocation() throws -> File {
        try attempt("can't open \(location)") { () throws(Errno) in
            try File(location, .directory, calls: calls)
        }
    }

    /// A file that was closed since it was written.
    func sync(_ path: String) throws {
        try attempt("can't open \(path)") { () throws(Errno) in
            try File(path, .read, calls: calls)
        }.sync()
    }

    /// In a folder that is there.
    func createFile(_ name: String) throws -> File {
        let path = path(name)
        return try attempt("can't create \(path)") { () throws(Errno) in
            try File(path, .create, calls: calls)
        }
    }

    package func replace(_ name: String) throws -> any ObjectWriter {
        // Only what can be an older one of ours is replaced.
        _ = try size(of: name)
        return ReplacingWriter(try createTemporary(for: name), path(name), calls: calls)
    }

    /// A new file beside the object that it is going to be.
    private func createTemporary(for name: String) throws -> File {
        try inFolder(of: name) { folder in
            let temporary = temporary(in: folder)
            return try attempt("can't create \(temporary)") { () throws(Errno) in
                try File(temporary, .create, calls: calls)
            }
        }
    }

    private func temporary(in directory: String) -> String {
        path("\(directory.isEmpty ? "" : directory + "/").\(randomHex()).new")
    }

    private static func isTemporary(_ name: String) -> Bool {
        name.hasPrefix(".") && name.hasSuffix(".new")
            && isHex(name.dropFirst().dropLast(4), count: 32)
    }

    package func putIfAbsent(_ bytes: [UInt8], as name: String) throws -> Bool {
        let file = try createTemporary(for: name)
        do {
            try bytes.withUnsafeBytes { try file.write($0) }
            try file.sync()
        } catch {
            forget(file.path)
            throw error
        }
        guard try giveName(file.path, path(name)) else { return false }
        try settle(folder(of: name))
        return true
    }

    /// Moves the temporary to its name; false when the name is taken.
    private func giveName(_ temporary: String, _ path: String) throws -> Bool {
        defer { forget(temporary) }
        do throws(Errno) {
            try uninterrupted { () throws(Errno) in
                do throws(Errno) {
                    try calls.link(temporary, as: path)
                } catch {
                    let hasNoLinks = [EPERM, ENOSYS, ENOTSUP, EMLINK].contains(error.rawValue)
                    if !hasNoLinks { throw error }
                    try calls.renameNew(temporary, to: path)
                }
            }
            return true
        } catch {
            if error.rawValue == EEXIST { return false }
            if [EINVAL, ENOSYS, ENOTSUP, EPERM].contains(error.rawValue) {
                throw Failure(
                    .unsupported,
                    "can't publish \(path): this file system has neither hard links nor renaming "
                        + "without replacing, so that two writers couldn't be kept apart; keep the "
                        + "repository on another one")
            }
            throw Failure("can't publish \(path)", ofPlace: error)
        }
    }

    /// Best effort: what stays is removed with the other leftovers.
    private func forget(_ temporary: String) { try? calls.unlink(temporary) }

    package func settle(_ directory: String) throws { try syncDirectory(path(directory)) }

    /// Some file systems (CIFS, some FUSE ones) can't sync a directory and say `EINVAL`: there is no
    /// more that one could do.
    private func syncDirectory(_ path: String) throws {
        let directory = try attempt("can't open \(path)") { () throws(Errno) in
            try File(path, .directory, calls: calls)
        }
        try directory.sync(ignoring: EINVAL)
    }

    package func setAside(_ name: String) throws -> String {
        let path = path(name)
        for number in 1...Self.asideMax {
            let aside = name + (number == 1 ? ".damaged" : ".damaged-\(number)")
            guard try !exists(self.path(aside)) else { continue }
            try attempt("can't move \(path) aside") { () throws(Errno) in
                try calls.rename(path, to: self.path(aside))
            }
            try settle(folder(of: name))
            return aside.lastIndex(of: "/").map { String(aside[aside.index(after: $0)...]) }
                ?? aside
        }
        throw Failure(.exists, "\(path) was moved aside \(Self.asideMax) times already")
    }

    private static let asideMax = 1000

    package func move(_ directory: String, to name: String) throws {
        let (old, new) = (path(directory), path(name))
        guard try exists(old) else { return }
        try attempt("can't rename \(old)") { () throws(Errno) in try calls.renameNew(old, to: new) }
        forgetPrepared([directory])
        try settle(folder(of: name))
    }

    package func remove(_ name: String) throws {
        let path = path(name)
        _ = try ifPresent("can't remove \(path)") { () throws(Errno) in try calls.unlink(path) }
    }

    package func removeEmpty(_ directory: String) {
        forgetPrepared([directory])
        let path = path(directory)
        try? uninterrupted { () throws(Errno) in try calls.removeDirectory(path) }
    }

    package func removeUnfinished(in directory: String, olderThan seconds: Int64) throws {
        for name in try everything(in: directory) where Self.isTemporary(name) {
            let path = path("\(directory)/\(name)")
            let status = try ifPresent("can't look at \(path)") { () throws(Errno) in
                try calls.status(path)
            }
            guard let status, status.kind == .file,
                Int64(time(nil)) - status.modified >= seconds
            else { continue }
            try remove("\(directory)/\(name)")
        }
    }

    package func lock(_ name: String) throws -> (any StorageLock)? {
        let path = path(name)
        let file = try inFolder(of: name) { _ in
            try attempt("can't open \(path)") { () throws(Errno) in
                try File(path, .lock, calls: calls)
            }
        }
        return try file.lock() ? DirectoryLock(file, calls: calls) : nil
    }

    package func isLocked(_ name: String) throws -> Bool {
        let path = path(name)
        let file = try ifPresent("can't open \(path)") { () throws(Errno) in
            try File(path, .read, calls: calls)
        }
        return try file?.isLocked() ?? false
    }

    // MARK: Directories

    /// The directory that an object or a directory lies in; empty for the location itself.
    func folder(of name: String) -> String {
        name.lastIndex(of: "/").map { String(name[..<$0]) } ?? ""
    }

    func isPrepared(_ directory: String) -> Bool { prepared.withLock { $0.contains(directory) } }

    func addPrepared(_ directories: Set<String>) { prepared.withLock { $0.formUnion(directories) } }

    func forgetPrepared(_ directories: some Sequence<String>) {
        prepared.withLock { $0.subtract(directories) }
    }

    /// The directory and those that it lies in, up to the location, which isn't one of them.
    func chain(of directory: String) -> [String] {
        directory.isEmpty ? [] : [directory] + chain(of: folder(of: directory))
    }

    /// Does `body`, which makes a file in the folder of this object. A folder that had been made and has
    /// vanished since is made once more; the location isn't: its disk may be gone.
    private func inFolder<R>(of name: String, _ body: (_ folder: String) throws -> R) throws -> R {
        let folder = folder(of: name)
        try prepare(folder)
        do {
            return try body(folder)
        } catch let failure as Failure where failure.code == .notFound && !folder.isEmpty {
            forgetPrepared(chain(of: folder))
            try prepare(folder)
            return try body(folder)
        }
    }

    func makeFolder(_ directory: String) throws { try makeDirectory(path(directory)) }

    /// Makes sure that `directory` exists and is still there after a power cut. A directory that
    /// was there already is synced too, once: whoever made it may have been killed before.
    private func prepare(_ directory: String) throws {
        if isPrepared(directory) { return }
        if directory.isEmpty {
            try prepareLocation()
        } else {
            // The location itself is durable since the first object was published in it.
            let parent = folder(of: directory)
            if !parent.isEmpty { try prepare(parent) }
            try makeDirectory(path(directory))
            try syncDirectory(path(parent))
        }
        addPrepared([directory])
    }

    /// Above the location, directories that were there and that we may not open are somebody
    /// else's to care for.
    private func prepareLocation() throws {
        var ancestors: [String] = []
        var path = location
        while path != "/", path != "." {
            ancestors.append(path)
            path = PathText.parent(path)
        }
        for directory in ancestors.reversed() {
            let isNew = try !exists(directory)
            if isNew { try makeDirectory(directory) }
            do {
                try syncDirectory(PathText.parent(directory))
            } catch let failure as Failure where !isNew && failure.code == .denied {
                continue
            }
        }
    }

    private func exists(_ path: String) throws -> Bool {
        try ifPresent("can't look at \(path)") { () throws(Errno) in try calls.status(path) }
            != nil
    }

    private func makeDirectory(_ path: String) throws {
        do throws(Errno) {
            try uninterrupted { () throws(Errno) in try calls.makeDirectory(path) }
        } catch {
            if error.rawValue != EEXIST { throw Failure("can't create \(path)", ofPlace: error) }
        }
    }
}

extension File: StoredObject {}

private final class DirectoryLock: StorageLock {
    private let file: File
    private let calls: any SystemCalls

    init(_ file: File, calls: any SystemCalls) {
        self.file = file
        self.calls = calls
    }

    deinit { file.unlock() }

    /// The lock is on the file; others come to it by its name.
    var isHeld: Bool {
        get throws {
            do throws(Errno) {
                let (path, calls) = (file.path, calls)
                return try uninterrupted { () throws(Errno) in try calls.status(path) }.number
                    == file.number
            } catch {
                if error.rawValue == ENOENT || error.rawValue == ENOTDIR { return false }
                throw Failure("can't look at \(file.path)", errno: error)
            }
        }
    }
}

/// Writes a temporary and gives it the name of another file.
private final class ReplacingWriter: ObjectWriter {
    private let file: File
    private let name: String
    private let calls: any SystemCalls
    private var isFinished = false

    init(_ file: File, _ name: String, calls: any SystemCalls) {
        self.file = file
        self.name = name
        self.calls = calls
    }

    deinit {
        // What stays is removed with the other leftovers.
        if !isFinished { try? calls.unlink(file.path) }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws { try file.write(bytes) }

    func finish() throws {
        try attempt("can't replace \(name)") { () throws(Errno) in
            try calls.rename(file.path, to: name)
        }
        isFinished = true
    }
}

/// 128 random bits in hex: names that no other attempt ever had.
func randomHex() -> String {
    var generator = SystemRandomNumberGenerator()
    return hex(generator.next()) + hex(generator.next())
}

/// 16 lower-case digits.
func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
