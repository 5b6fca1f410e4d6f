import Bytes
import Tables

/// A backup point without its tables.
package struct BackupPoint: Sendable, Equatable {
    package var sequence: UInt64
    package var name: String
    package var kind: PointKind
    /// Sequence and name of the parent, which may be gone; nil for a full.
    package var parent: UInt64?
    package var parentName: String?
    /// Sequence of the full that its chain began with, which may be gone.
    package var chain: UInt64
    package var cut: Int64
    package var operation: UInt64
    package var uid: String?
    /// Those that this point wrote.
    package var files: [FileReference]
    /// Ids of tables that changed since the parent; of all tables in a full.
    package var changed: [UInt32]
    package var removed: [UInt32]
    package var notBackedUp: [NotBackedUp]
    /// The source's text of views and their triggers.
    package var views: String
    package var facts: DatabaseFacts?
    package var ownership: FileOwnership?
    /// The log entry that committed it, and its hash.
    package var entry: UInt64
    package var hash: String
    /// Can't be dropped.
    package var isPinned = false
    /// Microseconds since 1970 of the entry that dropped it; nil while it is live.
    package var dropped: Int64?
}

/// A collection as its log tells it: an immutable value, one for every length of the log.
///
/// Tables aren't kept per point but as a list of versions each: a point costs only what changed.
package struct CollectionState: Sendable {
    package let id: String
    package let name: String
    /// The newest one, also after DROP.
    package internal(set) var lastDefinition: CollectionDefinition?
    package internal(set) var isDropped = false
    /// Live points in order of sequence. None of them needs another: any may be dropped.
    package internal(set) var points: [BackupPoint] = []
    /// Points that don't show but can be had back, in order of sequence: dropped one by one or with
    /// the collection.
    package internal(set) var droppedPoints: [BackupPoint] = []
    /// Why the log can't be read to its end; what was read before is right, but nothing may be
    /// written. Tried again at each refresh.
    package internal(set) var damage: Failure?
    /// Why it isn't certain which point is the newest: what was acknowledged last may be among what
    /// can't be read.
    package internal(set) var endIsUnknown: Failure?
    /// How often this process found another past of the log than it had read: what it remembers by
    /// number of one is nothing to the next.
    package internal(set) var epoch: UInt64 = 0
    /// Entries that are lost for good, as `repair` has recorded.
    package internal(set) var lostEntries: [UInt64] = []
    /// Points that were acknowledged and can't be read, in order of the log.
    package internal(set) var lostPoints: [LostPoint] = []
    /// Places of files that no point needs, but that lost entries may have named.
    var keptFiles: Set<String> = []
    /// Why the newest catalog couldn't be used: the whole log was read instead, and nothing is lost.
    /// The next backup writes a new one.
    package internal(set) var catalogDamage: Failure?

    package internal(set) var lastEntry: UInt64 = 0
    package internal(set) var lastHash: String?
    package internal(set) var nextSequence: UInt64 = 1
    package internal(set) var nextFileNumber: UInt64 = 1
    package internal(set) var nextTableID: UInt32 = 1
    /// The name of the last point ever made, whatever became of it.
    package internal(set) var lastName: String?
    /// Tokens of the last point and of the last full that were made with one, whatever became of them.
    package internal(set) var lastUID: String?
    package internal(set) var lastFullUID: String?

    /// By number: the files that entries named and that aren't condemned.
    package internal(set) var files: [UInt64: FileReference] = [:]
    /// The newest catalogs, at most `catalogsKept`, with the entries that name them.
    package internal(set) var catalogs: [(entry: UInt64, reference: CatalogReference)] = []
    /// The one before the newest stays for whoever has just read that entry.
    static let catalogsKept = 2
    /// Places of files that are about to go, and since when: 0 if nobody can be reading them.
    var condemned: [String: Int64] = [:]
    /// What live and dropped points show of each table, and nothing else.
    var histories: [UInt32: TableHistory] = [:]
    /// Ids that ever had a path. Strings are equal to Swift when they look the same, names of tables
    /// only when their bytes are: whoever looks here must compare those.
    var idsByPath: [String: [UInt32]] = [:]
    /// In the order of their first appearance, which mostly is that of their paths: what is nearly
    /// sorted is sorted fast.
    var ids: [UInt32] = []
    /// Of all points, but only a thousand of those that are gone.
    var sequenceByUID: [String: UInt64] = [:]
    static let goneUIDsKept = 1000
    /// Of live and dropped points.
    var sequenceByName: [String: UInt64] = [:]

    init(id: String, name: String) {
        self.id = id
        self.name = name
    }

    /// Nil after DROP.
    package var definition: CollectionDefinition? { isDropped ? nil : lastDefinition }

    package var newest: BackupPoint? { points.last }

    // MARK: Points

    package func point(named name: String) -> BackupPoint? {
        sequenceByName[name].flatMap(point(sequence:))
    }

    package func point(sequence: UInt64) -> BackupPoint? {
        index(of: sequence).map { points[$0] }
    }

    /// Whether there is such a live point: asked at every look-up, for which a copy is too dear.
    package func hasPoint(sequence: UInt64) -> Bool { index(of: sequence) != nil }

    private func index(of sequence: UInt64) -> Int? {
        newestIndex(points, at: sequence, \.sequence).flatMap {
            points[$0].sequence == sequence ? $0 : nil
        }
    }

    /// A point that can be had back.
    package func droppedPoint(named name: String) -> BackupPoint? {
        sequenceByName[name].flatMap { sequence in
            droppedPoints.first { $0.sequence == sequence }
        }
    }

    /// The point that was made with this token.
    package func point(uid: String) -> BackupPoint? {
        sequenceByUID[uid].flatMap(point(sequence:))
    }

    /// Whether a point was made with this token, whatever became of it.
    package func isTaken(uid: String) -> Bool { sequenceByUID[uid] != nil }

    /// Tokens of all points that were made with one, but of those that went long ago.
    package var tokens: some Collection<String> { sequenceByUID.keys }

    /// Whether a point, live or dropped, has this name.
    package func isTaken(name: String) -> Bool { sequenceByName[name] != nil }

    /// The live points of the point's chain, from the oldest to this one: the full first, if it is
    /// still there.
    package func chain(of point: BackupPoint) -> [BackupPoint] {
        points.filter { $0.chain == point.chain && $0.sequence <= point.sequence }
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

    /// Bytes of all files that are there for points, live or dropped.
    package var storedBytes: UInt64 { files.values.lazy.map(\.bytes).total }

    /// All files that points need or have needed and that aren't condemned, by number.
    package var presentFiles: [FileReference] { files.values.sorted { $0.number < $1.number } }

    /// Bytes of those files that the point wrote and that are still there.
    package func storedBytes(of point: BackupPoint) -> UInt64 {
        point.files.lazy.filter { files[$0.number] != nil }.map(\.bytes).total
    }

    /// Numbers of the files that a live or dropped point needs: reachability itself. Whatever isn't
    /// here may go. Those are the files that its tables lie in, and those that it wrote: its runs tell
    /// what changed, also where no table shows their rows.
    package var neededFiles: Set<UInt64> {
        var needed: Set<UInt64> = []
        for point in points + droppedPoints { needed.formUnion(point.files.lazy.map(\.number)) }
        for history in histories.values {
            for version in history.versions {
                for file in version.record?.files ?? [] { needed.insert(file.number) }
            }
        }
        return needed
    }

    /// Whether files are about to go.
    package var hasCondemned: Bool { !condemned.isEmpty }

    /// The row files of which no point shows more than a quarter, and how many of their rows are dead:
    /// what is left of them is better copied elsewhere. Not the files of points that are still there,
    /// which tell what changed.
    package var mostlyDeadFiles: [UInt64: UInt64] {
        var shown: [UInt64: UInt64] = [:]
        for history in histories.values {
            for version in history.versions {
                for file in version.record?.files ?? [] {
                    shown[file.number] = max(shown[file.number] ?? 0, file.rows)
                }
            }
        }
        for point in points + droppedPoints {
            for file in point.files { shown[file.number] = nil }
        }
        var dead: [UInt64: UInt64] = [:]
        for (number, rows) in shown {
            if let file = files[number], rows < file.rows / 4 { dead[number] = file.rows - rows }
        }
        return dead
    }

    /// Numbers of the files that this live point needs.
    package func neededFiles(of point: BackupPoint) -> Set<UInt64> {
        Set(tables(at: point.sequence).lazy.flatMap(\.files).map(\.number))
    }

    // MARK: Tables

    /// All tables of a point, by path in byte order.
    package func tables(at sequence: UInt64) -> [TableRecord] {
        ids.compactMap { histories[$0]?.version(at: sequence)?.record }
            .sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    /// Ids, paths and sizes of a point's tables, by path in byte order.
    package func paths(
        at sequence: UInt64
    ) -> [(id: UInt32, path: String, sizes: [String: UInt64])] {
        ids.compactMap { id in
            histories[id]?.version(at: sequence)?.record.map { (id, $0.path, $0.sizes) }
        }.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
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
            let versions = versions(of: id, shownBy: points)
            return versions.isEmpty ? nil : versions
        }
    }

    private func versions(
        of id: UInt32, shownBy points: [BackupPoint]
    ) -> [(record: TableRecord, points: Range<Int>)] {
        let versions = histories[id]?.versions ?? []
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
        return shown
    }

    /// The versions of all tables that ever had a path, from the oldest on, and which points show them.
    package func versions(path: String) -> [(record: TableRecord, points: Range<Int>)] {
        (idsByPath[path] ?? []).flatMap { versions(of: $0, shownBy: points) }
            .filter { $0.record.has(path: path) }
            .sorted { $0.points.lowerBound < $1.points.lowerBound }
    }

    /// Cut of the newest point, not later than `sequence`, that changed this table; nil if the point
    /// doesn't have it.
    package func changed(_ id: UInt32, at sequence: UInt64) -> Int64? {
        histories[id]?.version(at: sequence)?.cut
    }
}

extension TableRecord {
    /// The very same bytes.
    func has(path other: String) -> Bool { path.utf8.elementsEqual(other.utf8) }
}

/// A table from its first point to its last.
struct TableHistory: Sendable {
    /// `TableRecord.tid` of all its versions.
    let tid: String

    /// From `sequence` on the table is this; nothing if it is not there.
    final class Version: Sendable {
        let sequence: UInt64
        /// Of the point that changed the table.
        let cut: Int64
        let record: TableRecord?

        init(sequence: UInt64, cut: Int64, record: TableRecord?) {
            self.sequence = sequence
            self.cut = cut
            self.record = record
        }
    }

    /// In order of sequence.
    private(set) var versions: [Version] = []

    init(tid: String) { self.tid = tid }

    var newest: TableRecord? { versions.last?.record }

    /// Adds a version, or puts it in place of one of the same sequence.
    mutating func append(_ version: Version) {
        if versions.last?.sequence == version.sequence { versions.removeLast() }
        versions.append(version)
    }

    func version(at sequence: UInt64) -> Version? {
        guard let index = newestIndex(versions, at: sequence, \.sequence),
            versions[index].record != nil
        else { return nil }
        return versions[index]
    }

    /// Forgets versions that none of the points with these sequences, in order, shows.
    mutating func keep(for sequences: [UInt64]) {
        var kept: [Version] = []
        for (index, version) in versions.enumerated() {
            if version.record == nil, kept.isEmpty { continue }
            let end = index + 1 < versions.count ? versions[index + 1].sequence : .max
            guard let last = newestIndex(sequences, at: end - 1, \.self),
                sequences[last] >= version.sequence
            else { continue }
            kept.append(version)
        }
        versions = kept
    }
}

/// Index of the last element, of those in order of sequence, that is not later than `sequence`.
func newestIndex<T>(
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
