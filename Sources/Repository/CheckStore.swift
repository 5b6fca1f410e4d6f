import Bytes

/// How much of a point was looked at; each level does what those before it do.
package enum CheckLevel: String, Sendable, CaseIterable, Comparable {
    /// Every file is there in its size, the log is whole.
    case catalog
    /// Every checksum is right.
    case hashes
    /// All rows were merged and come to what is recorded.
    case content
    /// The rows are those of the database.
    case source

    package static func < (a: CheckLevel, b: CheckLevel) -> Bool {
        allCases.firstIndex(of: a)! < allCases.firstIndex(of: b)!
    }
}

/// What a verification found of one point.
package struct PointCheck: Sendable, Equatable {
    package var level: CheckLevel
    /// Microseconds since 1970.
    package var time: Int64
    /// Nil if all was right.
    package var damage: String?
    /// Numbers of the files that are to blame, where it is theirs.
    package var files: [UInt64]

    package init(level: CheckLevel, time: Int64, damage: String?, files: [UInt64] = []) {
        self.level = level
        self.time = time
        self.damage = damage
        self.files = files
    }

    /// A result stands until damage is found, or as much or more was looked at. What was wrong with files
    /// is over when these are right.
    func isReplaced(by newer: PointCheck) -> Bool {
        newer.damage != nil || newer.level >= level || (isOfFiles && newer.level >= .hashes)
    }

    package var isOfFiles: Bool { damage != nil && !files.isEmpty }
}

/// One verification of a collection as it is stored, in `collections/CID/checks/NUMBER.json`. Beside
/// the log, as nothing rests on it: what a point is doesn't change by being looked at.
private struct CheckRecord {
    var level: CheckLevel
    var time: Int64
    /// Sequences of points.
    var right: [UInt64]
    var damaged: [Damaged]

    var results: [(sequence: UInt64, check: PointCheck)] {
        right.map { ($0, PointCheck(level: level, time: time, damage: nil)) }
            + damaged.map {
                let check = PointCheck(
                    level: level, time: time, damage: $0.damage, files: $0.files)
                return ($0.sequence, check)
            }
    }
}

extension Repository {
    private static let checkLimitBytes = 16 << 20

    private func checksDirectory(_ collection: CollectionState) -> String {
        "collections/\(collection.id)/checks"
    }

    /// The newest standing result for each point, by sequence, dropped ones included. A file that was
    /// found damaged harms every point that needs it, those included that came later.
    package func checks(of collection: CollectionState) -> [UInt64: PointCheck] {
        var checks = standing((try? checkRecords(collection)) ?? []).mapValues(\.check)
        let found = collection.points.compactMap { checks[$0.sequence] }.filter {
            !$0.files.isEmpty
        }
        if found.isEmpty { return checks }
        for point in collection.points {
            let own = checks[point.sequence]
            if own?.damage != nil { continue }
            let needed = collection.neededFiles(of: point)
            let harm = found.first { check in
                check.files.contains(where: needed.contains)
                    && !(own.map { $0.time >= check.time && $0.level >= check.level } ?? false)
            }
            if let harm { checks[point.sequence] = harm }
        }
        return checks
    }

    /// Stores what a verification found, also on a full disk, and removes the older results that no
    /// longer count.
    package func record(_ found: [UInt64: PointCheck], of collection: CollectionState) throws {
        guard let first = found.first?.value else { return }
        try checkPlace()
        let sorted = found.sorted { $0.key < $1.key }
        let record = CheckRecord(
            level: first.level, time: first.time,
            right: sorted.filter { $0.value.damage == nil }.map(\.key),
            damaged: sorted.compactMap { sequence, check in
                check.damage.map {
                    CheckRecord.Damaged(sequence: sequence, damage: $0, files: check.files)
                }
            })
        let directory = checksDirectory(collection)
        var records = try checkRecords(collection)
        let number = try reserve.spending(.recording) { try storage.add(record, to: directory) }
        try storage.removeUnfinished(in: directory, olderThan: 3600)
        records.append((number, record))
        let needed = Set(standing(records).values.map(\.number))
        for (number, _) in records where !needed.contains(number) {
            try storage.remove("\(directory)/\(LogFile.name(number))")
        }
    }

    private func standing(
        _ records: [(number: UInt64, record: CheckRecord)]
    ) -> [UInt64: (number: UInt64, check: PointCheck)] {
        var standing: [UInt64: (number: UInt64, check: PointCheck)] = [:]
        for (number, record) in records {
            for (sequence, check) in record.results
            where standing[sequence]?.check.isReplaced(by: check) ?? true {
                standing[sequence] = (number, check)
            }
        }
        return standing
    }

    /// Oldest first. One that can't be read is left out: it says what was found, no more.
    private func checkRecords(
        _ collection: CollectionState
    ) throws -> [(number: UInt64, record: CheckRecord)] {
        let directory = checksDirectory(collection)
        return try storage.numbers(in: directory).compactMap { number in
            let name = "\(directory)/\(LogFile.name(number))"
            let record: CheckRecord?? = try? storage.record(name, limit: Self.checkLimitBytes)
            return record?.map { (number, $0) }
        }
    }
}

extension CheckLevel: JSONValue {}

extension CheckRecord: JSONValue {
    struct Damaged: JSONValue {
        var sequence: UInt64
        var damage: String
        /// Earlier versions named none.
        var files: [UInt64]

        init(sequence: UInt64, damage: String, files: [UInt64]) {
            self.sequence = sequence
            self.damage = damage
            self.files = files
        }

        init(json: inout JSONReader) throws {
            let member = try json.members()
            sequence = try member("sequence")
            damage = try member("damage")
            files = try member.optional("files") ?? []
        }

        func write(json: inout JSONWriter) {
            json.object { json in
                json.member("sequence", sequence)
                json.member("damage", damage)
                if !files.isEmpty { json.member("files", files) }
            }
        }
    }

    init(json: inout JSONReader) throws {
        let member = try json.members()
        level = try member("level")
        time = try member("time")
        try Bounds.check(time: time, of: "its time")
        right = try member("right")
        damaged = try member("damaged")
    }

    func write(json: inout JSONWriter) {
        json.object { json in
            json.member("level", level)
            json.member("time", time)
            json.member("right", right)
            json.member("damaged", damaged)
        }
    }
}
