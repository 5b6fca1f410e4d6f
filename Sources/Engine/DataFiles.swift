import Bytes
import Repository
import Synchronization
import Tables

/// The files that one backup writes, as `Tables` wants them.
final class DataFiles: FileFactory {
    private let lock: WriterLock
    private let operation: Operation
    private let room: RoomWatch
    private var rowFiles: [UInt64: DataFileWriter] = [:]
    private var index: DataFileWriter?
    private var finished: [FileReference] = []
    /// Files of tables that had to be begun anew.
    private(set) var hasAbandoned = false
    private var tableFiles: [UInt64] = []
    /// The `tid` of the table that row files are of.
    private(set) var table = ""

    init(_ lock: WriterLock, operation: Operation, room: RoomWatch) {
        self.lock = lock
        self.operation = operation
        self.room = room
    }

    func createRowFile() throws -> (number: UInt64, sink: any ByteSink) {
        let writer = try create(.parquet, table: table)
        rowFiles[writer.number] = writer
        tableFiles.append(writer.number)
        return (writer.number, writer)
    }

    private func create(_ kind: DataFileKind, table: String? = nil) throws -> DataFileWriter {
        let writer = try lock.createFile(kind, table: table)
        writer.willWrite = { [operation, room] bytes in
            try room.willWrite(bytes)
            try operation.willWrite(bytes)
        }
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

    /// From here on row files belong to another table, the one of this `tid`.
    func beginTable(_ tid: String) {
        tableFiles = []
        table = tid
    }

    /// The row files of the present table are complete and stay, whatever becomes of the next one.
    func endTable() { tableFiles = [] }

    /// The row files of the present table are of no use.
    func abandonTable() {
        for number in tableFiles {
            rowFiles[number] = nil
            finished.removeAll { $0.number == number }
        }
        hasAbandoned = hasAbandoned || !tableFiles.isEmpty
        tableFiles = []
    }

    /// Ends the present index, so that it can be read, and answers it; what follows goes to another
    /// one. Nil if none was begun.
    func endIndex() throws -> FileReference? {
        guard let index else { return nil }
        self.index = nil
        let file = try index.finish(rows: 0)
        finished.append(file)
        return file
    }

    /// Ends the index and answers all files of the point.
    func finish() throws -> [FileReference] {
        precondition(rowFiles.isEmpty)
        _ = try endIndex()
        return finished.sorted { $0.number < $1.number }
    }
}

/// Opens the stored files of one collection for reading.
package final class CollectionFiles: FileOpener {
    private struct State: Sendable {
        var collection: CollectionState
        /// Files that the collection doesn't name yet.
        var added: [UInt64: FileReference] = [:]
        /// Files that must stay readable, and how many ask for it.
        var held: [UInt64: (file: FileReference, count: Int)] = [:]
    }

    private let repository: Repository
    private let state: Mutex<State>

    /// - Parameter uncommitted: files that are complete, but that no entry names yet.
    init(
        _ repository: Repository, _ collection: CollectionState, uncommitted: [FileReference] = []
    ) {
        self.repository = repository
        state = Mutex(State(collection: collection))
        add(uncommitted)
    }

    /// `CollectionState.epoch` of the collection whose files they are.
    var epoch: UInt64 { state.withLock(\.collection.epoch) }

    /// The collection has changed.
    func update(_ newer: CollectionState) {
        state.withLock { if newer.lastEntry > $0.collection.lastEntry { $0.collection = newer } }
    }

    /// These files are written, and an entry will name them.
    func add(_ files: [FileReference]) {
        state.withLock { for file in files { $0.added[file.number] = file } }
    }

    package func open(file number: UInt64) throws -> any RandomAccess {
        let (collection, file) = try state.withLock { state throws(Failure) in
            let file =
                state.collection.files[number] ?? state.held[number]?.file ?? state.added[number]
            guard let file else {
                throw Failure(
                    .stale,
                    "file \(number) of \(state.collection.name) is gone: its points were "
                        + "dropped")
            }
            return (state.collection, file)
        }
        return repository.file(file, of: collection)
    }

    /// Keeps these files readable until the last hold of them goes. One that is gone already stays so.
    func hold(_ numbers: [UInt64]) -> PointHold {
        let (collection, files) = state.withLock { state in
            let files = numbers.compactMap { number -> FileReference? in
                guard let file = state.collection.files[number] ?? state.held[number]?.file else {
                    return nil
                }
                state.held[number, default: (file, 0)].count += 1
                return file
            }
            return (state.collection, files)
        }
        return PointHold(files: self, held: files, repository.hold(files, of: collection))
    }

    fileprivate func release(_ files: [FileReference]) {
        state.withLock { state in
            for file in files {
                state.held[file.number]?.count -= 1
                if state.held[file.number]?.count == 0 { state.held[file.number] = nil }
            }
        }
    }
}

/// Keeps what a point's table needs readable in this process while it lives.
package final class PointHold: Sendable {
    private let files: CollectionFiles
    private let held: [FileReference]
    private let stored: FileHold

    fileprivate init(files: CollectionFiles, held: [FileReference], _ stored: FileHold) {
        self.files = files
        self.held = held
        self.stored = stored
    }

    deinit { files.release(held) }
}
