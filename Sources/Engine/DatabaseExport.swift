import Repository
import Tables

extension Engine {
    /// Writes a point, or some of its tables, into a database: as RESTORE does, but without a record of
    /// it, so that it needs no more of the repository than to be read.
    ///
    /// - Parameters:
    ///   - tables: paths; none: all of the point.
    ///   - operation: `Operation.unrecorded`, of this collection. What could not be written is told there.
    package func export(
        _ point: BackupPoint, tables: [String], _ operation: Operation
    ) throws {
        try restore(
            RestoreRequest(
                moment: .point(point.name),
                tables: tables.isEmpty ? nil : tables.map { ($0, $0) }),
            operation)
    }
}
