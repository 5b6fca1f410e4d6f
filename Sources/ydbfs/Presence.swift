import Bytes
import Glibc

/// How `unmount` knows that the process behind a mount has ended: as long as it lives it holds a
/// lock on the directory below the mount, which others see again once the tree is gone.
///
/// Nothing depends on it: where such a lock isn't possible, `unmount` just doesn't wait.
final class Presence {
    private let descriptor: Int32

    /// - Parameter directory: the mount point before anything is mounted on it.
    init(at directory: String) {
        descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor >= 0 { _ = flock(descriptor, LOCK_EX | LOCK_NB) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Waits until nobody holds the lock; false if somebody still does after `seconds`.
    static func waitForEnd(at directory: String, seconds: Double) -> Bool {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        // A directory that was made for the mount is removed at its end.
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        let pauseMicroseconds: UInt32 = 10_000
        for _ in 0...Int(seconds * 1e6 / Double(pauseMicroseconds)) {
            if flock(descriptor, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK { return true }
            usleep(pauseMicroseconds)
        }
        return false
    }
}
