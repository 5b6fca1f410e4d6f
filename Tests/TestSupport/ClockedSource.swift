import Bytes
import Synchronization
import Tables

/// A clock that tests set: hours and years pass in no time.
package final class TestClock: Sendable {
    private let time: Atomic<Int64>

    /// - Parameter microseconds: since 1970.
    package init(_ microseconds: Int64) { time = Atomic(microseconds) }

    package var microseconds: Int64 { time.load(ordering: .sequentiallyConsistent) }

    package func advance(seconds: Int64) { advance(microseconds: seconds * 1_000_000) }

    package func advance(microseconds: Int64) {
        time.add(microseconds, ordering: .sequentiallyConsistent)
    }
}

/// A source whose cuts are at the time that a clock shows; everything else is as the real one has it.
package struct ClockedSource: ForwardedRestores {
    package let base: any RestorableSource
    private let clock: TestClock

    package init(_ base: any RestorableSource, _ clock: TestClock) {
        self.base = base
        self.clock = clock
    }

    package var name: String { base.name }

    package var sizeBytes: UInt64? { base.sizeBytes }

    package func listTables() throws -> [SourceTable] { try base.listTables() }

    package func openCut(_ request: CutRequest) throws -> any SourceCut {
        ClockedCut(base: try base.openCut(request), instant: clock.microseconds)
    }
}

private final class ClockedCut: SourceCut {
    private let base: any SourceCut
    let instant: Int64

    init(base: any SourceCut, instant: Int64) {
        self.base = base
        self.instant = instant
    }

    func listTables() throws -> [SourceTable] { try base.listTables() }

    func describe(
        _ path: String, parent: TableSchema?, nextColumnID: UInt32, exactly: Bool
    ) throws -> TableDescription {
        try base.describe(path, parent: parent, nextColumnID: nextColumnID, exactly: exactly)
    }

    func countRows(_ path: String) throws -> UInt64 { try base.countRows(path) }

    func scan(
        _ path: String, schema: TableSchema, checkpoint: @escaping () throws -> Void
    ) throws -> any RowCursor {
        try base.scan(path, schema: schema, checkpoint: checkpoint)
    }

    func rows(
        _ path: String, schema: TableSchema
    ) throws -> (rows: any RowCursor, inKeyOrder: Bool) {
        try base.rows(path, schema: schema)
    }

    func changes(_ path: String, schema: TableSchema, parentRows: UInt64) throws -> Changes {
        try base.changes(path, schema: schema, parentRows: parentRows)
    }

    var views: String { base.views }

    var facts: DatabaseFacts? { get throws { try base.facts } }

    var notes: [String] { base.notes }

    func writeKnowledge(to sink: any ByteSink) throws { try base.writeKnowledge(to: sink) }

    func close() { base.close() }
}
