import Bytes

/// What a file is, in 128 bits: two files never have the same one, and a file has it in every mount.
///
/// A hash under a secret, as rows and names are chosen by others. Of a collection's files the secret
/// follows from its id, which nobody chooses.
struct FileIdentity: Hashable, Sendable {
    /// What of a collection, a point or a table a file is. Numbers, once given, stay.
    enum Kind: UInt64 {
        // Of the mount.
        case root = 1
        case readme, cacheTag, control, errors, metrics, operations, latestOperation
        case operation, statement, state, progress, error, wait, cancel
        case facts = 24
        // Of a collection.
        case collection = 32
        case collectionControl, status, newestOperation, definition, chain, chainJSON, latest
        case latestFull, previous, oldest, asOf, changes, diffs, byKey, history, chainSVG, dumps
        // Of a point: the sequence is the first number.
        case point = 64
        case manifest
        // In whichever format: its word tells them apart.
        case rendered
        case sql
        case sums = 69
        case rowsOfPoint
        case dump, dumpText, dumpTable, dumpScheme, dumpPermissions, dumpData
        // Below another file.
        case lookupReadme = 128
        case asOfLink, diff, diffSummary, diffSchema, renderedDiff
        case rows = 135
        case row, rowHistory
    }

    private let hash: UInt128

    /// For what follows from the file and is kept in the shared cache.
    var cacheKey: SharedCache.Key {
        SharedCache.Key(
            owner: 0, kind: 1, UInt64(truncatingIfNeeded: hash),
            UInt64(truncatingIfNeeded: hash >> 64))
    }

    init(
        _ kind: Kind, _ a: UInt64 = 0, _ b: UInt64 = 0, _ c: UInt64 = 0, text: String = "",
        under secret: KeyedHash
    ) {
        hash = secret((kind.rawValue, a, b, c), text)
    }

    /// Of a file of the mount itself.
    init(_ kind: Kind, _ number: UInt64 = 0) {
        self.init(kind, number, under: Self.mountSecret)
    }

    /// Of a file below this one.
    func below(_ kind: Kind, _ number: UInt64 = 0, text: String = "") -> FileIdentity {
        FileIdentity(
            kind, number, UInt64(truncatingIfNeeded: hash), UInt64(truncatingIfNeeded: hash >> 64),
            text: text, under: Self.mountSecret)
    }

    private static let mountSecret = KeyedHash(deriving: "ydbfs mount")

    /// The number that `stat` shows. If two files had the same one, programs would take them for one;
    /// the kernel goes by `NodeID`.
    var inode: Inode {
        let number = Inode(truncatingIfNeeded: hash)
        // 0 hides an entry from some programs, and 1 is the root's.
        return number < 2 ? number + 2 : number
    }
}
