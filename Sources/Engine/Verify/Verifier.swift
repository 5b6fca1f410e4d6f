import Bytes
import Repository
import Tables

/// Checks a collection as it is stored, from its log down: what the log names must be there, not
/// what is there must be named. Writes nothing, so that it works on what can't be written and
/// beside whoever writes.
package struct Verifier {
    private let repository: Repository
    private let collection: String
    private let moment: Moment?
    private let level: CheckLevel
    private let operation: Operation
    /// Of the verification alone: what others have in memory says nothing of the disk.
    private static let cacheBytes = 32 << 20

    /// - Parameters:
    ///   - moment: which point; nil for all of them.
    ///   - operation: hears of progress, and is asked whether to go on.
    package init(
        _ repository: Repository, collection: String, at moment: Moment?, level: CheckLevel,
        operation: Operation
    ) {
        self.repository = repository
        self.collection = collection
        self.moment = moment
        self.level = level
        self.operation = operation
    }

    /// Throws what kept it from looking, `.cancelled` included; damage is in the report.
    package func run(source: (any RowSource)? = nil) throws -> VerifyReport {
        var attempts = 3
        while true {
            let (repository, state, damages) = try read()
            var report = try check(repository, state)
            report.damages.insert(contentsOf: damages, at: 0)
            attempts -= 1
            if !report.isRight, attempts > 0 {
                // Somebody may have dropped points meanwhile, and their files.
                let now = try repository.reread(collection: collection).state
                if now?.lastEntry != state.lastEntry { continue }
            }
            if level == .source, report.isRight {
                guard let source else {
                    throw Failure(
                        .unsupported, "there is no database to compare \(collection) with")
                }
                try SourceComparison(
                    repository: repository, state: state, source: source, operation: operation
                ).compare(&report)
            }
            record(&report, state)
            return report
        }
    }

    /// The collection from the first entry of its log on; what can't be read of the log is damage.
    private func read() throws -> (Repository, CollectionState, [VerifyReport.Damage]) {
        let found = try repository.reread(collection: collection)
        guard let state = found.state else {
            throw found.damage ?? Failure(.notFound, "there is no collection \(collection)")
        }
        var damages = (found.damage.map { [$0.message] } ?? []).map {
            VerifyReport.Damage(message: $0)
        }
        damages += found.catalogFaults.map {
            VerifyReport.Damage(
                message:
                    "\($0.message); it only repeats what the log says: ydbfs repair makes it anew")
        }
        damages += state.lostPoints.map {
            VerifyReport.Damage(
                message: "\($0.name) can't be read: \($0.reason)", lost: $0.name)
        }
        return (found.repository, state, damages)
    }

    private func check(_ repository: Repository, _ state: CollectionState) throws -> VerifyReport {
        var points = state.points
        if let moment { points = [try moment.point(in: state, now: repository.now)] }
        let check = CollectionCheck(
            repository, state, points: points, isPart: moment != nil, level: level,
            pool: FilePool(
                CollectionFiles(repository, state),
                cache: SharedCache(maxBytes: Self.cacheBytes)),
            operation: operation)
        return try check.run()
    }

    /// Keeps what was found of each point, where it may.
    private func record(_ report: inout VerifyReport, _ state: CollectionState) {
        let time = Instant.now.microseconds
        // That the database has moved on is no fault of the point.
        let level = report.level == .source && !report.differences.isEmpty ? .content : report.level
        let numbers = Dictionary(
            state.presentFiles.map { ($0.name, $0.number) }, uniquingKeysWith: { $1 })
        var found: [UInt64: PointCheck] = [:]
        for point in report.points {
            let damages = report.damages.filter { damage in
                damage.harms.contains { $0.points.contains(point.name) }
            }
            let isCompared = level != .source || point.name == report.sourcePoint
            found[point.sequence] = PointCheck(
                level: isCompared ? level : .content, time: time, damage: damages.first?.message,
                files: damages.compactMap(\.file).compactMap { numbers[$0] })
        }
        do {
            for level in Set(found.values.map(\.level)) {
                try repository.record(found.filter { $0.value.level == level }, of: state)
            }
        } catch {
            let reason = (error as? Failure)?.message ?? "\(error)"
            report.notes.append("the result could not be recorded: \(reason)")
        }
    }
}

extension PointCheck {
    /// When, and how much was looked at; or that it is damaged.
    package var text: String {
        let time = Instant(microseconds: time).floorToSecond
        return "\(time) \(damage == nil ? level.rawValue : "DAMAGED")"
    }
}
