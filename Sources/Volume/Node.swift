import Bytes

/// What an inode number means. The number says it all: no table of inodes is kept, numbers are the
/// same in every mount, and sequences and table ids are never used again, so that a new file never
/// meets the cached pages of an old one.
///
/// ```
/// bits 60…63  class          40…59  collection   20…39  sequence     0…19  item
/// 0  fixed: the number itself, 1 is the root
/// 1  operation: id in bits 8…59, what in bits 0…7
/// 2  collection: what in item
/// 3  point or a directory in it: item is the directory's index
/// 4  backup.json of a point     5  a table's CSV: item is the table's id     6  its SQL
/// 7  a table's Parquet
/// ```
enum Node: Hashable {
    enum RootFile: UInt64, CaseIterable {
        case readme = 2
        case cacheTag, control, errors
    }
    enum OperationFile: UInt64, CaseIterable {
        case statement = 1
        case state, progress, error, wait, cancel
    }
    enum CollectionFile: UInt64, CaseIterable {
        case control = 1
        case status, operation, sql, chain, chainJSON, latest
    }

    /// What a table has in a point; the raw values are inode classes.
    enum TableFile: UInt64, CaseIterable {
        case csv = 5
        case sql, parquet
    }

    case root
    case rootFile(RootFile)
    case operations
    case latestOperation
    case operation(UInt64)
    case operationFile(UInt64, OperationFile)
    case collection(UInt64)
    case collectionFile(UInt64, CollectionFile)
    case pointDirectory(collection: UInt64, sequence: UInt64, index: UInt64)
    case manifest(collection: UInt64, sequence: UInt64)
    case tableFile(TableFile, collection: UInt64, sequence: UInt64, table: UInt64)

    static let fieldLimit: UInt64 = 1 << 20
    private static let operationsInode: Inode = 16
    private static let latestOperationInode: Inode = 17

    /// Nil if a number is too large to be shown: beyond a million points or tables.
    var inode: Inode? {
        switch self {
        case .root: return 1
        case .rootFile(let file): return file.rawValue
        case .operations: return Self.operationsInode
        case .latestOperation: return Self.latestOperationInode
        case .operation(let id): return id < 1 << 52 ? 1 << 60 | id << 8 : nil
        case .operationFile(let id, let file):
            return id < 1 << 52 ? 1 << 60 | id << 8 | file.rawValue : nil
        case .collection(let number): return Self.pack(2, number, 0, 0)
        case .collectionFile(let number, let file): return Self.pack(2, number, 0, file.rawValue)
        case .pointDirectory(let number, let sequence, let index):
            return Self.pack(3, number, sequence, index)
        case .manifest(let number, let sequence): return Self.pack(4, number, sequence, 0)
        case .tableFile(let file, let number, let sequence, let table):
            return Self.pack(file.rawValue, number, sequence, table)
        }
    }

    private static func pack(
        _ kind: UInt64, _ collection: UInt64, _ sequence: UInt64, _ item: UInt64
    ) -> Inode? {
        guard collection < fieldLimit, sequence < fieldLimit, item < fieldLimit else { return nil }
        return kind << 60 | collection << 40 | sequence << 20 | item
    }

    init?(inode: Inode) {
        let mask = Self.fieldLimit - 1
        let collection = inode >> 40 & mask
        let sequence = inode >> 20 & mask
        let item = inode & mask
        switch inode >> 60 {
        case 0:
            if inode == 1 {
                self = .root
            } else if let file = RootFile(rawValue: inode) {
                self = .rootFile(file)
            } else if inode == Self.operationsInode {
                self = .operations
            } else if inode == Self.latestOperationInode {
                self = .latestOperation
            } else {
                return nil
            }
        case 1:
            let id = inode >> 8 & (1 << 52 - 1)
            if inode & 0xFF == 0 {
                self = .operation(id)
            } else if let file = OperationFile(rawValue: inode & 0xFF) {
                self = .operationFile(id, file)
            } else {
                return nil
            }
        case 2:
            if item == 0 {
                self = .collection(collection)
            } else if let file = CollectionFile(rawValue: item) {
                self = .collectionFile(collection, file)
            } else {
                return nil
            }
        case 3: self = .pointDirectory(collection: collection, sequence: sequence, index: item)
        case 4: self = .manifest(collection: collection, sequence: sequence)
        default:
            guard let file = TableFile(rawValue: inode >> 60) else { return nil }
            self = .tableFile(file, collection: collection, sequence: sequence, table: item)
        }
    }
}

extension Node.RootFile {
    var name: String {
        switch self {
        case .readme: "README"
        case .cacheTag: "CACHEDIR.TAG"
        case .control: "control"
        case .errors: "errors"
        }
    }
}

extension Node.TableFile {
    /// What names end in. Not from the case's name, which takes longer to print than all the rest of
    /// a look-up.
    var suffix: String {
        switch self {
        case .csv: ".csv"
        case .sql: ".sql"
        case .parquet: ".parquet"
        }
    }
}

extension Node.OperationFile {
    var name: String {
        switch self {
        case .statement: "statement"
        case .state: "state"
        case .progress: "progress"
        case .error: "error"
        case .wait: "wait"
        case .cancel: "cancel"
        }
    }
}

extension Node.CollectionFile {
    var name: String {
        switch self {
        case .control: "control"
        case .status: "status"
        case .operation: "operation"
        case .sql: "collection.sql"
        case .chain: "chain"
        case .chainJSON: "chain.json"
        case .latest: "latest"
        }
    }

    var isSymlink: Bool { self == .operation || self == .latest }
}
