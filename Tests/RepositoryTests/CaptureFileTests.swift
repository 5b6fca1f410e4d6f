import Bytes
import Foundation
import Repository
import TestSupport
import Testing

/// What a capture file says in tests: something else for each point.
func captureContent(_ sequence: UInt64) -> [UInt8] {
    Array("what point \(sequence) kept ".utf8) + [UInt8](repeating: UInt8(sequence), count: 3000)
}

extension WriterLock {
    func keepSampleCapture(uses: UInt32 = 0) throws {
        guard let newest = current?.newest else { return }
        let content = captureContent(newest.sequence)
        try keepCapture(uses: uses) { sink in
            for start in stride(from: 0, to: content.count, by: 700) {
                let buffer = ByteBuffer()
                buffer.append(Array(content[start..<min(start + 700, content.count)]))
                try sink.append(buffer)
            }
        }
    }

    /// The content of the capture file, if it can be trusted.
    func captured() throws -> [UInt8]? {
        guard let file = capture() else { return nil }
        let buffer = ByteBuffer()
        try file.read(at: 0, count: Int(file.sizeBytes), into: buffer)
        return buffer.array
    }
}

@Suite struct CaptureFileTests {
    let directory = TemporaryDirectory()

    private func begin(_ storage: any Storage) throws -> (Repository, WriterLock) {
        let repository = try Repository.create(storage)
        let lock = try repository.lock(collection: "shop")
        try lock.append(.define(definition("shop")))
        try lock.append(.point(try nextPoint(lock)))
        return (repository, lock)
    }

    @Test func `what is kept belongs to one point alone`() throws {
        let (_, lock) = try begin(DirectoryStorage(directory.path))
        #expect(lock.capture() == nil)
        try lock.keepSampleCapture(uses: 7)
        #expect(try lock.captured() == captureContent(1))
        #expect(lock.capture()?.uses == 7)
        // The next point knows nothing until something is kept of it.
        try lock.append(.point(try nextPoint(lock)))
        #expect(lock.capture() == nil)
        try lock.keepSampleCapture()
        #expect(try lock.captured() == captureContent(2))
        // Other entries don't matter, dropping the newest point does, and so does having it back.
        try lock.append(.pinPoints([1]))
        #expect(try lock.captured() == captureContent(2))
        try lock.append(.dropPoints([2]))
        #expect(lock.capture() == nil)
        try lock.keepSampleCapture()
        #expect(try lock.captured() == captureContent(1))
        try lock.append(.undropPoints([2]))
        #expect(lock.capture() == nil)
    }

    @Test func `it is passed on to a point of the same content`() throws {
        let (_, lock) = try begin(DirectoryStorage(directory.path))
        try lock.keepSampleCapture(uses: 3)
        let first = lock.current!.newest!
        try lock.append(.point(try nextPoint(lock)))
        try lock.passOnCapture(of: first)
        #expect(try lock.captured() == captureContent(1) && lock.capture()?.uses == 3)
        // What isn't there or is another point's can't be.
        try lock.append(.point(try nextPoint(lock)))
        try lock.passOnCapture(of: first)
        #expect(lock.capture() == nil)
    }

    @Test func `damage anywhere is as good as no file`() throws {
        let disk = SimulatedDisk()
        let (repository, lock) = try begin(DirectoryStorage("/r", calls: disk))
        try lock.keepSampleCapture()
        let path = "/r/collections/\(repository.collection("shop")!.id)/capture"
        let whole = try #require(disk.files()[path])
        #expect(whole.count == captureContent(1).count + 128)
        for index in stride(from: 0, to: whole.count - 128, by: 97)
            .map({ $0 }) + Array(whole.count - 128..<whole.count)
        {
            var damaged = whole
            damaged[index] ^= 0x10
            disk.put(path, damaged)
            #expect(lock.capture() == nil, "byte \(index)")
        }
        for count in [0, 1, 127, 128, 129, whole.count - 1] {
            disk.put(path, Array(whole.prefix(count)))
            #expect(lock.capture() == nil)
            disk.put(path, Array(whole.suffix(count)))
            #expect(lock.capture() == nil)
        }
        disk.put(path, whole + [0])
        #expect(lock.capture() == nil)
        disk.put(path, whole)
        #expect(try lock.captured() == captureContent(1))
        disk.put(path, nil)
        #expect(lock.capture() == nil)
    }

    @Test func `an attempt that fails leaves the old file and nothing else`() throws {
        let disk = SimulatedDisk()
        let (_, lock) = try begin(DirectoryStorage("/r", calls: disk))
        try lock.keepSampleCapture()
        let before = disk.files()
        #expect(throws: Failure.self) {
            try lock.keepCapture(uses: 0) { sink in
                let buffer = ByteBuffer()
                buffer.append(byte: 1, repeated: 1 << 20)
                try sink.append(buffer)
                throw Failure(.system, "the source can't say")
            }
        }
        #expect(disk.files() == before)
        #expect(try lock.captured() == captureContent(1))
        // Nothing that has no name yet stays for ever.
        disk.put(
            disk.files().keys.first { $0.hasSuffix("/capture") }!
                .replacingOccurrences(
                    of: "capture", with: ".\(String(repeating: "01", count: 16)).new"), [1])
        try lock.keepSampleCapture(uses: 1)
        #expect(Set(disk.files().keys) == Set(before.keys))
    }

    @Test func `it is no file of the collection`() throws {
        let (repository, lock) = try begin(DirectoryStorage(directory.path))
        try lock.keepSampleCapture()
        _ = try lock.removeUnneeded()
        #expect(try lock.captured() == captureContent(1))
        _ = try repository.reread(collection: "shop")
        #expect(try lock.captured() == captureContent(1))
    }
}
