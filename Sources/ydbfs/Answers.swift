import Bytes
import Engine

/// Answers what SHOW asks, from the repository alone: nothing is written, no mount is asked.
struct Answers {
    private let source: SourceArgument
    private static let cacheBytes = 1 << 20

    init(_ source: SourceArgument) { self.source = source }

    /// As it is now.
    func answer(_ question: Statement, of text: StatementText) throws -> Answer {
        var options = Engine.Options()
        options.isReadOnly = true
        // Whoever looks may look at anybody's.
        options.adopts = true
        options.storage = source.storage
        options.points = source.points
        options.isBesideDatabase = source.isBesideDatabase
        let engine = try Engine(
            location: source.location, database: source.database(isReadOnly: true),
            cache: SharedCache(maxBytes: Self.cacheBytes), options: options)
        defer { engine.close() }
        do throws(Failure) {
            return try engine.answer(question)
        } catch {
            throw text.pointing(error)
        }
    }
}

/// What `run --json` prints of an answer.
struct AnswerReport: Encodable {
    private let statement: String
    private let answer: [Row]

    init(_ question: Statement, _ answer: Answer) {
        statement = question.text
        self.answer = answer.rows.map { Row(cells: zip(answer.columns, $0).map { ($0, $1) }) }
    }

    private struct Row: Encodable {
        var cells: [(key: String, value: Answer.Value)]

        private struct Key: CodingKey {
            var stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            for (name, value) in cells {
                let key = Key(stringValue: name)
                switch value {
                case .word, .time: try container.encode(value.exact, forKey: key)
                case .number(let number), .bytes(let number):
                    try container.encode(number, forKey: key)
                case .none: continue
                }
            }
        }
    }
}
