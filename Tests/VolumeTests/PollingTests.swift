import Testing
import Volume

/// How often a mount looks for what others did, by made-up clocks.
@Suite struct PollingTests {
    /// When a mount looked that was last asked for something at the given second, in seconds of two
    /// minutes in which it could at each second.
    private func looks(_ polling: Polling, requests: [Int]) -> [Int] {
        let second: UInt64 = 1_000_000_000
        var last = 0
        return (1...120).filter { now in
            let request = requests.last { $0 <= now } ?? 0
            let isDue = polling.isDue(
                now: UInt64(now) * second, last: UInt64(last) * second,
                request: UInt64(request) * second)
            if isDue { last = now }
            return isDue
        }
    }

    @Test func `after a minute in which nobody asks it is six times as long, until somebody does`()
    {
        let polling = Polling(seconds: 5)
        // Whoever waits between looks waits for five seconds: here each second is one of them.
        #expect(looks(polling, requests: []) == Array(1...60) + [90, 120])
        #expect(looks(polling, requests: [100]) == Array(1...60) + [90] + Array(100...120))
        #expect(looks(.remote, requests: []) == looks(polling, requests: []))
        #expect(looks(.local, requests: []) == Array(1...120))
    }
}
