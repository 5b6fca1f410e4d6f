import Bytes
import Crypto
import Foundation
import Repository
import TestSupport
import Testing

@Suite struct DataFileTests {
    let directory = TemporaryDirectory()

    /// A collection with one point whose files have these contents.
    func collection(_ contents: [[UInt8]]) throws -> (Repository, CollectionState) {
        let repository = try Repository.create(directory.path)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        var record = try nextPoint(lock)
        record.files += try contents.map { bytes in
            let writer = try lock.createFile(.parquet, table: tid(1))
            var rest = bytes[...]
            var random = SeededGenerator(seed: UInt64(bytes.count))
            while !rest.isEmpty {
                let piece = rest.prefix(Int.random(in: 1...600_000, using: &random))
                rest = rest.dropFirst(piece.count)
                try writer.append(Array(piece))
                #expect(writer.position == UInt64(bytes.count - rest.count))
            }
            return try writer.finish(rows: 4)
        }
        try lock.append(.point(record))
        return (repository, lock.current!)
    }

    @Test func `What was written in pieces is read at any place`() throws {
        var random = SeededGenerator(seed: 3)
        let contents: [[UInt8]] = [0, 1, 262_144, 262_145, 3_000_000].map { count in
            (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        let (repository, state) = try collection(contents)
        for (index, bytes) in contents.enumerated() {
            let file = try repository.file(UInt64(index + 2), of: state)
            #expect(file.reference.bytes == UInt64(bytes.count))
            let hash = SHA256.hash(data: Data(bytes)).map { String(format: "%02x", $0) }.joined()
            #expect(file.reference.sha256 == hash)
            try file.verify()
            for _ in 0..<50 {
                let start = Int.random(in: 0...bytes.count, using: &random)
                let end = Int.random(in: start...bytes.count, using: &random)
                let buffer = ByteBuffer()
                buffer.append(byte: 42)
                try file.read(at: UInt64(start), count: end - start, into: buffer)
                #expect(buffer.array == [42] + bytes[start..<end])
            }
            #expect(throws: Failure.self) {
                try file.read(at: UInt64(bytes.count), count: 1, into: ByteBuffer())
            }
            #expect(throws: Failure.self) { try file.read(at: .max, count: 1, into: ByteBuffer()) }
        }
        #expect(throws: Failure.self) { try repository.file(99, of: state) }
    }

    @Test func `Few descriptors serve many files and readers`() async throws {
        let contents = (0..<150).map { [UInt8](repeating: UInt8($0), count: 100) }
        let (repository, state) = try collection(contents)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for reader in 0..<4 {
                group.addTask {
                    var random = SeededGenerator(seed: UInt64(reader))
                    for _ in 0..<2000 {
                        let number = UInt64.random(in: 2...151, using: &random)
                        let buffer = ByteBuffer()
                        try repository.file(number, of: state).read(at: 90, count: 9, into: buffer)
                        #expect(buffer.array == [UInt8](repeating: UInt8(number - 2), count: 9))
                    }
                }
            }
            try await group.waitForAll()
        }
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/fd/\($0)")
            return target?.contains(directory.path) == true
        }
        #expect((1...64).contains(open))
    }

    @Test func `A file that is missing, short or changed is named`() throws {
        let (_, state) = try collection([[UInt8](repeating: 1, count: 5000)])
        let name = state.points[0].files[1].name
        let path = "\(directory.path)/tables/\(state.id)/\(tid(1))/\(name)"
        for bytes in [nil, 4999, 5001, 5000] as [Int?] {
            try? FileManager.default.removeItem(atPath: path)
            if let bytes {
                #expect(
                    FileManager.default.createFile(
                        atPath: path, contents: Data(repeating: 2, count: bytes)))
            }
            let fresh = try Repository.open(directory.path)
            let failure = #expect(throws: Failure.self) {
                try fresh.file(2, of: fresh.collection("shop")!).verify()
            }
            #expect(failure?.code == .corrupt)
            #expect(failure?.message.contains(path) == true)
        }
    }
}
