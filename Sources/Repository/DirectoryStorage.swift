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
    private let calls: any SystemCalls
    /// Directories that this process knows to exist durably. At most three for a collection.
    private let prepared = Mutex<Set<String>>([])

    /// Nothing is touched before something is asked for.
    package init(_ location: String, calls: any SystemCalls = Kernel()) {
        self.location =
            location.count > 1 && location.hasSuffix("/") ? String(location.dropLast()) : location
        self.calls = calls
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
            throw Failure(what(), errno: error)
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
        return try ifPresent("can't look at \(path)") { () throws(Errno) in
            try calls.status(path)
        }?.sizeBytes
    }

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

    package func create(_ name: String) throws -> any ObjectWriter {
        let (directory, _) = split(name)
        try prepare(directory)
        let path = path(name)
        let file = try attempt("can't create \(path)") { () throws(Errno) in
            try File(path, .create, calls: calls)
        }
        return DirectoryWriter(file) { [self] in try settle(directory) }
    }

    package func replace(_ name: String) throws -> any ObjectWriter {
        let (directory, _) = split(name)
        try prepare(directory)
        let temporary = temporary(in: directory)
        let file = try attempt("can't create \(temporary)") { () throws(Errno) in
            try File(temporary, .create, calls: calls)
        }
        return ReplacingWriter(file, path(name), calls: calls)
    }

    private func temporary(in directory: String) -> String {
        path("\(directory.isEmpty ? "" : directory + "/").\(randomHex()).new")
    }

    package func publish(_ bytes: [UInt8], as name: String) throws -> Bool {
        let (directory, _) = split(name)
        try prepare(directory)
        let temporary = temporary(in: directory)
        do {
            let file = try attempt("can't create \(temporary)") { () throws(Errno) in
                try File(temporary, .create, calls: calls)
            }
            try bytes.withUnsafeBytes { try file.write($0) }
            try file.sync()
        } catch {
            forget(temporary)
            throw error
        }
        let isNew = try giveName(temporary, path(name))
        if !isNew, try size(of: name) != UInt64(bytes.count) { return false }
        if !isNew, try read(name, limit: .max) != bytes { return false }
        try settle(directory)
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
            throw Failure("can't publish \(path)", errno: error)
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

    package func remove(_ name: String) throws {
        let path = path(name)
        _ = try ifPresent("can't remove \(path)") { () throws(Errno) in try calls.unlink(path) }
    }

    package func removeUnfinished(in directory: String, olderThan seconds: Int64) throws {
        for name in try everything(in: directory) where name.hasPrefix(".") {
            let path = path("\(directory)/\(name)")
            let status = try ifPresent("can't look at \(path)") { () throws(Errno) in
                try calls.status(path)
            }
            guard name.hasSuffix(".new"), let status,
                Int64(time(nil)) - status.modified >= seconds
            else { continue }
            try remove("\(directory)/\(name)")
        }
    }

    package func lock(_ name: String) throws -> (any StorageLock)? {
        try prepare(split(name).directory)
        let path = path(name)
        let file = try attempt("can't open \(path)") { () throws(Errno) in
            try File(path, .lock, calls: calls)
        }
        return try file.lock() ? DirectoryLock(file) : nil
    }

    // MARK: Directories

    private func split(_ name: String) -> (directory: String, last: String) {
        guard let slash = name.lastIndex(of: "/") else { return ("", name) }
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }

    /// Makes sure that `directory` exists and is still there after a power cut. A directory that
    /// was there already is synced too, once: whoever made it may have been killed before.
    private func prepare(_ directory: String) throws {
        if prepared.withLock({ $0.contains(directory) }) { return }
        if directory.isEmpty {
            try prepareLocation()
        } else {
            // The location itself is durable since the first object was published in it.
            let parent = split(directory).directory
            if !parent.isEmpty { try prepare(parent) }
            try makeDirectory(path(directory))
            try syncDirectory(path(parent))
        }
        prepared.withLock { _ = $0.insert(directory) }
    }

    /// Above the location, directories that were there and that we may not open are somebody
    /// else's to care for.
    private func prepareLocation() throws {
        var ancestors: [String] = []
        var path = location
        while let slash = path.lastIndex(of: "/"), path != "/" {
            ancestors.append(path)
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        if path != "/" { ancestors.append(path) }
        for directory in ancestors.reversed() {
            let isNew = try !exists(directory)
            if isNew { try makeDirectory(directory) }
            let parent = split(directory).directory
            do {
                try syncDirectory(parent.isEmpty ? (directory.hasPrefix("/") ? "/" : ".") : parent)
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
            if error.rawValue != EEXIST { throw Failure("can't create \(path)", errno: error) }
        }
    }
}

extension File: StoredObject {}

private final class DirectoryLock: StorageLock {
    private let file: File

    init(_ file: File) { self.file = file }

    deinit { file.unlock() }
}

private final class DirectoryWriter: ObjectWriter {
    private let file: File
    private let settle: () throws -> Void

    init(_ file: File, settle: @escaping () throws -> Void) {
        self.file = file
        self.settle = settle
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws { try file.write(bytes) }

    func finish() throws {
        try file.sync()
        try settle()
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
