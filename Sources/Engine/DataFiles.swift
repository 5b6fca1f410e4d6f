import Bytes
import Repository
import Synchronization
import Tables

/// The files that one backup writes, as `Tables` wants them.
final class DataFiles: FileFactory {
    private let lock: WriterLock
    private let operation: Operation
    private var rowFiles: [UInt64: DataFileWriter] = [:]
    private var index: DataFileWriter?
    private var finished: [FileReference] = []
    /// Files of tables that had to be begun anew.
    private(set) var hasAbandoned = false
    private var tableFiles: [UInt64] = []

    init(_ lock: WriterLock, operation: Operation) {
        self.lock = lock
        self.operation = operation
    }

    func createRowFile() throws -> (number: UInt64, sink: any ByteSink) {
        let writer = try create(.parquet)
        rowFiles[writer.number] = writer
        tableFiles.append(writer.number)
        return (writer.number, writer)
    }

    private func create(_ kind: DataFileKind) throws -> DataFileWriter {
        let writer = try lock.createFile(kind)
        writer.willWrite = { [operation] in try operation.willWrite($0) }
        return writer
    }

    func finishRowFile(_ number: UInt64, rows: UInt64) throws {
        finished.append(try rowFiles.removeValue(forKey: number)!.finish(rows: rows))
    }

    func indexFile() throws -> (number: UInt64, sink: any ByteSink) {
        let writer = try index ?? create(.idx)
        index = writer
        return (writer.number, writer)
    }

    func progress(rows: UInt64) throws {
        operation.update { $0.rows += rows }
        try operation.checkpoint()
    }

    /// From here on files belong to another table.
    func beginTable() { tableFiles = [] }

    /// The row files of the present table are of no use.
    func abandonTable() {
        for number in tableFiles {
            rowFiles[number] = nil
            finished.removeAll { $0.number == number }
        }
        hasAbandoned = hasAbandoned || !tableFiles.isEmpty
        tableFiles = []
    }

    /// Makes the index durable and answers all files of the backup.
    func finish() throws -> [FileReference] {
        precondition(rowFiles.isEmpty)
        if let index { finished.append(try index.finish(rows: 0)) }
        index = nil
        return finished.sorted { $0.number < $1.number }
    }
}

/// Opens the stored files of one collection for reading.
package final class CollectionFiles: FileOpener {
    private let repository: Repository
    private let state: Mutex<CollectionState>
    private let uncommitted: [UInt64: FileReference]

    /// - Parameter uncommitted: files that are complete, but that no entry names yet.
    init(
        _ repository: Repository, _ state: CollectionState, uncommitted: [FileReference] = []
    ) {
        self.repository = repository
        self.state = Mutex(state)
        self.uncommitted = Dictionary(
            uniqueKeysWithValues: uncommitted.map { ($0.number, $0) })
    }

    /// The collection has grown.
    func update(_ newer: CollectionState) {
        state.withLock { if newer.lastEntry > $0.lastEntry { $0 = newer } }
    }

    package func open(file number: UInt64) throws -> any RandomAccess {
        let state = state.withLock(\.self)
        if let reference = uncommitted[number] { return repository.file(reference, of: state) }
        return try repository.file(number, of: state)
    }
}
