import Bytes
import Engine
import Repository

/// How one statement's operation ended, whoever ran it: what `run` prints.
package struct OperationReport: Sendable, Equatable, Encodable {
    /// Nil of a statement whose turn never came.
    package var id: UInt64?
    package var statement: String
    /// `done`, `failed`, `cancelled`; `queued` or `running` if nobody waited.
    package var state: String
    package var point: String?
    package var rows: UInt64?
    package var bytes: UInt64?
    package var seconds: Double?
    package var error: String?
    package var notes: [String] = []
    /// How many tables it left out, and which, with the reasons; nil if it left out none.
    package var incomplete: UInt64?
    package var leftOut: [LeftOut]?

    package struct LeftOut: Sendable, Equatable, Encodable {
        package var path: String
        package var reason: String
    }

    enum CodingKeys: String, CodingKey {
        case id, statement, state, point, rows, bytes, seconds, error, notes, incomplete
        case leftOut = "left_out"
    }

    package init(id: UInt64?, statement: String, state: String) {
        self.id = id
        self.statement = statement
        self.state = state
    }

    init(_ operation: Operation, _ status: Operation.Status) {
        self.init(id: operation.id, statement: operation.statement, state: status.state.rawValue)
        point = status.point
        (rows, bytes) = (status.rows, status.bytes)
        if let started = status.started, let ended = status.ended {
            let milliseconds = (ended.microseconds - started.microseconds) / 1000
            seconds = Double(max(0, milliseconds)) / 1000
        }
        error = status.error
        notes = status.notes
        if status.incomplete > 0 {
            incomplete = status.incomplete
            take(status.leftOut)
        }
    }

    mutating func take(_ tables: [NotBackedUp]) {
        leftOut = tables.map { LeftOut(path: $0.path, reason: $0.reason) }
    }

    /// From the line that `operations/ID/wait` answers, which is `Operation.Status.summary`:
    /// `done point=20261121100000Z_full rows=3 bytes=77 seconds=0.1`, `failed: reason`.
    package init(id: UInt64, statement: String, summary: String) {
        let line = summary.prefix { $0 != "\n" }
        let end = line.firstIndex { $0 == " " || $0 == ":" } ?? line.endIndex
        self.init(id: id, statement: statement, state: String(line[..<end]))
        let rest = line[end...].drop { $0 == " " || $0 == ":" }
        switch state {
        case "done":
            for word in rest.split(separator: " ") {
                let parts = word.split(separator: "=", maxSplits: 1)
                guard parts.count == 2 else { continue }
                switch parts[0] {
                case "point": point = String(parts[1])
                case "incomplete": incomplete = UInt64(parts[1])
                case "rows": rows = UInt64(parts[1])
                case "bytes": bytes = UInt64(parts[1])
                case "seconds": seconds = Double(parts[1])
                default: continue
                }
            }
        case "failed", "cancelled":
            error = String(rest.reversed().drop { $0 == " " }.reversed())
        default: return
        }
    }

    package var isDone: Bool { state == "done" }

    /// A line for each table that was left out.
    package var leftOutLines: [String] {
        (leftOut ?? []).map { NotBackedUp(path: $0.path, reason: $0.reason) }
            .lines(of: incomplete ?? 0)
    }

    /// One line.
    package var line: String {
        let operation = id.map { "operation \($0)" } ?? oneLine(statement)
        if let error { return "\(operation) \(state): \(oneLine(error))" }
        let words = [
            point, incomplete.map { "incomplete=\($0)" }, rows.map { "rows=\($0)" },
            bytes.map { "bytes=\($0)" },
            seconds.map { "seconds=\($0)" },
        ]
        return (["\(operation) \(state)"] + words.compactMap(\.self)).joined(separator: " ")
    }
}
