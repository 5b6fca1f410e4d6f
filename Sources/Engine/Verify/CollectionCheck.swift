import Bytes
import Repository
import Tables

/// One look at all that some points of a collection need. Used once.
final class CollectionCheck {
    private let repository: Repository
    private let state: CollectionState
    private let points: [BackupPoint]
    private let isPart: Bool
    private let level: CheckLevel
    private let pool: FilePool
    private let operation: Operation
    private var report: VerifyReport
    /// All files that a live point may need.
    private let named: [FileReference]
    /// Numbers of the files that aren't as the log says.
    private var damagedFiles: [UInt64: String] = [:]

    /// - Parameter isPart: whether only what these points need is to be looked at.
    init(
        _ repository: Repository, _ state: CollectionState, points: [BackupPoint], isPart: Bool,
        level: CheckLevel, pool: FilePool, operation: Operation
    ) {
        self.repository = repository
        self.state = state
        self.points = points
        self.isPart = isPart
        self.level = level
        self.pool = pool
        self.operation = operation
        named = state.presentFiles
        report = VerifyReport(collection: state.name, level: level)
    }

    func run() throws -> VerifyReport {
        report.points = points.map {
            VerifyReport.Point(
                name: $0.name, sequence: $0.sequence,
                tables: state.tables(at: $0.sequence).count)
        }
        let tables = state.versions(shownBy: points)
        if level >= .content {
            let rows = tables.joined().map { $0.record.rows }.total
            operation.update { $0.totalRows = rows }
        }
        let files = isPart ? try neededFiles(tables) : named
        for file in files { try check(file) }
        for table in tables { try check(table) }
        settleUnharmed()
        for index in report.points.indices {
            report.points[index].harmed = harmedTables(of: report.points[index].name)
        }
        return report
    }

    private typealias Versions = [(record: TableRecord, points: Range<Int>)]

    // MARK: Files

    /// What the indexes of these points name. What can't be read is met again when its table is
    /// looked at.
    private func neededFiles(_ tables: [Versions]) throws -> [FileReference] {
        var numbers: Set<UInt64> = Set(points.flatMap { $0.files.map(\.number) })
        for versions in tables {
            let walk = IndexWalk(pool) { [operation] in try operation.checkpoint() }
            for (record, _) in versions {
                numbers.insert(record.snapshot.file)
                do {
                    numbers.formUnion(try walk.files(of: record.snapshot, schema: record.schema))
                } catch let failure as Failure where failure.code == .corrupt {}
            }
        }
        return named.filter { numbers.contains($0.number) }
    }

    private func check(_ reference: FileReference) throws {
        report.files += 1
        report.bytes = [report.bytes, reference.bytes].total
        if let failure = try failure(of: reference) {
            damagedFiles[reference.number] = reference.name
            report.damages.append(
                VerifyReport.Damage(file: reference.name, message: failure.message))
        }
    }

    /// What is wrong with a file, as far as the level looks.
    private func failure(of reference: FileReference) throws -> Failure? {
        let file = repository.file(reference, of: state)
        do {
            try operation.checkpoint()
            try file.checkSize()
            if level >= .hashes {
                try file.verify { count in
                    operation.update { $0.bytes += UInt64(count) }
                    try operation.checkpoint()
                }
                if reference.name.hasSuffix(".parquet") {
                    try RowFile(file).checkPages { try operation.checkpoint() }
                }
            }
            return nil
        } catch let failure as Failure where failure.code != .cancelled {
            return failure
        }
    }

    // MARK: Tables

    private func check(_ versions: Versions) throws {
        let walk = IndexWalk(pool) { [operation] in try operation.checkpoint() }
        let audit = TableAudit(pool) { [operation] rows in
            operation.update { $0.rows += rows }
            try operation.checkpoint()
        }
        for (record, shown) in versions {
            let names = points[shown].map(\.name)
            if level >= .content {
                try self.audit(record, names, audit)
                continue
            }
            if level == .catalog, damagedFiles.isEmpty { return }
            do {
                let files = try walk.files(of: record.snapshot, schema: record.schema)
                let harmed = files.filter { damagedFiles[$0] != nil }
                if level == .catalog {
                    for file in harmed.sorted() {
                        add(Self.harm(record, names), naming: damagedFiles[file]!)
                    }
                } else if !harmed.isEmpty {
                    try addFaults(
                        audit.audit(record.snapshot, schema: record.schema).faults, record, names)
                }
            } catch let failure as Failure where failure.code == .corrupt {
                add(Self.harm(record, names), failure.message)
            }
        }
    }

    private func audit(
        _ record: TableRecord, _ points: [String], _ audit: TableAudit
    ) throws {
        let found = try audit.audit(record.snapshot, schema: record.schema)
        report.rows += found.rows
        try addFaults(found.faults, record, points)
        if !found.faults.isEmpty { return }
        let entry = "the log's entry of \(points[0])"
        func compare(_ what: String, _ found: some CustomStringConvertible, _ recorded: String?) {
            guard let recorded, found.description != recorded else { return }
            add(
                Self.harm(record, points),
                "\(entry): \(record.path) has \(what) \(found) where \(recorded) is recorded")
        }
        compare("rows", found.rows, "\(record.rows)")
        compare("content hash", found.contentHash, record.contentHash)
        // Other versions of the rules may come to other sizes.
        for format in RowFormat.recorded where record.formats[format.id] == format.version {
            compare(
                "bytes of \(format.name)", found.sizes[format.id] ?? 0,
                record.sizes[format.id].map { "\($0)" })
        }
    }

    private func addFaults(
        _ faults: [TableFault], _ record: TableRecord, _ points: [String]
    ) throws {
        for fault in faults {
            var harm = Self.harm(record, points)
            (harm.after, harm.before, harm.hasKeys) = (fault.after, fault.before, true)
            add(harm, fault.message)
        }
    }

    private static func harm(_ record: TableRecord, _ points: [String]) -> VerifyReport.Harm {
        VerifyReport.Harm(table: record.path, points: points)
    }

    // MARK: Putting together

    /// Adds to the damage of the file that the message names, or to damage of the same words.
    private func add(_ harm: VerifyReport.Harm, _ message: String) {
        if let file = named.first(where: { message.contains($0.name) }) {
            add(harm, naming: file.name, or: message)
        } else {
            add(harm, naming: message, or: message)
        }
    }

    private func add(_ harm: VerifyReport.Harm, naming name: String, or message: String = "") {
        let known = report.damages.firstIndex { $0.message.contains(name) }
        if known == nil { report.damages.append(VerifyReport.Damage(message: message)) }
        let index = known ?? report.damages.count - 1
        let harms = report.damages[index].harms
        let same = harms.firstIndex {
            $0.table == harm.table && $0.after == harm.after && $0.before == harm.before
        }
        if let same {
            let points = harm.points.filter { !harms[same].points.contains($0) }
            report.damages[index].harms[same].points += points
        } else {
            report.damages[index].harms.append(harm)
        }
    }

    /// Files that no live point wrote or needs may be gone: those of dropped points.
    private func settleUnharmed() {
        let own = Set(state.points.flatMap { $0.files.map(\.name) })
        report.damages.removeAll { damage in
            guard damage.harms.isEmpty, let file = damage.file else { return false }
            return !own.contains(file)
        }
    }

    private func harmedTables(of point: String) -> [String] {
        let harms = report.damages.flatMap(\.harms).filter { $0.points.contains(point) }
        return Array(Set(harms.map(\.table))).sorted()
    }
}
