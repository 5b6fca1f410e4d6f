import Bytes
import Glibc

/// A process, told apart from every other that has the same number: on another machine, after a
/// reboot, in another container, or started later.
package struct ProcessIdentity: Sendable, Equatable {
    /// `/proc/sys/kernel/random/boot_id`: one boot of one kernel.
    var boot: String
    /// `/etc/machine-id`; empty where there is none.
    var machine: String
    /// The namespace that `pid` counts in, as `/proc/self/ns/pid` links to it.
    var namespace: String
    var pid: Int32
    /// Clock ticks from boot to its start: field 22 of `/proc/PID/stat`, see proc(5).
    var started: UInt64

    package static let current = ProcessIdentity(
        boot: text("/proc/sys/kernel/random/boot_id"), machine: text("/etc/machine-id"),
        namespace: link("/proc/self/ns/pid"), pid: getpid(),
        started: startTicks("/proc/self/stat") ?? 0)

    /// True only if it is certain that the process has ended; of another machine or container one
    /// can't know.
    package var isGone: Bool {
        let here = Self.current
        guard boot == here.boot else {
            return !machine.isEmpty && machine == here.machine && !boot.isEmpty
        }
        guard namespace == here.namespace else { return false }
        if pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH) { return true }
        // What can't be read, as for lack of descriptors, says nothing.
        return Self.startTicks("/proc/\(pid)/stat").map { $0 != started } ?? false
    }

    private static func startTicks(_ path: String) -> UInt64? {
        // The second field is the program's name in parentheses, which may hold anything.
        let fields = text(path).split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }

    /// A small file of /proc without the last newline; empty if it can't be read.
    private static func text(_ path: String) -> String {
        guard let file = try? File(path, .read, calls: Kernel()) else { return "" }
        let bytes = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            count = (try? file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))) ?? 0
        }
        return String(decoding: bytes.last == 10 ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    private static func link(_ path: String) -> String {
        let bytes = [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
            count = buffer.withMemoryRebound(to: CChar.self) {
                max(0, readlink(path, $0.baseAddress!, $0.count))
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension ProcessIdentity: JSONValue {
    init(json: inout JSONReader) throws {
        let member = try json.members()
        guard let pid = Int32(exactly: try member("pid") as Int64) else {
            throw json.broken("no right pid")
        }
        try self.init(
            boot: member("boot"), machine: member("machine"), namespace: member("namespace"),
            pid: pid, started: member("started"))
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("boot", boot)
            json.member("machine", machine)
            json.member("namespace", namespace)
            json.member("pid", Int64(pid))
            json.member("started", started)
        }
    }
}
