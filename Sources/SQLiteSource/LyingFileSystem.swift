import Bytes
import CLinux
import Glibc

/// File systems on which SQLite's WAL can't be relied on: its readers and writers meet in a piece of
/// shared memory, a mapped file, which these don't share between machines, or between a host and its
/// guests. Readers then see states that never were, in silence (sqlite.org/wal.html).
package enum LyingFileSystem {
    /// By number, as linux/magic.h and statfs(2) have them.
    private static let numbers: [UInt32: String] = [
        0x0102_1997: "9p", 0x6969: "NFS", 0x517B: "SMB", 0xFE53_4D42: "SMB", 0xFF53_4D42: "SMB",
        0x00C3_6400: "Ceph", 0x7461_636F: "OCFS2",
    ]
    private static let fuse: UInt32 = 0x6573_5546
    /// Of those that have FUSE's number, by the name that /proc/self/mountinfo gives.
    private static let fuseNames: [String: String] = [
        "virtiofs": "virtiofs", "fuse.sshfs": "sshfs", "fuse.glusterfs": "GlusterFS",
    ]

    /// Throws if the WAL database at `path` lies on one of them.
    ///
    /// - Parameter name: another answer than the system's is for tests.
    package static func refuse(_ path: String, name: (String) -> String? = name) throws {
        guard let name = name(path) else { return }
        throw Failure(
            .unsupported,
            "\(path) is in WAL mode and lies on \(name), where its readers and writers may not see "
                + "each other: copy it to a local disk, or say --trust-fs if no other machine or "
                + "container has it open")
    }

    /// Its name, if the file at `path` lies on one of them.
    package static func name(of path: String) -> String? {
        var status = statfs()
        guard PathText.withCString(path, { statfs($0, &status) }) == 0 else { return nil }
        let number = UInt32(truncatingIfNeeded: status.f_type)
        return number == fuse ? fuseName(of: path) : numbers[number]
    }

    private static func fuseName(of path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0, let file = fopen("/proc/self/mountinfo", "r") else {
            return nil
        }
        defer { fclose(file) }
        let device = "\(major(status.st_dev)):\(minor(status.st_dev))"
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0 {
            // ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS… - TYPE SOURCE OPTIONS, see proc(5).
            let fields = String(cString: line!).split(separator: " ")
            guard fields.count > 2, fields[2] == device,
                let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count
            else { continue }
            return fuseNames[String(fields[dash + 1])]
        }
        return nil
    }

    /// As sys/sysmacros.h has them.
    private static func major(_ device: dev_t) -> UInt64 {
        (UInt64(device) >> 8 & 0xFFF) | (UInt64(device) >> 32 & ~0xFFF)
    }

    private static func minor(_ device: dev_t) -> UInt64 {
        (UInt64(device) & 0xFF) | (UInt64(device) >> 12 & ~0xFF)
    }
}
