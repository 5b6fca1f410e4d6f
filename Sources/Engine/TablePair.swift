import Bytes
import Repository
import Tables

/// A table in two points, or in one of them: by its path, since one that came again under its path is the
/// same to those who look.
package struct TablePair: Sendable {
    package let old: TableRecord?
    package let new: TableRecord?
    private let areOneCollection: Bool

    /// By path in byte order.
    ///
    /// - Parameter areOneCollection: whether both points are of one.
    package static func all(
        _ old: [TableRecord], _ new: [TableRecord], areOneCollection: Bool = true
    ) -> [TablePair] {
        var gone: [[UInt8]: TableRecord] = [:]
        for table in old { gone[Array(table.path.utf8)] = table }
        let pairs = new.map { table in
            TablePair(
                old: gone.removeValue(forKey: Array(table.path.utf8)), new: table,
                areOneCollection: areOneCollection)
        }
        let rest = gone.values.map {
            TablePair(old: $0, new: nil, areOneCollection: areOneCollection)
        }
        return (pairs + rest).sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    private var either: TableRecord { (new ?? old)! }
    package var id: UInt32 { either.id }
    package var path: String { either.path }

    /// Whether equal ids of columns mean the same column.
    package var isOneTable: Bool {
        old == nil || new == nil || areOneCollection && old?.id == new?.id
    }

    /// Whether what is stored is the same, so that no row can have changed.
    package var isStoredOnce: Bool {
        guard let old, let new else { return false }
        return areOneCollection && old.snapshot == new.snapshot && old.schema == new.schema
    }

    /// Whether its text is the same.
    package var hasSameText: Bool {
        guard let old, let new else { return false }
        return old.sql.hasSameBytes(as: new.sql)
    }

    /// False only if nothing can have changed.
    package var hasChanges: Bool { !isStoredOnce || !hasSameText }
}
