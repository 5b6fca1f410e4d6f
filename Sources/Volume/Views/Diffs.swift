import Bytes
import Engine
import Repository
import Tables

/// `COLLECTION/changes/POINT`: what changed since the point before it. `COLLECTION/diff/A..B`: the
/// same between any two.
enum Diffs {
    /// `COLLECTION/changes`.
    static func byPoint(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        PointsDirectory(tree, shown, .changes, modified: modified) { point, before in
            TableDirectory(DiffScope(before, point))
        }
    }

    /// `COLLECTION/diff`.
    static func directory(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        let id = shown.state.id
        return LookupDirectory(
            tree, shown.identity(.diffs), modified: modified,
            readme: { readme((try? tree.collection(id))?.state.points ?? []) },
            find: { name throws(Errno) in
                let shown = try tree.collection(id)
                guard let (old, new) = points(name, shown.state) else { throw .noEntry }
                return TableDirectory(
                    DiffScope(
                        PointPlace(tree, shown, old.sequence),
                        PointPlace(tree, shown, new.sequence)))
            })
    }

    /// The two points of `A..B`, each a name or `latest`.
    private static func points(
        _ name: String, _ state: CollectionState
    ) -> (BackupPoint, BackupPoint)? {
        func point(_ word: String) -> BackupPoint? {
            state.point(exactly: word) ?? PointWord(rawValue: word)?.point(of: state)
        }
        // A name may hold dots itself.
        for range in name.ranges(of: "..") {
            if let old = point(String(name[..<range.lowerBound])),
                let new = point(String(name[range.upperBound...]))
            {
                return (old, new)
            }
        }
        return nil
    }

    private static func readme(_ points: [BackupPoint]) -> String {
        let names = points.suffix(2).map(\.name)
        let (old, new) =
            names.count == 2
            ? (names[0], names[1]) : ("20261120000000Z_full", "20261121000000Z_incremental")
        return """
            diff/A..B is what changed from point A to point B: TABLE.csv has the rows that were inserted,
            deleted or updated, summary counts them, schema.sql has the tables whose text is another.

                ls diff/\(old)..\(new)/
                cat diff/\(old)..\(new)/summary

            A and B are names of points, in whichever order, or latest, previous, latest-full, oldest. The first look at a file finds out
            how large it is, which takes time if the points share little.

            """
    }
}

/// What changed from one point, or from nothing, to another one.
struct DiffScope: TableScope {
    private let old: PointPlace?
    private let new: PointPlace
    private var tree: TreeContext { new.tree }

    init(_ old: PointPlace?, _ new: PointPlace) {
        self.old = old
        self.new = new
    }

    func identity(_ directory: Int) -> FileIdentity { identity(.diff, UInt64(directory)) }

    private func identity(
        _ kind: FileIdentity.Kind, _ item: UInt64 = 0, text: String = ""
    ) -> FileIdentity {
        let pair = new.identity(.diff, old?.sequence ?? 0, text: "from")
        return pair.below(kind, item, text: text)
    }

    func modified() throws(Errno) -> Instant { try new.cut() }

    private static let texts = ["schema.sql", "summary"]

    /// Tables whose stored rows or text differ.
    func listing() throws(Errno) -> TableListing<RowFormat> {
        // Throws once a point is gone.
        _ = try (old?.shown(), new.shown())
        do {
            return try tree.engine.cache.value(identity(0).cacheKey) {
                let formats = RowFormat.all.filter(tree.options.formats.contains)
                let listing = TableListing(
                    try pairs().filter(\.hasChanges).map { ($0.id, $0.path, [:]) },
                    fixed: Self.texts
                ) { _ in formats.map { ($0, $0.suffix) } }
                return (listing, bytes: 512 + listing.paths.count * 1024)
            }
        } catch {
            throw error as? Errno ?? .io
        }
    }

    private func pairs() throws(Errno) -> [TablePair] {
        TablePair.all(
            try old.map { old throws(Errno) in
                try old.shown().state.tables(at: old.sequence)
            } ?? [], try new.shown().state.tables(at: new.sequence))
    }

    func file(named name: String, in directory: Int) -> any TreeNode {
        let (scope, place) = (self, new)
        if name == "summary" {
            return SpooledFile(
                tree, identity(.diffSummary), modified: { () throws(Errno) in try place.cut() },
                words: { words(nil) },
                render: { sink, checkpoint in
                    let text = ByteBuffer()
                    for pair in try scope.pairs() {
                        guard let line = try scope.summary(pair, checkpoint) else { continue }
                        text.append(line + "\n")
                    }
                    try sink.append(text)
                })
        }
        return TextFile(
            tree, identity(.diffSchema), isImmutable: true,
            modified: { () throws(Errno) in try place.cut() },
            { () throws(Errno) in [UInt8](try scope.pairs().map(\.schemaText).joined().utf8) })
    }

    func file(_ format: RowFormat, of table: TableListing<RowFormat>.Table) -> any TreeNode {
        let (scope, place) = (self, new)
        return SpooledFile(
            tree, identity(.renderedDiff, UInt64(table.id), text: format.id),
            modified: { () throws(Errno) in try place.cut() },
            words: { words(table.path) },
            render: { sink, checkpoint in
                guard let pair = try scope.pairs().first(where: { $0.id == table.id }) else {
                    throw Errno.stale
                }
                try scope.withDiff(pair, checkpoint) { diff in
                    try format.writeChanges(ChangesCursor(diff), sink)
                }
            })
    }

    /// Compares the two versions of a table, both held meanwhile.
    private func withDiff<R>(
        _ pair: TablePair, _ checkpoint: @escaping @Sendable () throws -> Void,
        _ body: (SnapshotDiff) throws -> R
    ) throws -> R {
        let engine = tree.engine
        func opened(
            _ record: TableRecord?, _ place: PointPlace?
        ) throws -> (snapshot: Snapshot, hold: PointHold)? {
            guard let record, let place else { return nil }
            let state = try place.shown().state
            return (engine.snapshot(record, of: state), engine.hold(record, of: state))
        }
        let before = try opened(pair.old, old)
        let after = try opened(pair.new, new)
        return try withExtendedLifetime((before?.hold, after?.hold)) {
            try body(
                SnapshotDiff(
                    old: before?.snapshot, new: after?.snapshot,
                    areOneTable: pair.isOneTable, checkpoint: checkpoint))
        }
    }

    /// A line about a table; nil if nothing of it changed.
    private func summary(
        _ pair: TablePair, _ checkpoint: @escaping @Sendable () throws -> Void
    ) throws -> String? {
        guard pair.hasChanges else { return nil }
        let counts = try withDiff(pair, checkpoint) { diff in
            var counts = ChangeCounts()
            while let rows = try diff.next() { counts.add(rows.types) }
            return counts
        }
        return pair.summary(counts)
    }

    private func words(_ table: String?) -> (name: String, instead: String) {
        let name = (try? new.shown())?.name ?? ""
        let after = (try? new.point())?.name ?? ""
        guard let old else {
            return ("changes/\(after)", "ydbfs show SOURCE \(name)/\(after)")
        }
        let before = (try? old.point())?.name ?? ""
        return (
            "diff/\(before)..\(after)" + (table.map { "/\($0)" } ?? ""),
            "ydbfs diff SOURCE \(name)/\(before) \(after)"
                + (table.map { " --table \($0) --format csv" } ?? "")
        )
    }
}

extension TablePair {
    /// What changed of it, in words; nil if nothing did.
    fileprivate func summary(_ counts: ChangeCounts) -> String? {
        var parts: [String] = []
        if old == nil { parts.append("new table") }
        if new == nil { parts.append("gone") }
        if old != nil, new != nil, !hasSameText { parts.append("another schema") }
        if !counts.isEmpty {
            parts.append(
                "\(counts.inserted) inserted, \(counts.updated) updated, \(counts.deleted) deleted")
        }
        return parts.isEmpty ? nil : "\(oneLine(path)): " + parts.joined(separator: ", ")
    }

    /// The text of the table as it is now, what it was before as comments.
    fileprivate var schemaText: String {
        if hasSameText { return "" }
        let before = old.map { old in
            let lines = old.sql.split(separator: "\n", omittingEmptySubsequences: false)
            let text = lines.last == "" ? lines.dropLast() : lines[...]
            return (new == nil ? "-- gone:\n" : "-- before:\n")
                + text.map { "-- \($0)\n" }.joined()
        }
        return (before ?? "") + (new.map { $0.sql } ?? "") + "\n"
    }
}
