import Bytes
import Foundation
import Repository
import Tables
import Testing

@Suite struct RepositoryTests {
    let directory = TemporaryDirectory()

    @Test func `What was committed is there after opening again`() throws {
        let repository = try Repository.create(directory.path + "/a/b")
        var records: [PointRecord] = []
        do {
            let lock = try repository.lock(collection: "shop")
            #expect(lock.current == nil)
            #expect(try lock.append(.define(definition("shop"))) == 1)
            records.append(try nextPoint(lock, uid: "token"))
            #expect(try lock.append(.point(records[0])) == 2)
            var second = try nextPoint(lock, paths: ["orders"])
            second.removed = [lock.current!.table(path: "sub/products", at: 1)!.id]
            records.append(second)
            #expect(try lock.append(.point(second)) == 3)
        }
        let again = try Repository.open(directory.path + "/a/b")
        #expect(again.id == repository.id)
        #expect(again.failures.isEmpty)
        for state in [again.collection("shop")!, repository.collection("shop")!] {
            #expect(state.definition == definition("shop"))
            #expect(state.points.map(\.name) == records.map(\.name))
            #expect(state.points.map(\.files) == records.map(\.files))
            #expect(state.points[0].notBackedUp == records[0].notBackedUp)
            #expect(state.points[1].parent == 1)
            #expect(state.tables(at: 1) == records[0].tables)
            #expect(state.tables(at: 2) == records[1].tables)
            #expect(state.table(path: "sub/products", at: 1) == records[0].tables[1])
            #expect(state.table(path: "sub/products", at: 2) == nil)
            #expect(state.changed(1, at: 2) == 1_763_596_800_000_002)
            #expect(state.point(uid: "token")?.sequence == 1)
            #expect(state.nextSequence == 3)
            #expect(state.nextFileNumber == 3)
            #expect(state.nextTableID == 3)
        }
        let file = try again.file(1, of: again.collection("shop")!)
        let buffer = ByteBuffer()
        try file.read(at: 1, count: 2, into: buffer)
        #expect(buffer.array == [2, 3])
        try file.verify()
    }
}
