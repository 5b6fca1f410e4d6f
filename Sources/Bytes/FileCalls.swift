import Glibc

// The C library's calls that take a path, for paths as `PathText` has them: the kernel gets their bytes.
// In a file that imports `Bytes`, Swift takes these for a `String`, since nothing is to be converted.

package func open(_ path: String, _ flags: Int32) -> Int32 {
    PathText.withCString(path) { Glibc.open($0, flags) }
}

package func open(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    PathText.withCString(path) { Glibc.open($0, flags, mode) }
}

package func openat(_ folder: Int32, _ path: String, _ flags: Int32) -> Int32 {
    PathText.withCString(path) { Glibc.openat(folder, $0, flags) }
}

package func openat(_ folder: Int32, _ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    PathText.withCString(path) { Glibc.openat(folder, $0, flags, mode) }
}

package func fopen(_ path: String, _ mode: String) -> UnsafeMutablePointer<FILE>? {
    PathText.withCString(path) { Glibc.fopen($0, mode) }
}

package func opendir(_ path: String) -> OpaquePointer? {
    PathText.withCString(path) { Glibc.opendir($0) }
}

package func stat(_ path: String, _ status: UnsafeMutablePointer<stat>) -> Int32 {
    PathText.withCString(path) { stat($0, status) }
}

package func lstat(_ path: String, _ status: UnsafeMutablePointer<stat>) -> Int32 {
    PathText.withCString(path) { Glibc.lstat($0, status) }
}

package func fstatat(
    _ folder: Int32, _ path: String, _ status: UnsafeMutablePointer<stat>, _ flags: Int32
) -> Int32 {
    PathText.withCString(path) { Glibc.fstatat(folder, $0, status, flags) }
}

package func statvfs(_ path: String, _ status: UnsafeMutablePointer<statvfs>) -> Int32 {
    PathText.withCString(path) { statvfs($0, status) }
}

package func access(_ path: String, _ mode: Int32) -> Int32 {
    PathText.withCString(path) { Glibc.access($0, mode) }
}

package func faccessat(
    _ folder: Int32, _ path: String, _ mode: Int32, _ flags: Int32
) -> Int32 {
    PathText.withCString(path) { Glibc.faccessat(folder, $0, mode, flags) }
}

@discardableResult
package func mkdir(_ path: String, _ mode: mode_t) -> Int32 {
    PathText.withCString(path) { Glibc.mkdir($0, mode) }
}

package func mkdirat(_ folder: Int32, _ path: String, _ mode: mode_t) -> Int32 {
    PathText.withCString(path) { Glibc.mkdirat(folder, $0, mode) }
}

@discardableResult
package func rmdir(_ path: String) -> Int32 { PathText.withCString(path) { Glibc.rmdir($0) } }

@discardableResult
package func unlink(_ path: String) -> Int32 { PathText.withCString(path) { Glibc.unlink($0) } }

package func unlinkat(_ folder: Int32, _ path: String, _ flags: Int32) -> Int32 {
    PathText.withCString(path) { Glibc.unlinkat(folder, $0, flags) }
}

package func link(_ path: String, _ name: String) -> Int32 {
    PathText.withCString(path) { path in PathText.withCString(name) { Glibc.link(path, $0) } }
}

package func linkat(
    _ folder: Int32, _ path: String, _ other: Int32, _ name: String, _ flags: Int32
) -> Int32 {
    PathText.withCString(path) { path in
        PathText.withCString(name) { Glibc.linkat(folder, path, other, $0, flags) }
    }
}

package func rename(_ path: String, _ name: String) -> Int32 {
    PathText.withCString(path) { path in PathText.withCString(name) { Glibc.rename(path, $0) } }
}

package func renameat(
    _ folder: Int32, _ path: String, _ other: Int32, _ name: String
) -> Int32 {
    PathText.withCString(path) { path in
        PathText.withCString(name) { Glibc.renameat(folder, path, other, $0) }
    }
}

package func chmod(_ path: String, _ mode: mode_t) -> Int32 {
    PathText.withCString(path) { Glibc.chmod($0, mode) }
}

package func umount2(_ path: String, _ flags: Int32) -> Int32 {
    PathText.withCString(path) { Glibc.umount2($0, flags) }
}

/// Also for words that another program is given, and for its environment.
package func strdup(_ path: String) -> UnsafeMutablePointer<CChar>? {
    PathText.withCString(path) { Glibc.strdup($0) }
}
