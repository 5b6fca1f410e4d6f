import Bytes
import Engine
import Glibc

/// How far an operation is.
struct OperationProgress: Sendable, Equatable {
    var rows: UInt64 = 0
    var totalRows: UInt64?
    /// What is counted.
    var unit = "rows"
    /// What it waits for, if it does.
    var waitsFor: String?
}

/// An accepted statement, whoever works on it.
protocol SubmittedOperation: Sendable {
    var statement: String { get }
    func progress() -> OperationProgress
    /// How it ended; nil if it goes on after `seconds`.
    func wait(seconds: Double) -> OperationReport?
    /// What is known without waiting.
    func now() -> OperationReport
    func cancel()
}

/// Who carries statements out.
protocol StatementTarget {
    /// Accepts these statements of the text, all or none.
    func submit(_ statements: [Statement], of text: StatementText) throws
        -> [any SubmittedOperation]
    /// Whether the operations go on when this process ends.
    var outlivesUs: Bool { get }
    func close()
}

/// This process does it: no mount is needed.
struct EngineTarget: StatementTarget {
    private let engine: Engine
    let outlivesUs = false
    private static let cacheBytes = 64 << 20

    init(_ source: SourceArgument, _ options: Engine.Options) throws {
        var options = options
        options.isBesideDatabase = source.isBesideDatabase
        options.storage = source.storage
        try source.importPoints()
        options.points = source.points
        engine = try Engine(
            location: source.location, database: source.database,
            cache: SharedCache(maxBytes: Self.cacheBytes), options: options)
        if let note = engine.ownershipNote { Output.remark("note: \(note)") }
    }

    func submit(
        _ statements: [Statement], of text: StatementText
    ) throws -> [any SubmittedOperation] {
        do throws(Failure) {
            return try engine.submit(statements, owner: geteuid())
                .map { EngineOperation(engine: engine, operation: $0) }
        } catch {
            throw text.pointing(error)
        }
    }

    func close() { engine.close() }
}

private struct EngineOperation: SubmittedOperation {
    let engine: Engine
    let operation: Operation
    var statement: String { operation.statement }

    func progress() -> OperationProgress {
        let status = operation.status
        return OperationProgress(
            rows: status.rows, totalRows: status.totalRows, waitsFor: status.waitsFor)
    }

    func wait(seconds: Double) -> OperationReport? {
        // Others may ask to cancel it.
        try? engine.refresh()
        return operation.wait(seconds: seconds).map { OperationReport(operation, $0) }
    }

    func now() -> OperationReport { OperationReport(operation, operation.status) }

    func cancel() { operation.cancel() }
}
