import Bytes
import Engine
import Repository
import Tables

/// `COLLECTION/by-key/POINT/TABLE/KEY.json`: one row of a table.
enum RowsByKey {
    static func directory(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        PointsDirectory(tree, shown, .byKey, modified: modified) { point, _ in
            TableDirectory(Scope(place: point))
        }
    }

    /// What every table has of a point: a directory.
    enum Leaf { case rows }

    private struct Scope: TableScope {
        let place: PointPlace

        func identity(_ directory: Int) -> FileIdentity {
            place.identity(.rowsOfPoint, UInt64(directory))
        }

        func listing() throws(Errno) -> TableListing<Leaf> {
            let shown = try place.shown()
            do {
                return try place.tree.engine.cache.value(identity(0).cacheKey) {
                    let tables = shown.state.paths(at: place.sequence)
                    let listing = TableListing(tables, fixed: []) { _ in [(Leaf.rows, "")] }
                    return (listing, bytes: 512 + tables.count * 512)
                }
            } catch {
                throw .io
            }
        }

        func modified() throws(Errno) -> Instant { try place.cut() }

        func file(named name: String, in directory: Int) -> any TreeNode {
            preconditionFailure("there is none")
        }

        func file(_ leaf: Leaf, of table: TableListing<Leaf>.Table) -> any TreeNode {
            let place = place
            let identity = place.identity(.rows, UInt64(table.id))
            let modified: TextFile.Time = { () throws(Errno) in try place.cut() }
            return LookupDirectory(
                place.tree, identity, modified: modified,
                readme: { KeyWords.readme("by-key", try? place.table(table.id), "json") },
                find: { name throws(Errno) in
                    let record = try place.table(table.id)
                    let key = try KeyWords.key(name, suffix: ".json", record.schema)
                    return SpooledFile(
                        place.tree, identity.below(.row, text: name), modified: modified,
                        words: { ("by-key/\(table.path)/\(name)", "ydbfs show") },
                        render: { sink, checkpoint in
                            let state = try place.shown().state
                            let record = try place.table(table.id)
                            let hold = place.tree.engine.hold(record, of: state)
                            let snapshot = place.tree.engine.snapshot(record, of: state)
                            try withExtendedLifetime(hold) {
                                let rows = try RowFinder(key, checkpoint: checkpoint).rows(
                                    of: snapshot)
                                if rows.count == 0 { throw Errno.noEntry }
                                try sink.append(RowJSON(record.schema).document(rows))
                            }
                        })
                })
        }
    }
}

/// Keys as names of files.
enum KeyWords {
    /// The key that a name stands for. Throws `ENOENT` if it can't be one of the table.
    static func key(
        _ name: String, suffix: String, _ schema: TableSchema
    ) throws(Errno) -> TableKey {
        guard name.hasSuffix(suffix),
            let key = TableKey(pathName: String(name.dropLast(suffix.count))),
            key.values(in: schema) != nil
        else { throw .noEntry }
        return key
    }

    /// - Parameter table: nil if it has gone.
    static func readme(_ place: String, _ table: TableRecord?, _ format: String) -> String {
        guard let table else { return "" }
        let names = table.schema.lookupKey.map { table.schema.columns[$0].name }
        let example =
            names.count == 1 ? "42" : names.indices.map { "\($0 + 1)" }.joined(separator: ",")
        return """
            \(place)/…/KEY.\(format) is \(format == "json" ? "the row" : "all that happened to the row") \
            with that key. The key of \(oneLine(table.path)) is \(names.map(oneLine).joined(separator: ", ")).

                cat \(example).\(format)

            Each value as in CSV: NULL is nothing, the empty string is "", and with several columns there is a
            comma between. Control bytes, %, / and , within a value are written %09, %25, %2F, %2C. A name longer
            than 255 bytes can't be looked up here: use ydbfs \(format == "json" ? "show" : "history").

            """
    }
}
