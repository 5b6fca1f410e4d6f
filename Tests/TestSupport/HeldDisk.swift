import Bytes
import Repository

/// The file system, but for data files, which can't be opened until that is allowed.
package final class HeldDisk: SystemCalls {
    private let kernel = Kernel()
    private let state = Monitor((isHeld: false, waiting: 0))

    package init() {}

    package var waiting: Int { state.withLock(\.waiting) }
    package func hold(_ isHeld: Bool) { state.update { $0.isHeld = isHeld } }

    package func open(_ path: String, _ access: FileAccess) throws(Errno) -> Int32 {
        if access == .read, path.contains("/data/") || path.contains("/tables/") {
            state.update { $0.waiting += 1 }
            state.wait { $0.isHeld ? nil : () }
            state.update { $0.waiting -= 1 }
        }
        return try kernel.open(path, access)
    }

    package func close(_ descriptor: Int32) { kernel.close(descriptor) }
    package func read(
        _ descriptor: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int { try kernel.read(descriptor, at: offset, into: buffer) }
    package func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(Errno) -> Int {
        try kernel.write(descriptor, bytes)
    }
    package func sync(_ descriptor: Int32) throws(Errno) { try kernel.sync(descriptor) }
    package func canSyncAll(_ descriptor: Int32) -> Bool { kernel.canSyncAll(descriptor) }
    package func syncAll(_ descriptor: Int32) throws(Errno) { try kernel.syncAll(descriptor) }
    package func size(_ descriptor: Int32) throws(Errno) -> UInt64 { try kernel.size(descriptor) }
    package func link(_ path: String, as name: String) throws(Errno) {
        try kernel.link(path, as: name)
    }
    package func rename(_ path: String, to name: String) throws(Errno) {
        try kernel.rename(path, to: name)
    }
    package func renameNew(_ path: String, to name: String) throws(Errno) {
        try kernel.renameNew(path, to: name)
    }
    package func unlink(_ path: String) throws(Errno) { try kernel.unlink(path) }
    package func makeDirectory(_ path: String) throws(Errno) { try kernel.makeDirectory(path) }
    package func removeDirectory(_ path: String) throws(Errno) {
        try kernel.removeDirectory(path)
    }
    package func list(_ path: String) throws(Errno) -> [String] { try kernel.list(path) }
    package func status(_ path: String) throws(Errno) -> FileStatus { try kernel.status(path) }
    package func lock(_ descriptor: Int32) throws(Errno) { try kernel.lock(descriptor) }
    package func isLocked(_ descriptor: Int32) throws(Errno) -> Bool {
        try kernel.isLocked(descriptor)
    }
    package func number(_ descriptor: Int32) throws(Errno) -> UInt64 {
        try kernel.number(descriptor)
    }
    package func unlock(_ descriptor: Int32) { kernel.unlock(descriptor) }
    package func space(_ path: String) throws(Errno) -> Space { try kernel.space(path) }
}
