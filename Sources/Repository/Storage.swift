import Bytes

/// Where a repository's objects lie. Names are relative paths with `/`, made by this module only:
/// letters, digits, `.`, `-`; never a user's text.
///
/// The promises are those that both a POSIX directory and an S3 bucket can keep: objects are made
/// once and never changed, a name is published or not, and nothing rests on a listing being
/// complete. Every method may be called from any thread.
package protocol Storage: Sendable {
    /// What users call this place, for messages.
    var location: String { get }

    /// Last components of the names directly under `directory`, in no order; none if there is no
    /// such directory.
    func list(_ directory: String) throws -> [String]

    /// A whole small object; nil if there is none. Longer than `limit` bytes is `.corrupt`.
    func read(_ name: String, limit: Int) throws -> [UInt8]?

    /// Bytes of the object; nil if there is none.
    func size(of name: String) throws -> UInt64?

    /// Whether anything has the name, also what can be no object.
    func isTaken(_ name: String) throws -> Bool

    /// An object to read at any place; nil if there is none.
    func open(_ name: String) throws -> (any StoredObject)?

    /// For new objects that are made durable together, when there are all of them.
    func beginBatch() -> any ObjectBatch

    /// Makes an object of these bytes, whole and durable when this returns true. False when the name
    /// is taken; nothing is changed then. The one primitive that all commits rest on.
    func putIfAbsent(_ bytes: [UInt8], as name: String) throws -> Bool

    /// What is written takes the place of the object of this name, if there is one, when `finish` is
    /// called; until then, and if it never is, the old one stays. For what may be lost at any time:
    /// after a power cut the old one may be there, the new one, one in part, or none.
    func replace(_ name: String) throws -> any ObjectWriter

    /// What is listed in `directory` now stays listed after a power cut: for readers who build on
    /// what a killed process left.
    func settle(_ directory: String) throws

    /// Gives an object, whole or damaged, a name beside its own that nothing looks for, and answers its
    /// last component: `0000000007.json.damaged`. Nothing is lost by it.
    func setAside(_ name: String) throws -> String

    /// Gives an object, or a directory with all that is in it, another name; none there is success.
    func move(_ directory: String, to name: String) throws

    /// Removes an object; none there is success.
    func remove(_ name: String) throws

    /// Removes a directory that has nothing left in it, where such a thing exists. Best effort.
    func removeEmpty(_ directory: String)

    /// Removes what killed processes left half made in `directory` and that has no name yet, if it
    /// is at least this old.
    func removeUnfinished(in directory: String, olderThan seconds: Int64) throws

    /// Makes an object of so many bytes that holds nothing, with its room taken, so that `remove` gives
    /// it back; nothing where there is no such thing, or the name is taken. Throws if there is no room.
    func holdRoom(_ bytes: UInt64, as name: String) throws

    /// Gives back all but so many bytes of what `holdRoom` took, or all of it.
    func giveBackRoom(keeping bytes: UInt64, of name: String) throws

    /// Exclusive ownership of `name` until the lock is released or the process ends; nil when
    /// somebody else has it.
    func lock(_ name: String) throws -> (any StorageLock)?

    /// Whether somebody, in this process or another one, has the lock now. False if nobody ever had.
    func isLocked(_ name: String) throws -> Bool

    /// Room there; nil where there is no limit to speak of.
    func space() throws -> Space?
}

extension Storage {
    package func move(_ directory: String, to name: String) throws {
        throw Failure(.unsupported, "\(location) has no directories that could be renamed")
    }

    package func isTaken(_ name: String) throws -> Bool { try size(of: name) != nil }

    /// `putIfAbsent`, but meeting the very same bytes under the name is success too, since an answer
    /// may have been lost. False when other bytes have the name.
    package func publish(_ bytes: [UInt8], as name: String) throws -> Bool {
        if try putIfAbsent(bytes, as: name) { return true }
        guard try size(of: name) == UInt64(bytes.count), try read(name, limit: bytes.count) == bytes
        else { return false }
        // Whoever made it may have been killed before it was durable.
        try settle(name.lastIndex(of: "/").map { String(name[..<$0]) } ?? "")
        return true
    }
}

/// An immutable object, read by any thread at any place.
package protocol StoredObject: Sendable {
    var sizeBytes: UInt64 { get throws }
    /// Fills `buffer` from `offset`; fewer bytes only where the object ends.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws -> Int
    /// Says that these bytes are going to be read soon.
    func willNeed(at offset: UInt64, count: Int)
}

/// Objects being written. Any thread may call any method.
package protocol ObjectBatch: AnyObject, Sendable {
    /// A new object to be written from front to back. The name must be new.
    func create(_ name: String) throws -> any ObjectWriter

    /// Durable when this returns: every object that was finished. Throws ever after once something
    /// couldn't be made durable.
    func settle() throws
}

/// An object being written, by one thread at a time.
package protocol ObjectWriter: AnyObject {
    func append(_ bytes: UnsafeRawBufferPointer) throws
    /// Whole under its name when this returns, but not durable before its batch is settled. Called at
    /// most once; never after an error.
    func finish() throws
}

/// Held until the last reference goes.
package protocol StorageLock: AnyObject, Sendable {
    /// False once the lock is known to be lost: asked before something is built on it.
    var isHeld: Bool { get throws }
}
