import Bytes
import Tables
import TestSupport
import Testing

@Suite struct KeyRangesTests {
    private static func key(_ number: Int) -> [UInt8] {
        [1, UInt8(number / 256), UInt8(number % 256)]
    }

    @Test(arguments: 0..<50) func `they contain what lies between their bounds`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        // Numbers in ascending order, some twice, as bounds; one range may end where another begins.
        var numbers: [Int] = []
        while numbers.count < 2 * Int.random(in: 0...20, using: &random) {
            let step = numbers.count % 2 == 0 ? 0...3 : 1...5
            numbers.append((numbers.last ?? 0) + Int.random(in: step, using: &random))
        }
        let hasStart = Bool.random(using: &random)
        let hasEnd = Bool.random(using: &random)
        var ranges = KeyRanges()
        var inside: Set<Int> = []
        for index in stride(from: 0, to: numbers.count - 1, by: 2) {
            let isFirst = index == 0 && !hasStart
            let isLast = index + 2 >= numbers.count && !hasEnd
            try ranges.append(
                after: isFirst ? nil : Self.key(numbers[index]),
                before: isLast ? nil : Self.key(numbers[index + 1]))
            let lower = isFirst ? -1 : numbers[index]
            let upper = isLast ? 1000 : numbers[index + 1]
            inside.formUnion(lower + 1..<upper)
        }
        for number in 0..<1000 {
            #expect(ranges.contains(Self.key(number)) == inside.contains(number))
        }
        let copy = ranges
        #expect(copy.count == ranges.count)
        if hasEnd {
            try ranges.append(after: Self.key(900), before: nil)
            #expect(ranges.contains(Self.key(950)) && !copy.contains(Self.key(950)))
            #expect(ranges.last!.upper == nil && ranges.last!.lower == Self.key(900))
        }
    }

    @Test func `ranges without order or room are refused`() throws {
        var ranges = KeyRanges()
        #expect(throws: Failure.self) { try ranges.append(after: [1, 5], before: [1, 5]) }
        #expect(throws: Failure.self) { try ranges.append(after: [1, 5], before: [1, 4]) }
        try ranges.append(after: [1, 5], before: [1, 7])
        #expect(throws: Failure.self) { try ranges.append(after: [1, 6], before: [1, 9]) }
        #expect(throws: Failure.self) { try ranges.append(after: nil, before: [1, 9]) }
        try ranges.append(after: [1, 7], before: nil)
        #expect(throws: Failure.self) { try ranges.append(after: [1, 8], before: nil) }
        #expect(ranges.count == 2 && !ranges.contains([1, 7]) && ranges.contains([1, 7, 0]))
    }

    @Test func `everything contains every key, nothing none`() {
        #expect(KeyRanges.everything.contains([0]) && KeyRanges.everything.contains([1, 255, 255]))
        #expect(!KeyRanges().contains([0]) && KeyRanges().isEmpty)
    }
}
