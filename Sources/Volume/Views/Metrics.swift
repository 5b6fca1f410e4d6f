import Bytes
import Engine
import Repository

/// `metrics`: what is to be watched, in Prometheus' text format.
struct Metrics {
    private let tree: TreeContext
    private let now: Instant
    private var text = ""

    static func text(_ tree: TreeContext) -> String {
        var metrics = Metrics(tree)
        metrics.addCollections()
        metrics.addOperations()
        metrics.addMount()
        metrics.addRequests()
        return metrics.text
    }

    private init(_ tree: TreeContext) {
        self.tree = tree
        now = Instant.now
    }

    /// A metric, and its value for each set of labels; left out if it has none.
    private mutating func add(
        _ name: String, _ help: String, type: String = "gauge",
        _ values: [(labels: [(String, String)], value: String)]
    ) {
        if values.isEmpty { return }
        text += "# HELP ydbfs_\(name) \(help)\n# TYPE ydbfs_\(name) \(type)\n"
        for (labels, value) in values {
            text += "ydbfs_\(name)\(Self.written(labels)) \(value)\n"
        }
    }

    private static func written(_ labels: [(String, String)]) -> String {
        if labels.isEmpty { return "" }
        let parts = labels.map { name, value in
            let escaped = value.replacingBytes("\\", with: "\\\\")
                .replacingBytes("\"", with: "\\\"").replacingBytes("\n", with: "\\n")
            return "\(name)=\"\(escaped)\""
        }
        return "{" + parts.joined(separator: ",") + "}"
    }

    private mutating func addCollections() {
        let all = tree.collections
        func each(_ value: (ShownCollection) -> String?) -> [(
            labels: [(String, String)], value: String
        )] {
            all.compactMap { shown in
                value(shown).map { ([("collection", shown.name)], $0) }
            }
        }
        func seconds(_ microseconds: Int64) -> String { "\(microseconds / 1_000_000)" }
        add("points", "Backup points.", each { "\($0.state.points.count)" })
        add("stored_bytes", "Bytes of all data files.", each { "\($0.state.storedBytes)" })
        add(
            "newest_point_timestamp_seconds", "Cut of the newest point.",
            each { $0.newest.map { seconds($0.cut) } })
        add(
            "newest_point_age_seconds", "Time since the cut of the newest point.",
            each { $0.newest.map { seconds(max(now.microseconds - $0.cut, 0)) } })
        add(
            "newest_point_incomplete", "Tables that the newest point lacks.",
            each { $0.newest.map { "\($0.notBackedUp.count)" } })
        add("lost_points", "Points that can't be read.", each { "\($0.state.lostPoints.count)" })
        let checks = all.map { shown in tree.engine.repository?.checks(of: shown.state) ?? [:] }
        let named = Array(zip(all, checks))
        add(
            "verified_points", "Points that were verified and are whole.",
            named.map { ([("collection", $0.name)], "\($1.values.count { $0.damage == nil })") })
        add(
            "damaged_points", "Points in which damage was found.",
            named.map { ([("collection", $0.name)], "\($1.values.count { $0.damage != nil })") })
        add(
            "last_verification_timestamp_seconds", "When a point was last verified.",
            named.compactMap { shown, checks in
                checks.values.map(\.time).max().map { ([("collection", shown.name)], seconds($0)) }
            })
    }

    private mutating func addOperations() {
        let operations = tree.engine.operations
        let kept = Dictionary(grouping: operations) { operation in
            [operation.collection, operation.status.state.rawValue]
        }
        add(
            "operations", "Operations that are remembered, by state.",
            kept.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { key, operations in
                ([("collection", key[0]), ("state", key[1])], "\(operations.count)")
            })
        var durations: [(labels: [(String, String)], value: String)] = []
        var seen: Set<[String]> = []
        for operation in operations.reversed() {
            let status = operation.status
            guard let started = status.started, let ended = status.ended,
                seen.insert([operation.collection, "\(operation.kind)"]).inserted
            else { continue }
            let milliseconds = max(ended.microseconds - started.microseconds, 0) / 1000
            let fraction = String(String(1000 + milliseconds % 1000).dropFirst())
            durations.append(
                (
                    [("collection", operation.collection), ("kind", "\(operation.kind)")],
                    "\(milliseconds / 1000).\(fraction)"
                ))
        }
        add("last_operation_seconds", "How long the newest operation of a kind took.", durations)
        add(
            "last_operation_failed", "1 if a collection's newest operation failed or was refused.",
            tree.collections.compactMap { shown in
                tree.engine.newestOperation(of: shown.name).map { operation in
                    let status = operation.status
                    let failed = status.isRefusal || status.state == .failed
                    return ([("collection", shown.name)], failed ? "1" : "0")
                }
            })
    }

    private mutating func addMount() {
        let figures = tree.engine.cache.figures
        add("cache_bytes", "Bytes in the cache.", [([], "\(figures.bytes)")])
        add("cache_limit_bytes", "Its limit.", [([], "\(tree.engine.cache.maxBytes)")])
        add(
            "cache_hits_total", "What was found in the cache.", type: "counter",
            [([], "\(figures.hits)")])
        add(
            "cache_misses_total", "What was not.", type: "counter", [([], "\(figures.misses)")])
        add(
            "errors", "Refusals and failures in the file errors.",
            [([], "\(tree.engine.errors.newest().count)")])
        if let space = try? tree.engine.repository?.space() {
            add(
                "repository_available_bytes", "Free bytes where backups are stored.",
                [([], "\(space.blocksAvailable &* max(space.blockBytes, 1))")])
        }
    }

    private mutating func addRequests() {
        let name = "fuse_request_duration_seconds"
        text += "# HELP ydbfs_\(name) Time to answer the kernel, or to hand on what waits.\n"
        text += "# TYPE ydbfs_\(name) histogram\n"
        for kind in RequestTimes.Kind.allCases {
            let histogram = tree.requests[kind]
            var sum: UInt64 = 0
            for (bound, count) in zip(RequestTimes.bounds, histogram.counts) {
                sum += count
                let labels = [("operation", kind.name), ("le", bound.seconds)]
                text += "ydbfs_\(name)_bucket\(Self.written(labels)) \(sum)\n"
            }
            sum += histogram.counts.last!
            let all = [("operation", kind.name), ("le", "+Inf")]
            let labels = Self.written([("operation", kind.name)])
            text += "ydbfs_\(name)_bucket\(Self.written(all)) \(sum)\n"
            text += "ydbfs_\(name)_sum\(labels) \(Double(histogram.nanoseconds) / 1e9)\n"
            text += "ydbfs_\(name)_count\(labels) \(sum)\n"
        }
    }
}
