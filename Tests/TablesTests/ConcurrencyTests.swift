import Bytes
import Glibc
import Synchronization
import TestSupport
import Testing

/// The shared cache and the ordered pipeline, with many threads at a time.
@Suite(.timeLimit(.minutes(2))) struct ConcurrencyTests {
    private final class Value: Sendable {
        let number: UInt64
        init(_ number: UInt64) { self.number = number }
    }

    private struct Broken: Error, Equatable { var number: Int }

    private static func key(_ number: UInt64) -> SharedCache.Key {
        SharedCache.Key(owner: 1, kind: 0, number)
    }

    @Test func `many threads make a value once, and memory stays bounded`() throws {
        let most = 10 * (100 + SharedCache.entryBytes)
        let cache = SharedCache(maxBytes: most)
        let made = Mutex<[UInt64: Int]>([:])
        let wrong = Mutex(0)
        let inFlight = Mutex<Set<UInt64>>([])
        let threads = try (0..<16).map { thread in
            try WorkerThread {
                var random = SeededGenerator(seed: UInt64(thread))
                for _ in 0..<4000 {
                    let number = UInt64.random(in: 0..<40, using: &random)
                    let value = try? cache.value(Self.key(number)) { () -> (Value, bytes: Int) in
                        made.withLock { $0[number, default: 0] += 1 }
                        if !inFlight.withLock({ $0.insert(number).inserted }) {
                            wrong.withLock { $0 += 1 }
                        }
                        defer { inFlight.withLock { _ = $0.remove(number) } }
                        return (Value(number), bytes: 100)
                    }
                    if value?.number != number { wrong.withLock { $0 += 1 } }
                    if cache.figures.bytes > most { wrong.withLock { $0 += 1 } }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(wrong.withLock { $0 } == 0)
        let total = made.withLock { $0.values.reduce(0, +) }
        let figures = cache.figures
        #expect(figures.misses == UInt64(total))
        #expect(figures.hits + figures.misses == 16 * 4000)
        #expect(figures.bytes <= most && total >= 40)
    }

    @Test func `those who wait for a value get the one that is made`() throws {
        let cache = SharedCache(maxBytes: 1000)
        let gate = Monitor(false)
        let results = Mutex<[UInt64]>([])
        let calls = Mutex(0)
        let threads = try (0..<12).map { thread in
            try WorkerThread {
                let value = try? cache.value(Self.key(1)) { () -> (Value, bytes: Int) in
                    calls.withLock { $0 += 1 }
                    gate.wait { $0 ? () : nil }
                    return (Value(42), bytes: 1)
                }
                results.withLock { $0.append(value?.number ?? 0) }
            }
        }
        while !cache.contains(Self.key(1)) {}
        gate.update { $0 = true }
        for thread in threads { thread.join() }
        #expect(results.withLock { $0 } == Array(repeating: 42, count: 12))
        #expect(calls.withLock { $0 } == 1)
    }

    @Test func `an error reaches its caller and isn't remembered`() throws {
        let cache = SharedCache(maxBytes: 1000)
        #expect(throws: Broken(number: 1)) {
            try cache.value(Self.key(1)) { () throws -> (Value, bytes: Int) in
                throw Broken(number: 1)
            }
        }
        #expect(!cache.contains(Self.key(1)))
        #expect(try cache.value(Self.key(1)) { (Value(5), bytes: 1) }.number == 5)
        #expect(try cache.value(Self.key(1)) { (Value(6), bytes: 1) }.number == 5)
    }

    @Test func `the least recently used value goes first, the newest stays even if too big`() throws
    {
        let cache = SharedCache(maxBytes: 3 * (100 + SharedCache.entryBytes))
        func use(_ number: UInt64, bytes: Int = 100) throws {
            _ = try cache.value(Self.key(number)) { (Value(number), bytes: bytes) }
        }
        func present() -> [UInt64] { (1...6).filter { cache.contains(Self.key($0)) } }
        for number in 1...3 as ClosedRange<UInt64> { try use(number) }
        try use(1)
        try use(4)
        #expect(present() == [1, 3, 4])
        try use(3)
        try use(5, bytes: 200)
        #expect(present() == [3, 5])
        try use(6, bytes: 5000)
        #expect(present() == [6])
        try use(1)
        #expect(present() == [1] && cache.figures.bytes == 100 + SharedCache.entryBytes)
    }

    @Test func `values without a byte take memory too`() throws {
        let cache = SharedCache(maxBytes: 1 << 20)
        for number in 0..<100_000 as Range<UInt64> {
            _ = try cache.value(Self.key(number)) { (Value(number), bytes: 0) }
        }
        let present = (0..<100_000).count { cache.contains(Self.key($0)) }
        #expect(present > 1000 && present <= 1 << 20 / 250)
    }

    @Test(arguments: 0..<10) func `a pipeline keeps order and bounds what is under way`(seed: Int)
        throws
    {
        let underWay = Mutex((now: 0, most: 0))
        var output: [Int] = []
        let pipeline = OrderedPipeline<Int, Int>(
            threads: 4, capacity: 6,
            transform: { input in
                var random = SeededGenerator(seed: UInt64(seed * 1000 + input))
                var spin = Int.random(in: 0..<20_000, using: &random)
                while spin > 0 { spin -= 1 }
                return input * 2
            },
            consume: { value in
                underWay.withLock { $0.now -= 1 }
                output.append(value)
            })
        for input in 0..<500 {
            underWay.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            try pipeline.submit(input)
        }
        try pipeline.finish()
        pipeline.close()
        #expect(output == (0..<500).map { $0 * 2 })
        #expect(underWay.withLock { $0.most } <= 6)
    }

    @Test(arguments: [0, 1, 7, 99]) func `an error comes in its place, and closing never hangs`(
        failing: Int
    ) {
        var output: [Int] = []
        let pipeline = OrderedPipeline<Int, Int>(
            threads: 3, capacity: 5,
            transform: { input in
                if input >= failing { throw Broken(number: input) }
                return input
            }, consume: { output.append($0) })
        #expect(throws: Broken(number: failing)) {
            for input in 0..<100 { try pipeline.submit(input) }
            try pipeline.finish()
        }
        pipeline.close()
        #expect(output == Array(0..<failing))
    }

    @Test func `a pipeline starts threads only where there is work for two`() throws {
        let own = pthread_self()
        var isOwn: [Bool] = []
        let pipeline = OrderedPipeline<Int, Bool>(
            threads: 2, capacity: 4, transform: { _ in pthread_equal(pthread_self(), own) != 0 },
            consume: { isOwn.append($0) })
        defer { pipeline.close() }
        for input in 0..<3 {
            try pipeline.submit(input)
            try pipeline.finish()
        }
        #expect(isOwn == [true, true, true])
        for input in 0..<5 { try pipeline.submit(input) }
        try pipeline.finish()
        #expect(isOwn.dropFirst(3) == [false, false, false, false, false])
    }

    @Test func `a pipeline closes with work queued, and with none`() throws {
        for count in [0, 1, 5] {
            let pipeline = OrderedPipeline<Int, Int>(
                threads: 2, capacity: 8, transform: { $0 }, consume: { _ in })
            for input in 0..<count { try pipeline.submit(input) }
            pipeline.close()
        }
        let pipeline = OrderedPipeline<Int, Int>(
            threads: 2, capacity: 2, transform: { $0 },
            consume: { if $0 == 3 { throw Broken(number: 3) } })
        defer { pipeline.close() }
        #expect(throws: Broken(number: 3)) {
            for input in 0..<10 { try pipeline.submit(input) }
            try pipeline.finish()
        }
    }
}
