import Bytes

/// The address of a repository, read once from what the user wrote: whoever has one needn't know which
/// kind of storage it asks for.
package enum Location: Sendable, Hashable, CustomStringConvertible {
    /// By its absolute path, without symbolic links as far as it exists.
    case directory(String)

    /// Schemes of addresses that aren't paths, and what to say of them.
    private static let unbuilt = ["s3://": "repositories on S3 aren't"]

    /// Throws `.unsupported` for the address of a storage that isn't built yet.
    package static func refuseUnbuilt(_ text: String) throws(Failure) {
        for (scheme, what) in unbuilt where text.lowercased().hasPrefix(scheme) {
            throw Failure(
                .unsupported, "\(text): \(what) built yet in this version: name a directory")
        }
    }

    /// As users write it, and as the kernel shows the source of a mount.
    package var description: String {
        switch self {
        case .directory(let path): path
        }
    }

    /// Its place in the file system; nil if it has none.
    package var path: String? {
        switch self {
        case .directory(let path): path
        }
    }

    /// Whether a path, canonical too, is the location or lies in it.
    package func contains(_ other: String) -> Bool {
        path.map { (other + "/").utf8.starts(with: ($0 + "/").utf8) } ?? false
    }

    /// Where objects are read and written. Nothing is touched before something is asked for.
    ///
    /// - Parameter owner: whose it becomes, if root makes it.
    package func storage(owner: FileOwner? = nil) -> any Storage {
        switch self {
        case .directory(let path): DirectoryStorage(path, owner: owner)
        }
    }
}
