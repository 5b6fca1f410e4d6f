import Bytes
import Tables
import TestSupport
import Testing

/// Rows by their keys, through histories and by their values, against plain values.
@Suite struct RowFinderTests {
    private static func history(_ seed: Int) throws -> ModelHistory {
        var limits = ChainTests.tiny
        if seed % 3 == 1 { limits = FormatLimits() }
        if seed % 3 == 2 { (limits.rowGroupRows, limits.blockSlices) = (40, 8) }
        return try ModelHistory(seed: seed, limits: limits, points: 10)
    }

    private static func key(_ row: ModelHistory.Row, _ kind: ModelHistory.Kind) -> TableKey {
        if kind == .keyless { return TableKey(fields: ["\(row.rowID)"]) }
        return TableKey(fields: kind.declared.map { row[$0].csv })
    }

    private static func lines(_ rows: RowBatch, _ schema: TableSchema) -> [String] {
        let output = ByteBuffer(capacity: 1 << 16)
        CSVRenderer(schema).render(rows, 0..<rows.count, into: output)
        return String(decoding: output.array, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        ).dropLast().map(String.init)
    }

    private static func line(_ row: ModelHistory.Row, _ point: ModelHistory.Point) -> String {
        point.schema.visibleColumns.map { row[$0.id].csv }.joined(separator: ",")
    }

    @Test(arguments: 0..<15) func `every row of every point is found by its key`(seed: Int) throws {
        let history = try Self.history(seed)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
        // All keys that ever were, at every point.
        let keys = Set(
            history.points.flatMap { point in point.rows.map { Self.key($0, point.kind) } })
        var found = 0
        for key in keys {
            let finder = RowFinder(key)
            for (index, point) in history.points.enumerated() {
                let rows = try finder.rows(of: history.snapshot(index, pool))
                let expected = point.rows.filter { Self.key($0, point.kind) == key }.sorted {
                    point.place($0).lexicographicallyPrecedes(point.place($1))
                }
                #expect(
                    Self.lines(rows, point.schema) == expected.map { Self.line($0, point) },
                    "\(key.fields) at \(index)")
                for row in 0..<rows.count { #expect(TableKey(rows, row, point.schema) == key) }
                found += rows.count
            }
        }
        #expect(found >= history.points.reduce(0) { $0 + $1.rows.count })
    }

    @Test(arguments: 0..<15) func `a row's history is what its points show`(seed: Int) throws {
        let history = try Self.history(seed)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
        // In the middle the table isn't there.
        let gone = seed % 2 == 0 ? 4 : -1
        let points = history.points.indices.map { $0 == gone ? nil : history.snapshot($0, pool) }
        let keys = Set(
            history.points.flatMap { point in point.rows.map { Self.key($0, point.kind) } })
        let names = history.points.indices.map { "p\($0)" }
        for key in keys {
            let csv = try RowHistory(of: key, through: points).csv(points: names).array
            // What the lines say, point after point, is what the model has.
            var lines = String(decoding: csv, as: UTF8.self).split(separator: "\n").map(String.init)
            let header = lines.removeFirst().split(separator: ",").map(String.init)
            let newest = history.points.last!.schema.visibleColumns.map(\.name)
            let expected = ["_point", "_change_type"] + newest
            #expect(Array(header.prefix(expected.count)) == expected)
            // By id: of columns that replaced others there are several of one name.
            var ids: [UInt32] = []
            for (index, point) in history.points.enumerated().reversed() where index != gone {
                for column in point.schema.visibleColumns where !ids.contains(column.id) {
                    ids.append(column.id)
                }
            }
            #expect(header.count == ids.count + 2)
            var previous: [ModelHistory.Row] = []
            var before: ModelHistory.Point?
            for (index, point) in history.points.enumerated() {
                let rows =
                    index == gone ? [] : point.rows.filter { Self.key($0, point.kind) == key }
                var news = rows
                var olds = previous
                if let before {
                    for row in rows {
                        guard
                            let same = olds.firstIndex(where: {
                                Self.isSame($0, before, row, point)
                            })
                        else { continue }
                        olds.remove(at: same)
                        news.remove(at: news.firstIndex(of: row)!)
                    }
                }
                let mine = lines.prefix { $0.hasPrefix("p\(index),") }
                lines.removeFirst(mine.count)
                let types = mine.map { $0.split(separator: ",")[1] }
                #expect(types.count { $0 == "insert" } == max(news.count - olds.count, 0))
                #expect(types.count { $0 == "update_postimage" } == min(news.count, olds.count))
                #expect(types.count { $0 == "delete" } == max(olds.count - news.count, 0))
                for (line, type) in zip(mine, types) where type != "delete" {
                    let fits = news.contains {
                        line
                            == (["p\(index)", "\(type)"] + Self.fields($0, ids)).joined(
                                separator: ",")
                    }
                    #expect(fits, "\(line)")
                }
                previous = rows
                before = index == gone ? nil : point
            }
            #expect(lines.isEmpty)
        }
    }

    /// The columns that both have are the same, and new ones hold what stands in for them.
    private static func isSame(
        _ a: ModelHistory.Row, _ before: ModelHistory.Point, _ b: ModelHistory.Row,
        _ after: ModelHistory.Point
    ) -> Bool {
        let old = before.schema.visibleColumns
        let new = after.schema.visibleColumns
        return new.allSatisfy { column in
            if old.contains(where: { $0.id == column.id }) { return a[column.id] == b[column.id] }
            let namesake = old.first { $0.name == column.name }
            if let namesake { return a[namesake.id].csv == b[column.id].csv }
            return b[column.id].bytes == column.standIn?.bytes
        }
    }

    /// The line of a row at a point, in the columns of all points.
    private static func fields(_ row: ModelHistory.Row, _ ids: [UInt32]) -> [String] {
        ids.map { row[$0].csv }
    }

    @Test(arguments: 0..<15) func `a value is found wherever it was`(seed: Int) throws {
        let history = try Self.history(seed)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 18))
        for (name, value) in [
            ("b", SearchedValue.text("x")), ("B", .text("say \"no\"")), ("b", .null),
            ("a", .number("7")), ("a", .text("7")), ("a", .text("x")), ("c", .text("")),
            ("c", .null), ("nothing", .null),
        ] {
            let search = RowSearch(column: name, value: value)
            var expected: [Int: [String]] = [:]
            for (index, point) in history.points.enumerated() {
                try search.search(history.snapshot(index, pool), point: index)
                let column = point.schema.visibleColumns.first { $0.name == name.lowercased() }
                guard let id = column?.id else { continue }
                let rows = point.rows.filter { row in
                    switch value {
                    case .null: row[id] == .null
                    case .text(let text), .number(let text):
                        row[id] == .text(text) || Int64(text).map { row[id] == .int($0) } ?? false
                    case .bytes: false
                    }
                }
                expected[index] = rows.map { "\(point.place($0)) \(Self.line($0, point))" }.sorted()
            }
            #expect(search.hasColumn == !expected.isEmpty)
            // No hit twice, and at every point as many as there are rows.
            for (index, point) in history.points.enumerated() {
                let hits = search.hits.filter { $0.points.contains { $0.contains(index) } }
                #expect(hits.count == expected[index]?.count ?? 0, "\(name) \(value) at \(index)")
                let shown = hits.filter { $0.schema == point.schema }.map { hit in
                    Self.lines(hit.row, hit.schema)[0]
                }
                for line in shown {
                    #expect(expected[index]!.contains { $0.hasSuffix(" " + line) })
                }
            }
            for hit in search.hits {
                for (a, b) in zip(hit.points, hit.points.dropFirst()) {
                    #expect(a.upperBound + 1 < b.lowerBound)
                }
            }
        }
    }

    // MARK: Cost

    @Test func `every row file is read once, however many points share it`() throws {
        let history = try ModelHistory(seed: 1, limits: FormatLimits(), points: 30)
        let pool = FilePool(history.files, cache: SharedCache(maxBytes: 1 << 24))
        let search = RowSearch(column: "c", value: .text("never"))
        for index in history.points.indices {
            try search.search(history.snapshot(index, pool), point: index)
        }
        let files = Set(
            try history.points.indices.flatMap { index in
                try history.snapshot(index, pool).files().filter { $0.value > 0 }.keys
            })
        let pages = try files.reduce(0) { sum, number in
            let file = try RowFile(history.files.open(file: number))
            return sum + (file.rows + 383) / 384
        }
        #expect(search.hits.isEmpty && pool.figures.pagesDecoded <= UInt64(pages))
    }

    @Test func `a key of a table by rowid is found by an index that points share`() throws {
        var limits = FormatLimits()
        (limits.pageRows, limits.rowGroupRows) = (100, 1000)
        let schema = try TableSchema(
            columns: [
                Column(id: 1, name: "email", type: .utf8), Column(id: 2, name: "n", type: .int64),
                Column(
                    id: TableSchema.rowIDColumnID, name: "rowid", type: .int64, isHidden: true),
            ], key: [2], primaryKey: [0])
        let batch = RowBatch(schema)
        for row in 0..<Int64(5000) {
            batch.columns[0].append(text: "user\(row * 7919 % 5000)@example.org")
            batch.columns[1].append(row)
            batch.columns[2].append(row)
        }
        let files = MemoryFiles()
        let result = try FullWriter.write(
            BatchCursor(batch), schema: schema, table: "t", files: files, limits: limits)
        let pool = FilePool(files, cache: SharedCache(maxBytes: 1 << 24))
        let snapshot = Snapshot(result.snapshot, schema: schema, pool: pool)
        func pages(_ email: String) throws -> UInt64 {
            let before = pool.figures.pagesDecoded
            let rows = try RowFinder(TableKey(fields: [email])).rows(of: snapshot)
            #expect(rows.count == 1 && rows.columns[0].bytes(0) == [UInt8](email.utf8))
            return pool.figures.pagesDecoded - before
        }
        // Once all keys; then a page's keys and rowids, those of a few pages to find the rowid, and
        // the row.
        #expect(try pages("user1@example.org") >= 50)
        for row in [2, 77, 4999] { #expect(try pages("user\(row)@example.org") < 20) }
        #expect(try RowFinder(TableKey(fields: ["nobody"])).rows(of: snapshot).count == 0)
        struct Stopped: Error {}
        let other = Snapshot(
            result.snapshot, schema: schema,
            pool: FilePool(files, cache: SharedCache(maxBytes: 1 << 24)))
        var left = 20
        #expect(throws: Stopped.self) {
            try RowFinder(TableKey(fields: ["user1@example.org"])) {
                left -= 1
                if left == 0 { throw Stopped() }
            }.rows(of: other)
        }
    }
}

@Suite struct TableKeyTests {
    @Test(arguments: 0..<15) func `keys of every type come back from their texts`(seed: Int) throws
    {
        var random = SeededGenerator(seed: UInt64(seed))
        for type in everyType {
            let schema = try TableSchema(types: [type, .utf8, .int64], keys: 2)
            let rows = schema.randomRows(20, &random, nullKeys: true)
            for row in 0..<rows.count {
                let key = TableKey(rows, row, schema)
                let name = key.pathName
                #expect(TableKey(pathName: name) == key)
                #expect(name.utf8.allSatisfy { $0 >= 32 && $0 != 127 && $0 != UInt8(ascii: "/") })
                let back = try #require(key.values(in: schema), "\(type.name) \(key.fields)")
                // All NaNs look alike.
                if key.fields[0] == "nan" { continue }
                #expect(
                    (0..<2).allSatisfy {
                        ColumnVector.identical(back.columns[$0], 0, rows.columns[$0], row)
                    }, "\(type.name) \(key.fields)")
            }
        }
    }

    @Test func `hostile keys have names of files`() throws {
        let schema = try TableSchema(types: [.utf8, .int64], keys: 1)
        for (text, name) in [
            ("plain", "plain"), ("", "\"\""), ("a,b", "\"a%2Cb\""), ("a/b", "a%2Fb"), (".", "."),
            ("..", ".."), ("100%", "100%25"), ("say \"hi\"", "\"say \"\"hi\"\"\""), (" ", "\" \""),
            ("line\nbreak", "\"line%0Abreak\""), ("\u{0}\u{7F}", "%00%7F"), ("ä€😀", "ä€😀"),
            ("%2F", "%252F"), ("\"", "\"\"\"\""), ("\\.", "\"\\.\""), ("NULL", "NULL"),
        ] {
            let batch = RowBatch(schema)
            batch.columns[0].append(text: text)
            batch.columns[1].append(Int64(1))
            let key = TableKey(batch, 0, schema)
            #expect(key.pathName == name)
            let back = try #require(TableKey(pathName: name)).values(in: schema)
            #expect(back?.columns[0].bytes(0) == [UInt8](text.utf8))
        }
        for name in ["%", "%2", "%zz", "a%-1", "%FF"] { #expect(TableKey(pathName: name) == nil) }
        #expect(TableKey(pathName: "a,b")?.values(in: schema) == nil)
        // NULL is nothing.
        #expect(try #require(TableKey(pathName: "")?.values(in: schema)).columns[0].isNull(0))
    }

    @Test func `keys from words`() throws {
        let schema = try TableSchema(types: [.int64, .utf8, .int64], keys: 2)
        for words in [["42", "a b"], ["42,a b"], ["42,\"a b\""]] {
            let row = try #require(TableKey(words: words, of: schema).values(in: schema))
            #expect(row.columns[0].value(0, as: Int64.self) == 42)
            #expect(row.columns[1].bytes(0) == [UInt8]("a b".utf8))
        }
        #expect(try TableKey(words: ["1,\"x,y\""], of: schema).fields == ["1", "\"x,y\""])
        #expect(throws: Failure.self) { try TableKey(words: ["1", "2", "3"], of: schema) }
        #expect(throws: Failure.self) { try TableKey(words: ["1"], of: schema) }
        #expect(TableKey(fields: ["x", "y"]).values(in: schema) == nil)
    }
}
