import Bytes
import DumpSource
import TestSupport
import Testing

/// Data files: their lines, their number, and the order of their rows.
@Suite struct RowsTests {
    private func csv(
        _ files: [String], _ limits: SortLimits = .init()
    ) throws -> String {
        let folder = try Folder()
        try folder.write(Orders.scheme, to: "shop/1_full/orders/scheme.pb")
        for (number, text) in files.enumerated() {
            let digits = number < 10 ? "0\(number)" : "\(number)"
            try folder.write(text, to: "shop/1_full/orders/data_\(digits).csv")
        }
        let imported = try Imported(DumpSource(directory: folder.path, sortLimits: limits))
        try imported.pullAll()
        return try imported.csv("shop", "1_full", "orders")
    }

    @Test func `rows in any order come in that of the key, with little memory`() throws {
        var random = SeededGenerator(seed: 9)
        let count = 5000
        let order = Array(0..<count).shuffled(using: &random)
        var limits = SortLimits()
        limits.runBytes = 4096
        limits.recordBytes = 256
        limits.mergeBytes = 64 << 10
        limits.mergedRuns = 4
        let line = { (id: Int) in "\(id),\"row+\(id)\",\(id * 7)\n" }
        let found = try csv([order.map(line).joined()], limits)
        let expected = (0..<count).map { "\($0),row \($0),\($0 * 7)\n" }.joined()
        #expect(found == Orders.header + expected)
    }

    @Test func `rows of many files are one table, and a file may be empty`() throws {
        let files = (0..<105).map { $0 == 50 ? "" : "\($0),null,\($0)\n" }
        let rows = (0..<105).filter { $0 != 50 }.map { "\($0),,\($0)\n" }.joined()
        #expect(try csv(files) == Orders.header + rows)
        #expect(try csv([""]) == Orders.header)
    }

    @Test func `values longer than what is read at once are whole`() throws {
        let long = String(repeating: "abcdefgh", count: 100_000)
        let lines = "1,\"\(long)\",1\n2,null,2\n3,\"\(long)%21\",3\n"
        #expect(try csv([lines]) == Orders.header + "1,\(long),1\n2,,2\n3,\(long)!,3\n")
    }
}
