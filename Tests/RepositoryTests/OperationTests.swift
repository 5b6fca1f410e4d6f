import Bytes
import Foundation
import Repository
import TestSupport
import Testing

@Suite struct OperationTests {
    let directory = TemporaryDirectory()

    func start(_ statement: String = "BACKUP shop;") -> OperationStart {
        OperationStart(
            statement: statement, owner: 1000, collection: "shop", kind: "backup", time: 5,
            uid: "token")
    }

    @Test func `Starts and ends are found again, newest first`() throws {
        let store = try Repository.create(directory.path).operations
        let first = try store.begin(start("BACKUP `sh\"op`;\n-- \u{1F642}"))
        let second = try store.begin(start())
        #expect([first.id, second.id] == [1, 2])
        let end = OperationEnd(
            state: .failed, error: "no room\non the disk", time: 9, rows: 3, bytes: 1 << 62,
            point: "20261120000000Z_full")
        #expect(try store.end(1, end))
        #expect(try !store.end(1, OperationEnd(state: .done, time: 10)))
        let again = try Repository.open(directory.path).operations
        let records = try again.newest()
        #expect(records.map(\.start) == [second, first])
        #expect(records.map(\.end) == [nil, end])
        #expect(try again.newest(1).map(\.start.id) == [2])
        let none = #expect(throws: Failure.self) { try again.record(3) }
        #expect(none?.code == .notFound)
    }

    @Test func `One runs as long as whoever runs it holds its lock`() throws {
        let other = try Repository.create(directory.path).operations
        do {
            let store = try Repository.open(directory.path).operations
            let running = try store.begin(start())
            for reader in [store, other] {
                #expect(try reader.record(1).isInterrupted == false)
                #expect(reader.interrupted(try reader.record(1)) == nil)
            }
            #expect(store.isOwn(running) && !other.isOwn(running))
            _ = try store.begin(start())
            try store.end(2, OperationEnd(state: .done, time: 1))
            withExtendedLifetime(store) {}
        }
        #expect(try other.record(1).isInterrupted)
        #expect(try other.record(2).isInterrupted == false)
        // What it locked is removed by the next one; that doesn't make it run again.
        _ = try other.begin(start())
        #expect(try owners().count == 1)
        #expect(try other.record(1).isInterrupted)
        #expect(try other.record(3).isInterrupted == false)
        other.close()
        #expect(try owners().isEmpty)
        #expect(try Repository.open(directory.path).operations.record(3).isInterrupted)
    }

    @Test func `A record that names no runner, or none that can be, is of one that has ended`()
        throws
    {
        let store = try Repository.create(directory.path).operations
        _ = try store.begin(start())
        let path = "\(directory.path)/operations/0000000001.json"
        let text = String(
            decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        let runner = try #require(
            text.range(of: ",\"runner\":\"[^\"]*\"", options: .regularExpression))
        for (number, other) in ["", ",\"runner\":\"../../lock\"", ",\"runner\":\"\""].enumerated() {
            try write(text.replacingCharacters(in: runner, with: other), number + 2)
            #expect(try store.record(UInt64(number + 2)).isInterrupted, "\(other)")
        }
    }

    private func owners() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path + "/operations")
            .filter { $0.hasPrefix("owner-") }
    }

    /// Writes an operation file with a right trailer.
    func write(_ text: String, _ id: Int) throws {
        let own = text.replacing("{\"id\":1,", with: "{\"id\":\(id),")
        let bytes = LogTests.seal(String(own.dropLast(77)) + "}")
        let path = "\(directory.path)/operations/000000000\(id).json"
        #expect(FileManager.default.createFile(atPath: path, contents: Data(bytes)))
    }

    @Test func `Many at once get numbers of their own`() async throws {
        _ = try Repository.create(directory.path)
        let ids = try await withThrowingTaskGroup(of: [UInt64].self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let store = try Repository.open(directory.path).operations
                    return try (0..<20).map { _ in try store.begin(start()).id }
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(ids.sorted() == Array(1...80))
    }

    @Test func `The last thousand are kept, and numbers never used again`() throws {
        let disk = SimulatedDisk()
        let store = try Repository.create(DirectoryStorage("/r", calls: disk)).operations
        for number in 1...1010 as ClosedRange<UInt64> {
            #expect(try store.begin(start()).id == number)
            if number % 10 == 0 { try store.requestCancel(number) }
            try store.end(number, OperationEnd(state: .done, time: 1))
        }
        let again = try Repository.open(DirectoryStorage("/r", calls: disk)).operations
        let records = try again.newest()
        #expect(records.map(\.start.id) == Array((11...1010).reversed()))
        #expect(records.allSatisfy { $0.end?.state == .done })
        #expect(disk.files().keys.count { $0.contains("/operations/0") } == 2100)
        #expect(try again.begin(start()).id == 1011)
    }

    @Test func `A number that another process used and removed isn't used again`() throws {
        let disk = SimulatedDisk()
        let store = try Repository.create(DirectoryStorage("/r", calls: disk)).operations
        let other = try Repository.open(DirectoryStorage("/r", calls: disk)).operations
        _ = try store.begin(start())
        for _ in 0..<1005 { _ = try other.begin(start()) }
        #expect(try store.begin(start()).id == 1007)
    }

    @Test func `A look tells what runs, what ended and what is to be cancelled`() throws {
        let store = try Repository.create(directory.path).operations
        #expect(try store.look().ids.isEmpty)
        for _ in 0..<3 { _ = try store.begin(start()) }
        try store.end(2, OperationEnd(state: .done, time: 1))
        try store.requestCancel(3)
        try store.requestCancel(3)
        let found = try store.look()
        #expect(found.ids == [1, 2, 3] && found.ended == [2] && found.cancelled == [3])
    }

    @Test func `A garbled record is left out of the list`() throws {
        let disk = SimulatedDisk()
        let store = try Repository.create(DirectoryStorage("/r", calls: disk)).operations
        for _ in 0..<3 { _ = try store.begin(start()) }
        disk.put("/r/operations/0000000002.json", Array("{\"id\":2".utf8))
        #expect(try store.newest().map(\.start.id) == [3, 1])
        let failure = #expect(throws: Failure.self) { try store.record(2) }
        #expect(failure?.code == .corrupt)
        #expect(failure?.message.contains("0000000002.json") == true)
    }
}
