import Bytes
import Repository

/// What SHOW answers: a table, the same wherever it is asked for.
package struct Answer: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case word(String)
        case number(UInt64)
        case bytes(UInt64)
        case time(Instant)
        case none
    }

    /// Keys of `--json`; in upper case the headings.
    package let columns: [String]
    package var rows: [[Value]]
    /// Of the columns, those that go where there is no room, the first one first.
    private var dispensable: [String] = []

    /// Lines for people, the first of headings.
    ///
    /// - Parameters:
    ///   - limit: cells that a line may take.
    ///   - shown: how a value is written.
    package func lines(
        within limit: Int? = nil, _ shown: (Value) -> String = \.exact
    ) -> [String] {
        let left = columns.indices.filter { column in
            rows.allSatisfy { row in
                switch row[column] {
                case .number, .bytes: false
                case .word, .time, .none: true
                }
            }
        }
        let texts = rows.map { $0.map { oneLine(shown($0)) } }
        return TextTable(
            heads: columns.map { $0.uppercased() }, rows: texts, leftColumns: Set(left),
            dispensable: dispensable.map { $0.uppercased() }
        ).lines(within: limit)
    }

    /// The lines as a file has them.
    package var text: String { lines().map { $0 + "\n" }.joined() }
}

extension Answer.Value {
    /// As programs read it.
    package var exact: String {
        switch self {
        case .word(let word): word
        case .number(let number), .bytes(let number): "\(number)"
        case .time(let time): "\(time)"
        case .none: "-"
        }
    }

    fileprivate init(_ word: String?) { self = word.map { .word($0) } ?? .none }
}

extension Answer {
    package static func collections(_ states: [CollectionState]) -> Answer {
        Answer(
            columns: ["collection", "points", "newest", "bytes"],
            rows: states.map { state in
                [
                    .word(state.name), .number(UInt64(state.points.count)),
                    .init(state.newest?.name), .bytes(state.storedBytes),
                ]
            }, dispensable: ["bytes", "newest"])
    }

    package static func backups(of state: CollectionState) -> Answer {
        Answer(
            columns: ["point", "kind", "cut", "tables", "rows", "changed", "bytes"],
            rows: state.points.map { point in
                let tables = state.tables(at: point.sequence)
                let changed = tables.filter { point.changed.contains($0.id) }
                return [
                    .word(point.name), .word(point.kind.rawValue),
                    .time(Instant(microseconds: point.cut).floorToSecond),
                    .number(UInt64(tables.count)), .number(tables.map(\.rows).total),
                    .number(changed.map { $0.inserted + $0.updated + $0.deleted }.total),
                    .bytes(state.storedBytes(of: point)),
                ]
            }, dispensable: ["kind", "tables", "changed", "bytes", "cut"])
    }

    static func operations(_ operations: [Operation]) -> Answer {
        Answer(
            columns: ["id", "collection", "kind", "state", "accepted", "ended", "point", "error"],
            rows: operations.map { operation in
                let status = operation.status
                return [
                    .number(operation.id), .word(operation.collection), .word(operation.kind),
                    .word(status.stateWords), .time(operation.accepted.floorToSecond),
                    status.ended.map { .time($0.floorToSecond) } ?? .none,
                    .init(status.point), .init(status.error),
                ]
            }, dispensable: ["ended", "point", "kind", "collection", "accepted"])
    }
}

extension Engine {
    /// What a question's answer is now.
    ///
    /// - Precondition: `statement.isQuestion`.
    package func answer(_ statement: Statement) throws(Failure) -> Answer {
        guard case .show(let question) = statement.action else {
            preconditionFailure("no question: \(statement.text)")
        }
        try validate([statement])
        let name = statement.collection.name
        switch question {
        case .collections: return .collections(collections)
        case .backups:
            guard let state = collection(name) else {
                throw Failure(.notFound, "there is no collection \(name)")
            }
            return .backups(of: state)
        case .operations:
            return .operations(operations.filter { name.isEmpty || $0.collection == name })
        }
    }
}
