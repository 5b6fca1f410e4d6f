/// The shortest decimal that reads back as the same floating-point number; of several the nearest.
///
/// Raffaello Giulietti's Schubfach ("The Schubfach way to render doubles", 2020): the number's
/// rounding interval is scaled by a power of ten into 64-bit integers, rounded to odd, and the
/// shortest integer within is taken. Proven for products of 128 bits, which `powers` provides.
struct ShortestDecimal {
    /// The number is `digits` × 10^`exponent`; no zeros at the end of the digits.
    var digits: UInt64
    var exponent: Int

    /// `value` must be finite, positive and not zero.
    @inline(__always)
    init(_ value: Double) {
        let bits = value.bitPattern
        let fraction = bits & (1 << 52 - 1)
        let biased = Int(bits >> 52 & 0x7FF)
        self.init(
            significand: biased == 0 ? fraction : fraction | 1 << 52,
            exponent: max(biased, 1) - 1075, isNarrowBelow: fraction == 0 && biased > 1)
    }

    @inline(__always)
    init(_ value: Float) {
        let bits = value.bitPattern
        let fraction = UInt64(bits & (1 << 23 - 1))
        let biased = Int(bits >> 23 & 0xFF)
        self.init(
            significand: biased == 0 ? fraction : fraction | 1 << 23,
            exponent: max(biased, 1) - 150, isNarrowBelow: fraction == 0 && biased > 1)
    }

    /// Of c × 2^q. `isNarrowBelow`: the next smaller number is only half as far as the next greater.
    private init(significand c: UInt64, exponent q: Int, isNarrowBelow: Bool) {
        if q <= 0, q > -53, c & (1 << UInt64(-q) - 1) == 0 {
            self.init(stripping: c >> UInt64(-q), exponent: 0)
            return
        }
        let isEven = c & 1 == 0
        // ⌊log₁₀(2^q)⌋, or of ¾ × 2^q; then ⌊log₂(10^−k)⌋.
        let k = (q * 1_262_611 - (isNarrowBelow ? 524_031 : 0)) >> 22
        let h = UInt64(q + (-k * 1_741_647) >> 19 + 1)
        let power = Self.powers[-k - Self.lowest]
        let below = Self.roundToOdd(power, (4 * c - (isNarrowBelow ? 1 : 2)) << h)
        let middle = Self.roundToOdd(power, 4 * c << h)
        let above = Self.roundToOdd(power, (4 * c + 2) << h)
        let lower = isEven ? below : below + 1
        let upper = isEven ? above : above - 1
        let s = middle / 4
        if s >= 10 {
            let tens = s / 10
            let isDownInside = lower <= 40 * tens
            let isUpInside = 40 * tens + 40 <= upper
            if isDownInside != isUpInside {
                self.init(stripping: tens + (isUpInside ? 1 : 0), exponent: k + 1)
                return
            }
        }
        let isDownInside = lower <= 4 * s
        let isUpInside = 4 * s + 4 <= upper
        let isUp =
            isDownInside != isUpInside
            ? isUpInside : middle > 4 * s + 2 || (middle == 4 * s + 2 && s & 1 == 1)
        self.init(stripping: isUp ? s + 1 : s, exponent: k)
    }

    @inline(__always)
    private init(stripping digits: UInt64, exponent: Int) {
        self.digits = digits
        self.exponent = exponent
        if digits % 10 != 0 { return }
        strip(100_000_000, 8)
        strip(10_000, 4)
        strip(10_000, 4)
        strip(100, 2)
        strip(10, 1)
    }

    @inline(__always)
    private mutating func strip(_ power: UInt64, _ zeros: Int) {
        let (quotient, remainder) = digits.quotientAndRemainder(dividingBy: power)
        if remainder == 0 {
            digits = quotient
            exponent += zeros
        }
    }

    /// The upper 64 bits of g × c, its last bit set if anything follows.
    @inline(__always)
    private static func roundToOdd(_ g: Power, _ c: UInt64) -> UInt64 {
        let low = g.low.multipliedFullWidth(by: c).high
        let high = g.high.multipliedFullWidth(by: c)
        let (middle, carry) = high.low.addingReportingOverflow(low)
        return (high.high + (carry ? 1 : 0)) | (middle > 1 ? 1 : 0)
    }

    // MARK: Powers of ten

    private struct Power {
        var high: UInt64
        var low: UInt64
    }

    private static let lowest = -292
    private static let highest = 324

    /// The first 128 bits of 10^`lowest` … 10^`highest`, rounded up; made by long arithmetic.
    private static let powers: [Power] = {
        let words = 20
        // 2^1279 divided by ten again and again: floors of floors are exact.
        var number = [UInt64](repeating: 0, count: words)
        number[words - 1] = 1 << 63
        var negative: [Power] = []
        for _ in 0 ..< -lowest {
            var remainder: UInt64 = 0
            for index in number.indices.reversed() {
                (number[index], remainder) = UInt64(10).dividingFullWidth(
                    (remainder, number[index]))
            }
            negative.append(leading(number, isExact: false))
        }
        number = [UInt64](repeating: 0, count: words)
        number[0] = 1
        var result = Array(negative.reversed())
        for _ in 0...highest {
            result.append(leading(number, isExact: true))
            var carry: UInt64 = 0
            for index in number.indices {
                let product = number[index].multipliedFullWidth(by: 10)
                let (sum, overflow) = product.low.addingReportingOverflow(carry)
                number[index] = sum
                carry = product.high + (overflow ? 1 : 0)
            }
        }
        return result
    }()

    /// The first 128 bits of a number in little-endian words, rounded up.
    private static func leading(_ number: [UInt64], isExact: Bool) -> Power {
        let top = number.lastIndex { $0 != 0 }!
        let shift = UInt64(number[top].leadingZeroBitCount)
        func word(_ index: Int) -> UInt64 { index < 0 ? 0 : number[index] }
        func shifted(_ index: Int) -> UInt64 {
            shift == 0 ? word(index) : word(index) << shift | word(index - 1) >> (64 - shift)
        }
        let hasRest =
            !isExact || shifted(top - 2) != 0 || number.prefix(max(top - 2, 0)).contains { $0 != 0 }
        let value = UInt128(shifted(top)) << 64 | UInt128(shifted(top - 1))
        let rounded = value + (hasRest ? 1 : 0)
        return Power(
            high: UInt64(truncatingIfNeeded: rounded >> 64),
            low: UInt64(truncatingIfNeeded: rounded))
    }
}
