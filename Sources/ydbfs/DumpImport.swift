import Bytes
import DumpSource
import Engine
import Fuse
import Glibc
import Repository
import Tables

/// Backups that others have made and SOURCE names: what is new there is taken in before anything else.
extension SourceArgument {
    private static let importCacheBytes = 64 << 20

    /// Nil if SOURCE is no such thing.
    var points: (any PointSource)? {
        guard case .dump(let directory) = kind else { return nil }
        let file = PathText.environment("YDB_ENCRYPTION_KEY_FILE").map {
            (try? Paths.absolute($0)) ?? $0
        }
        return DumpSource(
            directory: directory,
            key: DumpKey(digits: PathText.environment("YDB_ENCRYPTION_KEY"), file: file))
    }

    /// Imports what is new, and tells on the error stream what is to be told of it.
    func importPoints() throws {
        for line in try importNewPoints() { Output.remark(line) }
    }

    /// Imports what is new, which takes no time if nothing is; answers what the user should know. Throws
    /// if there is nothing to show.
    func importNewPoints() throws -> [String] {
        guard let points else { return [] }
        var options = Engine.Options()
        options.points = points
        options.storage = storage
        let engine = try Engine(
            location: location, database: nil, cache: SharedCache(maxBytes: Self.importCacheBytes),
            options: options)
        defer { engine.close() }
        var lines: [String] = []
        do {
            let (statements, notes) = try engine.newPoints()
            lines += notes.map { "note: \($0)" }
            for statement in statements {
                let collection = statement.collection.name
                let report = try run(statement, engine)
                lines += report.notes.map { "note: \(collection)/\(oneLine($0))" }
                lines += report.leftOutLines.map { "left out: \(collection)/\($0)" }
                if report.error != nil { lines.append("\(collection): \(report.line)") }
                if report.state == "cancelled" { break }
            }
        } catch let failure as Failure {
            if engine.collections.isEmpty { throw failure }
            lines.append("\(failure.message): showing what was imported before")
        }
        if engine.collections.allSatisfy({ $0.points.isEmpty }) {
            throw Failure(
                .invalid,
                (lines.last ?? "\(name) has no backups in it") + ": there is nothing to show")
        }
        return lines
    }

    /// Carries out a `PULL`; signals that come meanwhile cancel it.
    private func run(_ statement: Statement, _ engine: Engine) throws -> OperationReport {
        let operation: Operation
        do throws(Failure) {
            operation = try engine.submit([statement], owner: geteuid())[0]
        } catch {
            var report = OperationReport(id: 0, statement: statement.text, state: "refused")
            report.error = error.message
            return report
        }
        let (secondsBeforeBar, secondsBetween) = (0.3, 0.2)
        var status = operation.wait(seconds: secondsBeforeBar)
        let bar = Output.showsProgress ? ProgressBar(operation.statement) : nil
        while status == nil {
            if Signals.takePending() { operation.cancel() }
            let now = operation.status
            bar?.draw(OperationProgress(rows: now.rows, totalRows: now.totalRows))
            status = operation.wait(seconds: secondsBetween)
        }
        bar?.erase()
        return OperationReport(operation, status!)
    }
}
