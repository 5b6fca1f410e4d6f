import Bytes
import Engine

/// The tree that one mount shows.
package final class Volume {
    package struct Options: Sendable {
        /// Owner of every file, and permission bits taken away.
        package var uid: UInt32
        package var gid: UInt32
        package var umask: UInt16 = 0
        /// Permissions of control files.
        package var controlMode: UInt16 = 0o600

        package init(uid: UInt32, gid: UInt32) {
            self.uid = uid
            self.gid = gid
        }
    }

    /// - Parameter source: what the user named, for the mount's README.
    package init(engine: Engine, source: String, options: Options) {}

    /// Ends the threads behind it; what is open stays readable.
    package func close() {}
}
