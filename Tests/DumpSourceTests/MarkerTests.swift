import Bytes
import DumpSource
import Engine
import Repository
import Tables
import TestSupport
import Testing

/// Change markers, and what they make of a row.
@Suite struct MarkerTests {
    @Test func `the bytes that YDB writes are understood`() throws {
        let update: [UInt8] = [0x0A, 6, 8, 2, 0x10, 0, 0x18, 1, 0x10, 0]
        let updated = try #require(ChangeStates(update))
        #expect(updated.columns == [.init(tag: 2, isNull: false, isChanged: true)])
        #expect(!updated.isDeleted)
        let delete: [UInt8] = [
            0x0A, 6, 8, 2, 0x10, 1, 0x18, 1, 0x0A, 6, 8, 3, 0x10, 1, 0x18, 1, 0x10, 1,
        ]
        let deleted = try #require(ChangeStates(delete))
        #expect(deleted.columns.map(\.tag) == [2, 3])
        #expect(deleted.isDeleted)
        // A field of a later version is passed over, a large tag has several bytes.
        let later: [UInt8] = [0x1A, 2, 1, 2, 0x25, 0, 0, 0, 0, 0x0A, 3, 8, 0xAC, 2]
        #expect(ChangeStates(later)?.columns == [.init(tag: 300)])
        for cut in [1, 3, 7, 9] { #expect(ChangeStates(Array(update.prefix(cut))) == nil) }
        #expect(ChangeStates([0x0A, 0]) == nil)
        #expect(
            ChangeStates([0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]) == nil)
    }

    @Test func `no bytes do worse than not being understood`() {
        var random = SeededGenerator(seed: 3)
        var understood = 0
        let rounds = 50_000
        for _ in 0..<rounds {
            var bytes: [UInt8] = [0x0A, 6, 8, 2, 0x10, 0, 0x18, 1, 0x10, 0]
            for _ in 0...random.below(3) {
                bytes[random.below(bytes.count)] = UInt8(random.below(256))
            }
            if ChangeStates(Array(bytes.prefix(random.below(11)))) != nil { understood += 1 }
        }
        #expect((1..<rounds).contains(understood))
    }

    /// A dump of `orders` with rows 1 to 3, and an incremental with these lines.
    private func dump(_ lines: String, scheme: String = Orders.deltaScheme) throws -> Folder {
        let folder = try Folder()
        try folder.write(Orders.scheme, to: "shop/1_full/orders/scheme.pb")
        try folder.write(
            "1,\"tea\",10\n2,null,20\n3,\"fig\",null\n", to: "shop/1_full/orders/data_00.csv")
        try folder.write(scheme, to: "shop/2_incremental/orders/scheme.pb")
        try folder.write(lines, to: "shop/2_incremental/orders/data_00.csv")
        return folder
    }

    private func check(
        _ lines: String, scheme: String = Orders.deltaScheme, rows: String,
        finding: String? = nil, at location: SourceLocation = #_sourceLocation
    ) throws {
        let folder = try dump(lines, scheme: scheme)
        let imported = try Imported(DumpSource(directory: folder.path))
        let notes = try imported.pullAll()
        let csv = try imported.csv("shop", "2_incremental", "orders")
        #expect(csv == Orders.header + rows, sourceLocation: location)
        let found = notes.filter { $0.hasPrefix("2_incremental: orders: ") }
        #expect(
            found.map { $0.replacing(folder.path, with: "DIR") }
                == (finding.map { ["2_incremental: orders: " + $0] } ?? []),
            sourceLocation: location)
        let state = try imported.collection("shop")
        let table = state.table(path: "orders", at: state.newest!.sequence)
        let kept = table?.notes.contains { $0.hasSuffix(")") }
        #expect(kept == (finding != nil), sourceLocation: location)
    }

    @Test func `given columns change, the others keep what they had, a new row has NULL there`()
        throws
    {
        try check(
            """
            1,"new",null,\(Orders.markers([(2, false, true), (3, false, false)]))
            3,null,null,\(Orders.markers([(2, true, true), (3, true, true)], isDeleted: true))
            4,null,40,\(Orders.markers([(2, false, false), (3, false, true)]))
            5,null,null,\(Orders.markers([(3, true, true), (2, true, true)]))

            """, rows: "1,new,10\n2,,20\n4,,40\n5,,\n")
    }

    @Test func `a state wins over a cell, and a stale cell is told`() throws {
        try check(
            """
            1,"stale",7,\(Orders.markers([(2, false, false), (3, true, true)]))

            """, rows: "1,tea,\n2,,20\n3,fig,\n",
            finding:
                "1 rows have values in columns that are marked as unchanged: not taken, as YDB's "
                + "RESTORE doesn't (the first at DIR/shop/2_incremental/orders/data_00.csv:1)")
    }

    @Test func `tags that aren't positions go by their order`() throws {
        try check(
            """
            1,"new",null,\(Orders.markers([(9, false, false), (5, false, true)]))

            """, rows: "1,new,10\n2,,20\n3,fig,\n")
    }

    @Test func `what a NULL cell disproves isn't believed`() throws {
        // By position the first state is that of `item`, which is NULL and said to be changed to a value.
        try check(
            """
            1,null,11,\(Orders.markers([(2, false, true), (3, false, false)]))

            """, rows: "1,tea,11\n2,,20\n3,fig,\n",
            finding:
                "1 rows have change markers of unknown columns: their values other than NULL were "
                + "taken (the first at DIR/shop/2_incremental/orders/data_00.csv:1)")
    }

    @Test func `markers that can't be read, and none, take all values as they stand`() throws {
        try check(
            """
            1,null,11,"%FF"
            2,"two",null,null
            3,null,null,""

            """, rows: "1,,11\n2,two,\n3,,\n",
            finding:
                "1 rows have change markers that can't be read: all their values were taken as they "
                + "stand (the first at DIR/shop/2_incremental/orders/data_00.csv:1)")
    }

    @Test func `a state that is missing leaves its column as it stands`() throws {
        try check(
            "1,\"new\",null,\(Orders.markers([]))\n2,\"x\",5,\(Orders.markers([(3, false, false)]))\n",
            rows: "1,new,\n2,x,20\n3,fig,\n",
            finding:
                "1 rows have values in columns that are marked as unchanged: not taken, as YDB's "
                + "RESTORE doesn't (the first at DIR/shop/2_incremental/orders/data_00.csv:2)")
    }

    @Test func `the first kind of markers knows only whether a row is gone`() throws {
        let deleted = """

            columns { name: "__ydb_incrBackupImpl_deleted" type { optional_type { item { type_id: BOOL } } } }
            """
        try check(
            "3,null,null,1\n1,null,1,null\n2,\"b\",null,0\n",
            scheme: Orders.columns + deleted + Orders.key, rows: "1,,1\n2,b,\n")
    }

    @Test func `markers that nobody knows leave the table out`() throws {
        let unknown = """

            columns { name: "__ydb_incrBackupImpl_x" type { optional_type { item { type_id: BOOL } } } }
            """
        let folder = try dump("", scheme: Orders.columns + unknown + Orders.key)
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pullAll()
        #expect(
            try imported.reason("shop", "2_incremental", "orders").hasSuffix(
                "change markers that this version doesn't know: __ydb_incrBackupImpl_x"))
    }
}
