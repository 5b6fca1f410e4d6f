import Bytes
import Engine
import Fuse
import Glibc

/// Work of this process itself, with a progress bar on a terminal, cancelled by SIGINT and SIGTERM.
enum ShownProgress {
    private static let secondsBeforeBar = 0.3
    private static let secondsBetween = 0.2

    /// `body` keeps `operation` up to date and asks it whether to go on.
    static func run<R>(
        _ operation: Operation, unit: String = "rows", _ body: () throws -> R
    ) throws -> R {
        let isDone = Monitor(false)
        let drawer = try? WorkerThread {
            guard Output.showsProgress else { return }
            var pause = secondsBeforeBar
            let bar = ProgressBar(operation.statement)
            while isDone.wait(seconds: pause, { $0 ? true : nil }) == nil {
                let status = operation.status
                bar.draw(
                    OperationProgress(rows: status.rows, totalRows: status.totalRows, unit: unit))
                pause = secondsBetween
            }
            if pause == secondsBetween { bar.erase() }
        }
        defer {
            isDone.update { $0 = true }
            drawer?.join()
        }
        return try body()
    }

    /// To be called before any other thread is started.
    static func watchSignals(cancelling operations: [Operation]) throws {
        try Signals.watch(
            stop: { _ in for operation in operations { operation.cancel() } },
            stopNow: { _exit(128 + SIGINT) })
    }
}
