import Bytes
import Engine
import Glibc
import Repository

/// What a mount is of, for programs that find it: `.ydbfs.json` in its root, which isn't listed.
///
/// Files are told by device and inode, as they are when the text is made: a path says little, since
/// links, bind mounts and what was put in a file's place make it another one's. Who reads it must know
/// from the kernel whose mount it is: anybody may mount a file of this name.
package struct MountFacts: Sendable, Equatable, Codable {
    package struct File: Sendable, Equatable, Codable {
        package var path: String
        package var device: UInt64
        package var inode: UInt64
    }

    /// Where the repository lies or will lie.
    package var location: String
    /// Nil as long as nothing was ever stored.
    package var repository: File?
    /// Nil if the mount has none, or it isn't there now.
    package var database: File?

    package static let fileName = ".ydbfs.json"

    init(_ engine: Engine) {
        self.init(location: engine.location, database: engine.databaseIdentity)
    }

    package init(location: Location, database: KnownDatabase?) {
        self.location = PathText.shown(location.description)
        repository = location.path.flatMap(File.init)
        self.database = database.map {
            File(path: $0.path, device: $0.device, inode: $0.inode)
        }
    }

    /// Whether this mount does what is asked of that database and repository.
    ///
    /// - Parameter needsDatabase: whether there is one that must be the mount's.
    package func serves(_ wanted: MountFacts, needsDatabase: Bool) -> Bool {
        let isPlace =
            if let place = wanted.repository { repository?.isSame(as: place) == true } else {
                repository == nil && location.hasSameBytes(as: wanted.location)
            }
        if !needsDatabase { return isPlace }
        guard let database, let other = wanted.database else { return false }
        return isPlace && database.isSame(as: other)
    }

    /// Another one for other files.
    var stamp: UInt64 { (database?.inode ?? 0) &* 31 &+ (repository?.inode ?? 0) }

    var text: [UInt8] {
        func json(_ file: File?) -> JSONText {
            file.map { file in
                .object([
                    ("path", .text(file.path)), ("device", .number(file.device)),
                    ("inode", .number(file.inode)),
                ])
            } ?? .null
        }
        return JSONText.object([
            ("location", .text(location)), ("repository", json(repository)),
            ("database", json(database)),
        ]).document
    }
}

extension MountFacts.File {
    fileprivate init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(path: path, device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    fileprivate func isSame(as other: Self) -> Bool {
        device == other.device && inode == other.inode
    }
}
