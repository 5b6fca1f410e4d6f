import Bytes
import DumpSource
import Engine
import Repository
import TestSupport
import Testing

/// Whole dumps, made by a program that knows nothing of this one, and what it says of each point.
@Suite struct HistoryTests {
    /// Every table of every point is what the model has.
    private func check(_ folder: Folder, _ name: String, key: String = "") throws -> Int {
        let key = DumpKey(file: folder.path + "/" + key)
        let imported = try Imported(DumpSource(directory: folder.path + "/" + name, key: key))
        try imported.pullAll()
        var count = 0
        for point in try folder.names(name + ".expected") {
            let place = name + ".expected/" + point
            for file in try folder.files(place) {
                let table = String(file.dropLast(4))
                let found = try imported.csv(name, point, table)
                let expected = try folder.text(place + "/" + file)
                #expect(found == expected, "\(name) \(point) \(table)")
                count += 1
            }
        }
        let tables = try imported.collection(name).points.map { point in
            try imported.collection(name).tables(at: point.sequence).count
        }
        #expect(tables.reduce(0, +) == count, "\(name) has tables that nobody expects")
        return count
    }

    @Test(arguments: ["A", "B", "C"])
    func `every point of a dump with any change markers is what its tables were`(
        generation: String
    ) throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        #expect(try check(folder, "generation" + generation) == 8)
    }

    @Test func `a dump of a database is one point of one collection`() throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        #expect(try check(folder, "tree") == 3)
    }

    @Test(arguments: [
        ("exportItems", "", 8), ("exportMapped", "", 8), ("exportTree", "", 3),
        ("exportAES", "key16", 8), ("exportAES256", "key32", 8), ("exportChaCha", "key32", 8),
    ])
    func `every point of a server's export is what its tables were`(
        name: String, key: String, tables: Int
    ) throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        #expect(try check(folder, name, key: key) == tables)
    }

    @Test func `every point of any history is what the model has`() throws {
        let folder = try Folder()
        let histories = 1000
        try folder.makeDumps("random", folder.path, "1", "\(histories)")
        var tables = 0
        for number in 0..<histories { tables += try check(folder, "h\(number)") }
        #expect(tables > 3 * histories)
    }
}
