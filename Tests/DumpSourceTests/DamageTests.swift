import Bytes
import DumpSource
import Engine
import Repository
import TestSupport
import Testing

/// Dumps that aren't as they should be: what is told, and what is shown all the same.
@Suite struct DamageTests {
    /// Two tables in a full and two incrementals; `orders` is to be damaged, `sums` stays right.
    private func dump() throws -> Folder {
        let folder = try Folder()
        for table in ["orders", "sums"] {
            try folder.write(Orders.scheme, to: "shop/1_full/\(table)/scheme.pb")
            try folder.write(
                "1,\"tea\",10\n2,null,20\n", to: "shop/1_full/\(table)/data_00.csv")
            for (point, id) in [("2_incremental", 3), ("3_incremental", 4)] {
                try folder.write(Orders.deltaScheme, to: "shop/\(point)/\(table)/scheme.pb")
                try folder.write(
                    "\(id),null,30,\(Orders.markers([]))\n",
                    to: "shop/\(point)/\(table)/data_00.csv")
            }
        }
        return folder
    }

    private static let sums = Orders.header + "1,tea,10\n2,,20\n3,,30\n4,,30\n"

    /// Damages `orders` of the full: it is left out of all points, for the same reason, the rest stays.
    @Test(arguments: [
        ("1,\"tea\",10\n2,null\n", ":2: the row has 2 fields, the table has 3"),
        ("1,\"tea\",ten\n", ":1: column amount: ten is no Int64"),
        ("1,\"tea\",10\n\n", ":2: the row has 1 field, the table has 3"),
        ("1,\"tea\",10\n2,nu", ":2: the file ends within a line: it is cut off"),
        ("1,tea,10\n", ":1: column item: tea is no Utf8"),
        ("null,\"tea\",10\n", ":1: column id is NOT NULL, and the field is null"),
        ("1,\"a\",1\n1,\"b\",2\n", "a key comes twice: at FILE:1 and FILE:2"),
        ("5,\"a\",1\n7,\"b\",2\n2,null,3\n7,null,4\n", "a key comes twice: at FILE:2 and FILE:4"),
    ])
    func `a table that can't be read is named with its line, and all others are there`(
        text: String, words: String
    ) throws {
        let folder = try dump()
        try folder.write(text, to: "shop/1_full/orders/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        let ends = try imported.pull()
        #expect(ends.map(\.state) == [.done])
        #expect(ends[0].incomplete == 3)
        let file = folder.path + "/shop/1_full/orders/data_00.csv"
        let reason =
            words.hasPrefix(":") ? file + words : words.replacing("FILE", with: file)
        #expect(try imported.reason("shop", "1_full", "orders") == reason)
        for point in ["2_incremental", "3_incremental"] {
            #expect(
                try imported.reason("shop", point, "orders")
                    == "it stands on what couldn't be read at 1_full: " + reason)
        }
        #expect(try imported.csv("shop", "3_incremental", "sums") == Self.sums)
    }

    @Test func `a broken incremental leaves the points before it, and the next full, as they are`()
        throws
    {
        let folder = try dump()
        try folder.write("oops\n", to: "shop/2_incremental/orders/data_00.csv")
        try folder.write(Orders.scheme, to: "shop/4_full/orders/scheme.pb")
        try folder.write("9,null,null\n", to: "shop/4_full/orders/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pull()
        #expect(
            try imported.csv("shop", "1_full", "orders")
                == Orders.header + "1,tea,10\n2,,20\n")
        #expect(try imported.reason("shop", "2_incremental", "orders").contains("data_00.csv:1: "))
        #expect(
            try imported.reason("shop", "3_incremental", "orders")
                .hasPrefix("it stands on what couldn't be read at 2_incremental: "))
        #expect(try imported.csv("shop", "3_incremental", "sums") == Self.sums)
        #expect(try imported.csv("shop", "4_full", "orders") == Orders.header + "9,,\n")
    }

    @Test func `missing files are named`() throws {
        let folder = try dump()
        try folder.write("1,null,null\n", to: "shop/1_full/orders/data_02.csv")
        try folder.remove("shop/1_full/sums/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pull()
        #expect(
            try imported.reason("shop", "1_full", "orders")
                == folder.path + "/shop/1_full/orders/data_01.csv is missing")
        #expect(
            try imported.reason("shop", "1_full", "sums")
                == folder.path + "/shop/1_full/sums/data_00.csv is missing")
        // Nothing of it can be read, and yet it is there to say so.
        let state = try imported.collection("shop")
        #expect(state.points.count == 3)
        #expect(state.points.allSatisfy { state.tables(at: $0.sequence).isEmpty })
    }

    @Test func `a point that is being dumped waits; in between it is broken`() throws {
        let folder = try dump()
        try folder.write("", to: "shop/3_incremental/orders/incomplete")
        let imported = try Imported(DumpSource(directory: folder.path))
        let notes = try imported.pullAll()
        #expect(try imported.collection("shop").points.count == 2)
        #expect(notes.contains { $0.hasPrefix("3_incremental isn't imported yet: ") })
        let (statements, told) = try imported.engine.newPoints()
        #expect(statements.isEmpty && told.count == 1)

        try folder.write(Orders.deltaScheme, to: "shop/4_incremental/orders/scheme.pb")
        try folder.write("", to: "shop/4_incremental/orders/data_00.csv")
        try imported.pull()
        let state = try imported.collection("shop")
        #expect(state.points.count == 4)
        #expect(try imported.reason("shop", "3_incremental", "sums").contains("incomplete"))
        #expect(
            try imported.reason("shop", "4_incremental", "sums")
                .hasPrefix("it stands on what couldn't be read at 3_incremental: "))

        try folder.write("", to: "shop/incomplete")
        #expect(throws: Failure.self) { try imported.engine.newPoints() }
    }

    @Test func `an incremental without its full says so, and the next full is right`() throws {
        let folder = try dump()
        try folder.remove("shop/1_full")
        try folder.write(Orders.scheme, to: "shop/4_full/orders/scheme.pb")
        try folder.write("9,null,null\n", to: "shop/4_full/orders/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pull()
        for point in ["2_incremental", "3_incremental"] {
            #expect(
                try imported.reason("shop", point, "orders").hasSuffix(
                    "holds only changes, and there is no full backup of the table before it"))
        }
        #expect(try imported.csv("shop", "4_full", "orders") == Orders.header + "9,,\n")
    }

    @Test func `an incremental without markers is the whole table, and that is said`() throws {
        let folder = try dump()
        try folder.write(Orders.scheme, to: "shop/2_incremental/orders/scheme.pb")
        try folder.write("2,\"new\",20\n", to: "shop/2_incremental/orders/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        let notes = try imported.pullAll()
        #expect(notes.contains { $0.contains("has no change markers: taken as the whole table") })
        #expect(
            try imported.csv("shop", "2_incremental", "orders") == Orders.header + "2,new,20\n")
        #expect(
            try imported.csv("shop", "3_incremental", "orders")
                == Orders.header + "2,new,20\n4,,30\n")
    }

    @Test func `columns that come, that an incremental lacks, and that are other ones`() throws {
        let folder = try dump()
        let added = """

            columns { name: "note" type { optional_type { item { type_id: UTF8 } } }
              from_literal { type { type_id: UTF8 } value { text_value: "none" } } }
            """
        try folder.write(
            Orders.columns + added + Orders.metadata + Orders.key,
            to: "shop/2_incremental/orders/scheme.pb")
        try folder.write(
            "3,null,30,\"own\",\(Orders.markers([]))\n",
            to: "shop/2_incremental/orders/data_00.csv")
        let lacking = Orders.deltaScheme.replacing("amount", with: "extra")
        try folder.write(lacking, to: "shop/3_incremental/orders/scheme.pb")
        try folder.write(
            lacking.replacing("type_id: INT64", with: "type_id: UTF8").replacing(
                "extra", with: "amount"),
            to: "shop/3_incremental/sums/scheme.pb")
        let imported = try Imported(DumpSource(directory: folder.path))
        let notes = try imported.pull().flatMap(\.notes)
        #expect(
            try imported.csv("shop", "2_incremental", "orders")
                == "id,item,amount,note\n1,tea,10,none\n2,,20,none\n3,,30,own\n")
        #expect(
            try imported.csv("shop", "3_incremental", "orders")
                == "id,item,amount,note,extra\n1,tea,10,none,\n2,,20,none,\n3,,30,own,\n4,,,,30\n")
        #expect(notes.contains { $0.contains("column amount isn't there") })
        #expect(
            try imported.reason("shop", "3_incremental", "sums").hasSuffix(
                "column amount is Utf8, and it was Int64 before"))
    }

    @Test func `a folder that only has the name of a backup is none`() throws {
        let folder = try Folder()
        try folder.write("x", to: "shop/1_full/mysql/data.sql")
        let imported = try Imported(DumpSource(directory: folder.path))
        let (statements, notes) = try imported.engine.newPoints()
        #expect(statements.isEmpty)
        #expect(notes.count == 1 && notes[0].hasSuffix("/shop/1_full holds no table: no scheme.pb"))
        #expect(imported.engine.collections.isEmpty)
    }

    @Test func `what isn't a table is left out, and files that change later are told`() throws {
        let folder = try dump()
        try folder.write("SELECT 1", to: "shop/1_full/a view/create_view.sql")
        try folder.write("", to: "shop/1_full/nothing/empty_dir")
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pull()
        #expect(
            try imported.reason("shop", "1_full", "a view")
                == "a view is no table: the dump has create_view.sql of it")
        #expect(try imported.engine.newPoints().notes.isEmpty)
        try folder.write("1,null,null\n", to: "shop/1_full/sums/data_00.csv")
        let told = try imported.engine.newPoints()
        #expect(told.statements.isEmpty)
        #expect(
            told.notes.count == 1 && told.notes[0].hasPrefix("shop/1_full: its files are others"))
        #expect(try imported.csv("shop", "3_incremental", "sums") == Self.sums)
    }

    @Test func `no damage to data files does worse than leaving tables out`() throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        var random = SeededGenerator(seed: 41)
        let places = [
            "20250821141519Z_full/all/types/data_00.csv",
            "20250821151519Z_incremental/gaps/data_00.csv",
            "20250821151519Z_incremental/gaps/scheme.pb",
        ]
        var texts: [String: [UInt8]] = [:]
        for place in places {
            texts[place] = [UInt8](try folder.text("generationC/" + place).utf8)
        }
        var leftOut = 0
        let rounds = 40
        for _ in 0..<rounds {
            let place = random.pick(places)
            var bytes = texts[place]!
            if bytes.isEmpty { continue }
            for _ in 0...random.below(3) {
                bytes[random.below(bytes.count)] = random.pick([0x2C, 0x0A, 0x22, 0x25, 0x39, 0])
            }
            try folder.write(bytes, to: "generationC/" + place)
            let imported = try Imported(DumpSource(directory: folder.path + "/generationC"))
            let ends = try imported.pull()
            #expect(ends.map(\.state) == [.done], "\(ends.compactMap(\.error))")
            leftOut += ends[0].leftOut.isEmpty ? 0 : 1
            #expect(try imported.collection("generationC").points.count == 4)
            try folder.write(texts[place]!, to: "generationC/" + place)
        }
        #expect((1..<rounds).contains(leftOut))
    }
}
