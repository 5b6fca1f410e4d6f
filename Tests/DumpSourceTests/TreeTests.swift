import Bytes
import DumpSource
import Engine
import Repository
import Tables
import TestSupport
import Testing

/// Dumps without backup collections in them: what a tree of tables is taken for.
@Suite struct TreeTests {
    private static let time = 1_755_785_719
    private static let point = "20250821141519Z_full"

    private func tree(_ name: String = "db") throws -> Folder {
        let folder = try Folder()
        for table in ["orders", "shop/sums"] {
            try folder.write(Orders.scheme, to: "\(name)/\(table)/scheme.pb")
            try folder.write("1,\"tea\",10\n", to: "\(name)/\(table)/data_00.csv")
        }
        try folder.touch(name, Self.time)
        return folder
    }

    @Test func `a tree is a point, called by its newest file's time, as long as that stays`()
        throws
    {
        let folder = try tree()
        let imported = try Imported(DumpSource(directory: folder.path + "/db"))
        try imported.pullAll()
        let state = try imported.collection("db")
        #expect(state.points.map(\.name) == [Self.point])
        #expect(state.points[0].cut == Int64(Self.time) * 1_000_000)
        #expect(try imported.csv("db", Self.point, "shop/sums") == Orders.header + "1,tea,10\n")
        let again = try imported.engine.newPoints()
        #expect(again.statements.isEmpty && again.notes.isEmpty)
    }

    @Test func `a tree that is dumped again is a new point; an older one is told`() throws {
        let folder = try tree()
        let imported = try Imported(DumpSource(directory: folder.path + "/db"))
        try imported.pullAll()
        try folder.write("2,\"milk\",20\n", to: "db/orders/data_00.csv")
        try folder.touch("db", Self.time + 3600)
        try imported.pullAll()
        let new = "20250821151519Z_full"
        #expect(try imported.collection("db").points.map(\.name) == [Self.point, new])
        #expect(try imported.csv("db", Self.point, "orders") == Orders.header + "1,tea,10\n")
        #expect(try imported.csv("db", new, "orders") == Orders.header + "2,milk,20\n")
        try folder.touch("db", Self.time - 3600)
        let older = try imported.engine.newPoints()
        #expect(older.statements.isEmpty)
        #expect(
            older.notes == [
                "db/20250821131519Z_full isn't imported: it is older than \(new), which was "
                    + "imported before"
            ])
    }

    @Test func `a folder called by YDB's tool tells the time, whatever its files' times are`()
        throws
    {
        let folder = try tree("backup_20251121T100000")
        let imported = try Imported(
            DumpSource(directory: folder.path + "/backup_20251121T100000"))
        try imported.pullAll()
        let state = try imported.collection("backup_20251121T100000")
        #expect(state.points.map(\.name) == ["20251121100000Z_full"])
        try folder.write("2,null,null\n", to: "backup_20251121T100000/orders/data_00.csv")
        let told = try imported.engine.newPoints()
        #expect(told.statements.isEmpty)
        #expect(told.notes.count == 1 && told.notes[0].contains("its files are others"))
    }

    @Test func `of dumps side by side that YDB's tool has called each is a point`() throws {
        let (old, new) = ("backup_20251121T100000", "backup_20251122T100000")
        let folder = try tree(new)
        try folder.write(Orders.scheme, to: "\(old)/orders/scheme.pb")
        try folder.write("1,null,null\n", to: "\(old)/orders/data_00.csv")
        let imported = try Imported(DumpSource(directory: folder.path))
        try imported.pullAll()
        let name = try #require(imported.engine.collections.first?.name)
        let state = try imported.collection(name)
        #expect(
            state.points.map(\.name) == ["20251121100000Z_full", "20251122100000Z_full"])
        #expect(try state.tables(at: #require(state.points.first).sequence).map(\.rows) == [1])
    }

    @Test func `a table that was dumped alone is the table of its directory's name`() throws {
        let folder = try tree()
        let imported = try Imported(DumpSource(directory: folder.path + "/db/orders"))
        try imported.pullAll()
        let state = try imported.collection("orders")
        #expect(try state.tables(at: #require(state.newest).sequence).map(\.path) == ["orders"])
        #expect(
            try imported.csv("orders", Self.point, "orders") == Orders.header + "1,tea,10\n")
    }

    @Test func `tables of a database may be called as points are`() throws {
        let folder = try tree()
        for table in ["stock_full", "shop/sold_incremental", "shop/old_full/sums"] {
            try folder.write(Orders.scheme, to: "db/\(table)/scheme.pb")
            try folder.write("1,\"tea\",10\n", to: "db/\(table)/data_00.csv")
        }
        try folder.touch("db", Self.time)
        let imported = try Imported(DumpSource(directory: folder.path + "/db"))
        try imported.pullAll()
        let state = try imported.collection("db")
        #expect(
            try state.tables(at: #require(state.newest).sequence).map(\.path).sorted() == [
                "orders", "shop/old_full/sums", "shop/sold_incremental", "shop/sums", "stock_full",
            ])
    }

    @Test func `a tree beside collections is a collection of its own, any other folder isn't`()
        throws
    {
        let folder = try tree("all/db")
        try folder.write(Orders.scheme, to: "all/shop/1_full/orders/scheme.pb")
        try folder.write("9,null,null\n", to: "all/shop/1_full/orders/data_00.csv")
        try folder.write("a photo", to: "all/photos/1.jpg")
        try folder.write(Orders.scheme, to: "all/code/proto/scheme.pb")
        try folder.write("a program", to: "all/code/main.c")
        let imported = try Imported(DumpSource(directory: folder.path + "/all"))
        #expect(
            try DumpSource(directory: folder.path + "/all").listCollections().map(\.name) == [
                "db", "shop",
            ])
        try imported.pullAll()
        #expect(try imported.csv("db", Self.point, "orders") == Orders.header + "1,tea,10\n")
        #expect(try imported.csv("shop", "1_full", "orders") == Orders.header + "9,,\n")
    }

    @Test func `a tree that is being dumped waits`() throws {
        let folder = try tree()
        try folder.write("", to: "db/shop/incomplete")
        let imported = try Imported(DumpSource(directory: folder.path + "/db"))
        let waiting = try imported.engine.newPoints()
        #expect(waiting.statements.isEmpty)
        #expect(
            waiting.notes.count == 1 && waiting.notes[0].contains("/db/shop holds a file named"))
        try folder.remove("db/shop/incomplete")
        try imported.pullAll()
        #expect(try imported.collection("db").points.count == 1)
    }

    @Test func `no other directory is taken for a dump`() throws {
        let folder = try tree("home/dumps/db")
        func refusal(_ place: String) -> String? {
            DumpSource.refusal(of: folder.path + "/" + place)
        }
        #expect(refusal("home/dumps/db") == nil)
        #expect(refusal("home/dumps") == nil)
        try folder.write("", to: "home/dumps/db/.hidden")
        try folder.write("What is left out", to: "home/dumps/db/README")
        #expect(refusal("home/dumps") == nil)
        try folder.write("x", to: "home/notes.txt")
        #expect(
            refusal("home") == "\(folder.path)/home/notes.txt is no file of such a dump")
        try folder.write("x", to: "home/dumps/db/shop/sums/photo.jpg")
        #expect(refusal("home/dumps/db")?.contains("/sums/photo.jpg is no file") == true)
        // What YDB's own tool has put its file into is a dump, whatever else lies there.
        try folder.write("actions { }", to: "home/dumps/db/permissions.pb")
        #expect(refusal("home/dumps/db") == nil)
        try folder.write("", to: "nothing/data_00.csv")
        #expect(refusal("nothing") == "there is no scheme.pb in it")
        #expect(refusal("not there")?.contains("can't open") == true)
    }
}
