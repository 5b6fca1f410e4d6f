import Bytes
import DumpSource
import Engine
import Fuse
import Glibc
import Repository
import SQLiteSource
import Tables

/// What a directory may hold that others have made, to be taken in as points.
package struct PointKind: Sendable, Equatable {
    /// What such a directory must be, after "no": `no dump of YDB`.
    package let words: String
    /// Why a directory isn't it; nil if it is.
    let refusal: @Sendable (_ directory: String) -> String?
    let open: @Sendable (_ directory: String) -> any PointSource

    /// The first of them that a directory is counts.
    static let all = [
        PointKind("dump of YDB", DumpSource.refusal) { DumpSource(directory: $0, key: dumpKey) },
        PointKind("directory of copies", CopiesSource.refusal) { CopiesSource(directory: $0) },
    ]

    private init(
        _ words: String, _ refusal: @escaping @Sendable (String) -> String?,
        open: @escaping @Sendable (String) -> any PointSource
    ) {
        (self.words, self.refusal, self.open) = (words, refusal, open)
    }

    package static func == (left: PointKind, right: PointKind) -> Bool { left.words == right.words }

    /// What it is, or why it is none of them.
    static func of(_ directory: String) -> Result<PointKind, Refusals> {
        var refusals: [String] = []
        for kind in all {
            guard let refusal = kind.refusal(directory) else { return .success(kind) }
            refusals.append("no \(kind.words), since \(refusal)")
        }
        return .failure(Refusals(words: refusals.joined(separator: ", and ")))
    }

    struct Refusals: Error {
        var words: String
    }

    private static var dumpKey: DumpKey {
        let file = PathText.environment("YDB_ENCRYPTION_KEY_FILE").map {
            (try? Paths.absolute($0)) ?? $0
        }
        return DumpKey(digits: PathText.environment("YDB_ENCRYPTION_KEY"), file: file)
    }
}

/// A line of what an import has come to.
struct ImportNews {
    var line: String
    /// Something of what lies there isn't in the repository.
    var isLeftOut = false
}

/// Backups that others have made and SOURCE names: what is new there is taken in before anything else.
extension SourceArgument {
    private static let importCacheBytes = 64 << 20

    /// Nil if SOURCE is no such thing.
    var points: (any PointSource)? {
        if case .points(let directory, let kind) = kind { kind.open(directory) } else { nil }
    }

    /// Imports what is new, and tells on the error stream what is to be told of it.
    func importPoints() throws {
        for news in try importNewPoints() {
            // Whom notes don't interest should know what isn't there.
            news.isLeftOut ? Output.error(news.line) : Output.remark(news.line)
        }
    }

    /// Imports what is new, which takes no time if nothing is; answers what the user should know. Throws
    /// if there is nothing to show.
    func importNewPoints() throws -> [ImportNews] {
        guard let points else { return absence.map { [ImportNews(line: "note: \($0)")] } ?? [] }
        var options = Engine.Options()
        options.points = points
        options.storage = storage
        let engine = try Engine(
            location: location, database: nil, cache: SharedCache(maxBytes: Self.importCacheBytes),
            options: options)
        defer { engine.close() }
        var news: [ImportNews] = []
        do {
            let (statements, notes) = try engine.newPoints()
            news += notes.map { ImportNews(line: "note: \($0)") }
            for statement in statements {
                let collection = oneLine(statement.collection.name)
                let report = try run(statement, engine)
                news += report.notes.map {
                    ImportNews(line: "note: \(collection)/\(oneLine($0))")
                }
                news += report.leftOutLines.map {
                    ImportNews(line: "left out: \(collection)/\($0)", isLeftOut: true)
                }
                if report.error != nil {
                    news.append(ImportNews(line: "\(collection): \(report.line)"))
                }
                if report.state == "cancelled" { break }
            }
        } catch let failure as Failure {
            if engine.collections.isEmpty { throw failure }
            news.append(
                ImportNews(line: "\(failure.message): showing what was imported before"))
        }
        if engine.collections.allSatisfy({ $0.points.isEmpty }) {
            throw Failure(
                .invalid,
                (news.last?.line ?? "\(name) has no backups in it") + ": there is nothing to show")
        }
        return news
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
