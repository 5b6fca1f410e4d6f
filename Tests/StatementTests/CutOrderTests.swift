import Engine
import Testing

/// Which points' times are believed when clocks were wrong.
@Suite struct CutOrderTests {
    /// Sequences of the points believed, of points cut at these seconds.
    private func reliable(_ cuts: [Int64], now: Int64 = 1_000_000) -> [UInt64] {
        let points = cuts.enumerated().map { (UInt64($0.offset + 1), $0.element * 1_000_000) }
        return CutOrder(points, now: Instant(seconds: now)).reliable.sorted()
    }

    @Test func `Times that agree with the order are all believed`() {
        #expect(reliable([]) == [])
        #expect(reliable([5]) == [1])
        #expect(reliable([1, 2, 3]) == [1, 2, 3])
        #expect(reliable([4, 4, 4, 9]) == [1, 2, 3, 4])
    }

    @Test func `A clock that was behind isn't believed`() {
        #expect(reliable([100, 0, 140]) == [1, 3])
        #expect(reliable([100, 0]) == [1])
        #expect(reliable([100, 110, 0, 1, 150, 160]) == [1, 2, 5, 6])
    }

    @Test func `One jump ahead spoils no later time`() {
        #expect(reliable([100, 900, 101, 102]) == [1, 3, 4])
        // In the future nothing is believed.
        #expect(reliable([100, 900, 101], now: 200) == [1, 3])
        #expect(reliable([900], now: 200) == [])
    }

    /// Against every subset.
    @Test func `It is the largest set that agrees`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let cuts = (0..<Int.random(in: 0...9, using: &random)).map { _ in
                Int64.random(in: 0...9, using: &random)
            }
            var best: [Int] = []
            for mask in 0..<(1 << cuts.count) {
                let chosen = cuts.indices.filter { mask >> $0 & 1 == 1 }
                let values = chosen.map { cuts[$0] }
                guard zip(values, values.dropFirst()).allSatisfy({ $0 <= $1 }) else { continue }
                if chosen.count > best.count { best = chosen }
            }
            let found = reliable(cuts)
            #expect(found.count == best.count, "\(cuts)")
            let values = found.map { cuts[Int($0) - 1] }
            #expect(zip(values, values.dropFirst()).allSatisfy { $0 <= $1 }, "\(cuts): \(found)")
        }
    }
}
