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
            let (repository, state, logDamage) = try read()
            var report = try check(repository, state)
            if let logDamage {
                report.damages.insert(VerifyReport.Damage(message: logDamage.message), at: 0)
            }
            attempts -= 1
            if !report.isRight, attempts > 0 {
                // Somebody may have dropped points meanwhile, and their files.
                let now = try repository.reread(usesCatalogs: true).collection(collection)
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

    /// The collection from the first entry of its log on; if that can't be read to its end, then
    /// from a catalog that goes further.
    private func read() throws -> (Repository, CollectionState, damage: Failure?) {
        let strict = try repository.reread(usesCatalogs: false)
        let known = strict.collection(collection)
        let damage = strict.damage(of: collection)
        if damage != nil {
            let lenient = try repository.reread(usesCatalogs: true)
            if let further = lenient.collection(collection),
                further.lastEntry > known?.lastEntry ?? 0
            {
                return (lenient, further, damage)
            }
        }
        guard let known else {
            throw damage ?? Failure(.notFound, "there is no collection \(collection)")
        }
        return (strict, known, damage)
    }

    private func check(_ repository: Repository, _ state: CollectionState) throws -> VerifyReport {
        var points = state.points
        if let moment { points = [try moment.point(in: state)] }
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
        var found: [UInt64: PointCheck] = [:]
        for point in report.points {
            let damage = report.damages.first { damage in
                damage.harms.contains { $0.points.contains(point.name) }
            }
            let isCompared = level != .source || point.name == report.sourcePoint
            found[point.sequence] = PointCheck(
                level: isCompared ? level : .content, time: time, damage: damage?.message)
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
