import Bytes
import Engine
import Repository

// What `status` prints for people, and what keeps a collection from being backed up as it should be.

extension StatusReport.Collection {
    func troubles(maxAge: Period?, shown: Shown = .exact) -> [String] {
        var lines: [String] = []
        if isFailing, let lastFailure {
            lines.append(
                "the last backup failed at \(shown.time(lastFailure.ended ?? lastFailure.started)): operation "
                    + "\(lastFailure.id): \(lastFailure.error ?? "unknown")")
        }
        if running == nil, let since = schedule?.overdueSince {
            lines.append(
                "a backup was due at \(shown.time(since)) and wasn't taken: is a mount running that may take it?"
            )
        }
        if !isDefined {
            lines.append(
                "its definition is lost: CREATE BACKUP COLLECTION \(name) makes it anew, and no backup can be "
                    + "made before")
        }
        if let maxAge, lastSuccessAge.map({ $0 > maxAge.seconds }) ?? true {
            lines.append("no backup is younger than \(maxAge)")
        }
        return lines
    }

    /// `3h5m`: the two largest units of so many seconds.
    private static func age(_ seconds: Int64) -> String {
        for (above, unit) in [(2 * 86_400, 3_600), (2 * 3_600, 60)] as [(Int64, Int64)]
        where seconds > above {
            return Period(seconds: min(seconds, Period.maximumSeconds) / unit * unit).description
        }
        return Period(seconds: seconds).description
    }

    fileprivate func ageLine(_ shown: Shown) -> String? {
        guard let lastSuccess, let lastSuccessAge else { return nil }
        return "  last backup \(shown.time(lastSuccess)), \(Self.age(lastSuccessAge)) ago"
    }
}

extension StatusReport {
    /// Tables that were left out, by path with the reason.
    fileprivate static func lines(_ tables: [String: String], count: UInt64) -> [String] {
        tables.sorted { $0.key < $1.key }.map { NotBackedUp(path: $0.key, reason: $0.value) }
            .lines(of: count)
    }

    /// With the newest points of each collection alone.
    func withPoints(last: Int?) -> StatusReport {
        guard let last else { return self }
        var report = self
        report.collections = collections.map { collection in
            var collection = collection
            collection.points = collection.points.suffix(last)
            return collection
        }
        return report
    }

    /// For people.
    ///
    /// - Parameter last: how many points of a collection are shown.
    package func text(
        maxAge: Period? = nil, last: Int? = nil, shown: Shown = .exact
    ) -> String {
        var lines = ["source      \(source)", "repository  \(location)"]
        if let sourceError { lines.append("            can't be used now: \(sourceError)") }
        if let leftovers {
            lines.append(
                "            holds what earlier versions of ydbfs left: ydbfs repair "
                    + "\(PathText.shellWord(source)) runs "
                    + leftovers.map { "\($0);" }.joined(separator: " "))
        }
        if let exposure { lines.append("WARNING     \(exposure)") }
        if !mounts.isEmpty { lines.append("mounted at  \(mounts.joined(separator: ", "))") }
        lines += damage.map { "DAMAGED     \($0)" }
        if collections.isEmpty, damage.isEmpty {
            lines += ["", "no collections: CREATE BACKUP COLLECTION makes one"]
        }
        for collection in collections {
            let troubles = collection.troubles(maxAge: maxAge, shown: shown)
            lines += [""] + collection.lines(troubles: troubles, last: last, shown)
        }
        lines = lines.map(oneLine)
        if let columns = shown.columns {
            lines = lines.flatMap { $0.wrapped(toCells: columns) }
        }
        return lines.joined(separator: "\n")
    }
}

extension StatusReport.Check {
    fileprivate func text(_ shown: Shown) -> String {
        "\(shown.time(time)) \(damage == nil ? level : "DAMAGED")"
    }
}

extension StatusReport.Collection {
    fileprivate func lines(troubles: [String], last: Int?, _ shown: Shown) -> [String] {
        let members =
            isDatabase
            ? "the whole database" : isDefined ? tables.joined(separator: ", ") : "unknown tables"
        var lines = ["collection \(name): \(members)"]
        if let damage { lines.append("  DAMAGED: \(damage)") }
        if let catalogDamage {
            lines.append("  read from the beginning of its log, nothing is lost: \(catalogDamage)")
        }
        for (name, reason) in (lost ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append("  LOST \(name): \(reason)")
        }
        if let allFilesRead {
            lines.append("  every file read once until \(shown.time(allFilesRead))")
        }
        if let running {
            lines.append(
                "  running since \(shown.time(running.started)): operation \(running.id) \(running.statement)"
            )
        }
        lines += troubles.map { "  FAILED: \($0)" }
        if let ageLine = ageLine(shown) { lines.append(ageLine) }
        if let lastError, let error = lastError.error, !isFailing || lastError.id != lastFailure?.id
        {
            lines.append("  last operation \(lastError.id) \(lastError.state): \(error)")
        }
        if let lastIncomplete, let count = lastIncomplete.incomplete,
            let leftOut = lastIncomplete.leftOut, leftOut != points.last?.notBackedUp
        {
            lines.append(
                "  last operation \(lastIncomplete.id) \(lastIncomplete.state), but incomplete: "
                    + lastIncomplete.statement)
            lines += StatusReport.lines(leftOut, count: count).map { "    left out: \($0)" }
        }
        if let schedule {
            for (kind, period, next) in [
                ("full", schedule.fullEvery, schedule.nextFull),
                ("incremental", schedule.incrementalEvery, schedule.nextIncremental),
            ] {
                guard let period, let next else { continue }
                lines.append("  while mounted: \(kind) every \(period), next \(shown.time(next))")
            }
        }
        if let lastLooked {
            lines.append(
                "  last looked \(shown.time(lastLooked)): nothing had changed since \(newest ?? "")"
            )
        }
        lines += dropped.map { "  dropped \($0): UNDROP BACKUP has it back" }
        let pinned = points.filter(\.pinned).map(\.name)
        if !pinned.isEmpty { lines.append("  pinned \(pinned.joined(separator: ", "))") }
        if points.isEmpty {
            return isDefined ? lines + ["  no points yet: BACKUP \(name) makes the first"] : lines
        }
        if let point = points.last {
            let count = UInt64(point.notBackedUp.count)
            lines += StatusReport.lines(point.notBackedUp, count: count).map {
                "  not backed up: \($0)"
            }
        }
        let damaged = Dictionary(grouping: points.filter { $0.verified?.damage != nil }) {
            $0.verified!.damage!
        }
        for (damage, points) in damaged.sorted(by: { $0.key < $1.key }) {
            lines.append("  DAMAGED: \(points.count) points, last \(points.last!.name): \(damage)")
        }
        lines += table(points.suffix(last ?? points.count), shown).map { "  " + $0 }
        return lines + [
            "  newest \(newest ?? (damage == nil ? "none" : "unknown")), \(shown.bytes(bytes)) stored"
        ]
    }

    private func table(_ points: [StatusReport.Point], _ shown: Shown) -> [String] {
        let rows = points.map { point in
            let changed = point.inserted + point.updated + point.deleted
            return [
                point.name, point.kind, shown.time(point.cut), point.verified?.text(shown) ?? "-",
                "\(point.tables)", point.incomplete == 0 ? "-" : "\(point.incomplete)",
                "\(point.rows)", "\(changed)", shown.size(point.bytes), shown.size(point.frees),
            ]
        }
        let isIncomplete = points.contains { $0.incomplete > 0 }
        return TextTable(
            heads: [
                "POINT", "KIND", "CUT", "VERIFIED", "TABLES", "INCOMPLETE", "ROWS", "CHANGED",
                "BYTES", "FREES",
            ], rows: rows.map { $0.map(oneLine) }, leftColumns: [0, 1, 2, 3],
            dispensable: ["KIND", "TABLES"] + (isIncomplete ? [] : ["INCOMPLETE"])
                + ["VERIFIED", "FREES", "CHANGED", "CUT"] + (isIncomplete ? ["INCOMPLETE"] : [])
        ).lines(within: shown.columns.map { $0 - 2 })
    }
}
