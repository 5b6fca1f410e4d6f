import Bytes
import Glibc

/// Tells systemd how far a service of `Type=notify` is (sd_notify(3)): a datagram to the socket that the
/// environment names. Nothing happens without one.
enum ServiceManager {
    static func tell(_ state: String) {
        guard let socketName = PathText.environment("NOTIFY_SOCKET") else { return }
        var path = PathText.bytes(socketName)
        var address = sockaddr_un()
        guard path.count > 1, path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return
        }
        // A name without a file begins with a zero.
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let text = Array(state.utf8)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, text, text.count, 0, $0, length)
            }
        }
    }
}
