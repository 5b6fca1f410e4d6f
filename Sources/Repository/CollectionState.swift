import Bytes
import Tables

/// A backup point without its tables.
package struct BackupPoint: Sendable, Equatable {
    package var sequence: UInt64
    package var name: String
    package var kind: PointKind
    /// Sequence of the parent; nil for a full.
    package var parent: UInt64?
    package var cut: Int64
    package var operation: UInt64
    package var uid: String?
    /// Those that this point wrote.
    package var files: [FileReference]
    /// Ids of tables that changed since the parent; of all tables in a full.
    package var changed: [UInt32]
    package var removed: [UInt32]
    package var notBackedUp: [NotBackedUp]
    /// The log entry that committed it, and its hash.
    package var entry: UInt64
    package var hash: String
}

/// A collection as its log tells it: an immutable value, one for every length of the log.
///
/// Tables aren't kept per point but as a list of versions each: a point costs only what changed.
package struct CollectionState: Sendable {
    package let id: String
    package let name: String
    /// Nil after DROP.
    package internal(set) var definition: CollectionDefinition?
    /// Live points in order of sequence. Never empty of fulls: the first one is a full.
    package internal(set) var points: [BackupPoint] = []
    /// Points of the collection as it was before it was dropped.
    package internal(set) var droppedPoints: [BackupPoint] = []
    /// Why the log can't be read to its end; what was read before is right, but nothing may be
    /// written. Tried again at each refresh.
    package internal(set) var damage: Failure?
    /// Why the newest catalog couldn't be used: the whole log was read instead, and nothing is lost.
    /// The next backup writes a new one.
    package internal(set) var catalogDamage: Failure?

    package internal(set) var lastEntry: UInt64 = 0
    package internal(set) var lastHash: String?
    package internal(set) var nextSequence: UInt64 = 1
    package internal(set) var nextFileNumber: UInt64 = 1
    package internal(set) var nextTableID: UInt32 = 1
    /// What the source wanted to find again after the newest point.
    package internal(set) var capture: CaptureState?

    /// By number: every file that any entry ever named.
    var files: [UInt64: FileReference] = [:]
    /// The newest catalogs, at most `catalogsKept`, with the entries that name them.
    package internal(set) var catalogs: [(entry: UInt64, reference: CatalogReference)] = []
    /// The one before the newest stays for whoever has just read that entry.
    static let catalogsKept = 2
    /// Names of files that are gone or about to go.
    var condemned: Set<String> = []
    var histories: [UInt32: TableHistory] = [:]
    /// Ids that ever had a path. Strings are equal to Swift when they look the same, names of tables
    /// only when their bytes are: whoever looks here must compare those.
    var idsByPath: [String: [UInt32]] = [:]
    /// In the order of their first appearance, which mostly is that of their paths: what is nearly
    /// sorted is sorted fast.
    var ids: [UInt32] = []
    var sequenceByUID: [String: UInt64] = [:]
    var sequenceByName: [String: UInt64] = [:]

    init(id: String, name: String) {
        self.id = id
        self.name = name
    }

    package var isDropped: Bool { definition == nil }

    package var newest: BackupPoint? { points.last }

    // MARK: Points

    package func point(named name: String) -> BackupPoint? {
        sequenceByName[name].flatMap(point(sequence:))
    }

    package func point(sequence: UInt64) -> BackupPoint? {
        guard let index = newestIndex(points, at: sequence, \.sequence),
            points[index].sequence == sequence
        else { return nil }
        return points[index]
    }

    /// The point that was made with this token.
    package func point(uid: String) -> BackupPoint? {
        sequenceByUID[uid].flatMap(point(sequence:))
    }

    /// Whether a point, live or dropped, ever had this name.
    package func isTaken(name: String) -> Bool { sequenceByName[name] != nil }

    /// The name of the last point ever made, dropped ones included.
    package var lastName: String? { (points.last ?? droppedPoints.last)?.name }

    /// From the full to this point.
    package func chain(of point: BackupPoint) -> [BackupPoint] {
        guard let end = newestIndex(points, at: point.sequence, \.sequence),
            let start = points[...end].lastIndex(where: { $0.kind == .full })
        else { return [] }
        return Array(points[start...end])
    }

    /// Whether a point carries every table whole, so that it needs no file of an older point: a full
    /// backup, or what COMPACT made.
    package func isWhole(_ point: BackupPoint) -> Bool {
        if point.kind == .full { return true }
        let changed = Set(point.changed)
        return ids.allSatisfy { id in
            guard let table = table(id, at: point.sequence) else { return true }
            return changed.contains(id) && table.isReset
        }
    }

    /// How many live points there are behind the newest one that carries every table whole.
    package var pointsSinceWhole: Int {
        points.count - 1 - (points.lastIndex(where: isWhole) ?? -1)
    }

    // MARK: Files

    package func file(_ number: UInt64) throws -> FileReference {
        guard let file = files[number] else {
            throw Failure(.corrupt, "collection \(name) has no file number \(number)")
        }
        return file
    }

    /// All that any entry named and none has condemned, by number: a live point may need them.
    package var presentFiles: [FileReference] {
        files.values.filter { !condemned.contains($0.name) }.sorted { $0.number < $1.number }
    }

    /// Bytes of all files that the live points may need.
    package var storedBytes: UInt64 {
        points.lazy.flatMap(\.files).reduce(0) { $0 + $1.bytes }
    }

    // MARK: Tables

    /// All tables of a point, by path in byte order.
    package func tables(at sequence: UInt64) -> [TableRecord] {
        ids.compactMap { histories[$0]?.version(at: sequence)?.record }
            .sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    package func table(_ id: UInt32, at sequence: UInt64) -> TableRecord? {
        histories[id]?.version(at: sequence)?.record
    }

    package func table(path: String, at sequence: UInt64) -> TableRecord? {
        for id in idsByPath[path] ?? [] {
            if let record = table(id, at: sequence), record.has(path: path) { return record }
        }
        return nil
    }

    /// Each table's versions, from the oldest on, as far as one of `points`, which are in order of
    /// sequence, shows them; and which of these points do.
    package func versions(
        shownBy points: [BackupPoint]
    ) -> [[(record: TableRecord, points: Range<Int>)]] {
        ids.compactMap { id in
            guard let versions = histories[id]?.versions else { return nil }
            var shown: [(record: TableRecord, points: Range<Int>)] = []
            var first = 0
            for (index, version) in versions.enumerated() {
                while first < points.count, points[first].sequence < version.sequence { first += 1 }
                let next = index + 1 < versions.count ? versions[index + 1].sequence : .max
                var end = first
                while end < points.count, points[end].sequence < next { end += 1 }
                if let record = version.record, end > first { shown.append((record, first..<end)) }
                first = end
            }
            return shown.isEmpty ? nil : shown
        }
    }

    /// Sequence of the newest point, not later than `sequence`, that changed this table; nil if the
    /// point doesn't have it.
    package func changed(_ id: UInt32, at sequence: UInt64) -> UInt64? {
        histories[id]?.version(at: sequence)?.sequence
    }
}

extension TableRecord {
    /// The very same bytes.
    func has(path other: String) -> Bool { path.utf8.elementsEqual(other.utf8) }
}

/// A table from its first point to its last.
struct TableHistory: Sendable {
    /// From `sequence` on the table is this; nothing if it is not there.
    final class Version: Sendable {
        let sequence: UInt64
        let record: TableRecord?

        init(sequence: UInt64, record: TableRecord?) {
            self.sequence = sequence
            self.record = record
        }
    }

    /// In order of sequence.
    private(set) var versions: [Version] = []

    var newest: TableRecord? { versions.last?.record }

    mutating func append(_ record: TableRecord?, at sequence: UInt64) {
        append(Version(sequence: sequence, record: record))
    }

    mutating func append(_ version: Version) { versions.append(version) }

    func version(at sequence: UInt64) -> Version? {
        guard let index = newestIndex(versions, at: sequence, \.sequence),
            versions[index].record != nil
        else { return nil }
        return versions[index]
    }
}

/// Index of the last element, of those in order of sequence, that is not later than `sequence`.
private func newestIndex<T>(
    _ elements: [T], at sequence: UInt64, _ key: (T) -> UInt64
) -> Int? {
    var low = 0
    var high = elements.count
    while low < high {
        let middle = (low + high) / 2
        if key(elements[middle]) <= sequence { low = middle + 1 } else { high = middle }
    }
    return low > 0 ? low - 1 : nil
}
