import Bytes
import Engine
import Repository

/// `COLLECTION/chain.svg`: a lane for each chain, points along time. Shapes tell what colours tell.
struct ChainPicture {
    private static let width = 960.0
    private static let margin = 70.0
    private static let top = 56.0
    private static let laneHeight = 44.0
    private static let barHeight = 16.0
    /// More lanes than this make no picture: the oldest are left out, and that is said.
    private static let lanesMax = 60

    private let state: CollectionState
    private let checks: [UInt64: PointCheck]
    private let chains: [[BackupPoint]]
    private let leftOut: Int
    private let first: Int64
    private let last: Int64
    private let largest: UInt64

    static func text(_ engine: Engine, _ shown: ShownCollection) -> String {
        ChainPicture(shown.state, engine.repository?.checks(of: shown.state) ?? [:]).svg
    }

    private init(_ state: CollectionState, _ checks: [UInt64: PointCheck]) {
        self.state = state
        self.checks = checks
        var chains: [[BackupPoint]] = []
        var index: [UInt64: Int] = [:]
        for point in state.points {
            if let known = index[point.chain] {
                chains[known].append(point)
            } else {
                index[point.chain] = chains.count
                chains.append([point])
            }
        }
        leftOut = max(chains.count - Self.lanesMax, 0)
        self.chains = Array(chains.suffix(Self.lanesMax))
        let cuts = self.chains.joined().map(\.cut)
        first = cuts.min() ?? 0
        last = cuts.max() ?? 0
        largest = max(state.points.map { state.storedBytes(of: $0) }.max() ?? 0, 1)
    }

    private func x(_ cut: Int64) -> Double {
        guard last > first else { return Self.width / 2 }
        let share = Double(cut - first) / Double(last - first)
        return Self.margin + share * (Self.width - 2 * Self.margin)
    }

    private var svg: String {
        let height = Self.top + Double(chains.count) * Self.laneHeight + 70
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.number(Self.width)) \(Self.number(height))" \
            font-family="sans-serif" font-size="12">
            \(Self.style)
            <rect class="ground" width="100%" height="100%"/>
            <text x="16" y="24" font-size="15">\(Self.escaped(state.name)): \(state.points.count) points, \
            \(Self.bytes(state.storedBytes)) stored</text>

            """
        if leftOut > 0 {
            text +=
                "<text x=\"16\" y=\"42\" class=\"quiet\">\(leftOut) older chains aren't shown</text>\n"
        }
        if chains.isEmpty {
            text +=
                "<text x=\"16\" y=\"\(Self.number(Self.top + 10))\">no backup point yet</text>\n"
        }
        for (lane, chain) in chains.enumerated() {
            text += self.lane(chain, Self.top + Double(lane) * Self.laneHeight + 22)
        }
        let axis = Self.top + Double(chains.count) * Self.laneHeight + 14
        return text + self.axis(axis) + legend(axis + 36) + "</svg>\n"
    }

    // MARK: Lanes

    private func lane(_ chain: [BackupPoint], _ y: Double) -> String {
        var text = ""
        let usual = Self.usualStep(chain.map(\.cut))
        for (before, after) in zip(chain, chain.dropFirst()) {
            let isGap = usual.map { after.cut - before.cut > $0 * 5 / 2 } ?? false
            text += "<line class=\"\(isGap ? "gap" : "line")\" "
            text += "x1=\"\(Self.number(x(before.cut)))\" y1=\"\(Self.number(y))\" "
            text += "x2=\"\(Self.number(x(after.cut)))\" y2=\"\(Self.number(y))\"/>\n"
        }
        for point in chain { text += mark(point, y) }
        return text
    }

    /// The step between points that half of the others exceed; nil for too few.
    private static func usualStep(_ cuts: [Int64]) -> Int64? {
        guard cuts.count > 3 else { return nil }
        let steps = zip(cuts.dropFirst(), cuts).map { $0 - $1 }.sorted()
        return max(steps[steps.count / 2], 1)
    }

    private func mark(_ point: BackupPoint, _ y: Double) -> String {
        let x = x(point.cut)
        let stored = state.storedBytes(of: point)
        let bar = max((Double(stored) / Double(largest)) * Self.barHeight, 1)
        let check = checks[point.sequence]
        var words = ["\(point.name)", "\(Self.bytes(stored)) stored"]
        if point.isPinned { words.append("pinned") }
        if !point.notBackedUp.isEmpty { words.append("incomplete") }
        if let check { words.append("verified: \(check.text)") }
        var text = "<g><title>\(Self.escaped(words.joined(separator: ", ")))</title>\n"
        text += "<rect class=\"bar\" x=\"\(Self.number(x - 1.5))\" "
        text += "y=\"\(Self.number(y - 7 - bar))\" width=\"3\" height=\"\(Self.number(bar))\"/>\n"
        let kind = point.notBackedUp.isEmpty ? "point" : "incomplete"
        if check?.damage == nil, check != nil { text += Self.circle("verified", x, y, 8) }
        if point.kind == .full {
            text += "<rect class=\"\(kind)\" x=\"\(Self.number(x - 5))\" "
            text += "y=\"\(Self.number(y - 5))\" width=\"10\" height=\"10\"/>\n"
        } else {
            text += Self.circle(kind, x, y, 3.5)
        }
        if check?.damage != nil { text += Self.cross(x, y) }
        if point.isPinned { text += Self.pin(x, y + 12) }
        return text + "</g>\n"
    }

    private static func pin(_ x: Double, _ y: Double) -> String {
        let base = number(y + 4)
        return "<path class=\"pin\" d=\"M\(number(x - 4)) \(base)L\(number(x + 4)) \(base)"
            + "L\(number(x)) \(number(y - 4))Z\"/>\n"
    }

    private static func circle(_ kind: String, _ x: Double, _ y: Double, _ radius: Double) -> String
    {
        "<circle class=\"\(kind)\" cx=\"\(number(x))\" cy=\"\(number(y))\" r=\"\(number(radius))\"/>\n"
    }

    private static func cross(_ x: Double, _ y: Double) -> String {
        let (left, right) = (number(x - 7), number(x + 7))
        let (up, down) = (number(y - 7), number(y + 7))
        return
            "<path class=\"damaged\" d=\"M\(left) \(up)L\(right) \(down)M\(left) \(down)L\(right) \(up)\"/>\n"
    }

    // MARK: Axis and legend

    private func axis(_ y: Double) -> String {
        if chains.isEmpty { return "" }
        var text =
            "<line class=\"axis\" x1=\"\(Self.number(Self.margin))\" y1=\"\(Self.number(y))\" "
        text += "x2=\"\(Self.number(Self.width - Self.margin))\" y2=\"\(Self.number(y))\"/>\n"
        let count: Int64 = last > first ? 4 : 0
        for step in 0...count {
            let time = count == 0 ? first : first + (last - first) / count * step
            text += "<text class=\"quiet\" text-anchor=\"middle\" x=\"\(Self.number(x(time)))\" "
            text += "y=\"\(Self.number(y + 16))\">"
            let name = Instant(microseconds: time).floorToSecond.description
            text += name.prefix(16).replacing("T", with: " ") + "</text>\n"
        }
        return text
    }

    private func legend(_ y: Double) -> String {
        var text = ""
        var x = 24.0
        func add(_ mark: String, _ words: String) {
            text += mark + "<text class=\"quiet\" x=\"\(Self.number(x + 14))\" "
            text += "y=\"\(Self.number(y + 4))\">\(words)</text>\n"
            x += 40 + Double(words.count) * 6.5
        }
        let square =
            "<rect class=\"point\" x=\"\(Self.number(x - 5))\" y=\"\(Self.number(y - 5))\" "
            + "width=\"10\" height=\"10\"/>\n"
        add(square, "full")
        add(Self.circle("point", x, y, 3.5), "incremental")
        add(Self.circle("incomplete", x, y, 3.5), "incomplete")
        add(Self.circle("verified", x, y, 8), "verified")
        add(Self.cross(x, y), "damaged")
        add(Self.pin(x, y), "pinned")
        let gap =
            "<line class=\"gap\" x1=\"\(Self.number(x - 8))\" y1=\"\(Self.number(y))\" "
            + "x2=\"\(Self.number(x + 10))\" y2=\"\(Self.number(y))\"/>\n"
        add(gap, "gap")
        let bar =
            "<rect class=\"bar\" x=\"\(Self.number(x))\" y=\"\(Self.number(y - 8))\" width=\"3\" "
            + "height=\"14\"/>\n"
        add(bar, "bytes stored, at most \(Self.bytes(largest))")
        return text
    }

    /// Colours that are told apart whatever one's eyes see, on light and on dark ground.
    private static let style = """
        <style>
        .ground{fill:#fff}text{fill:#1a1a1a}.quiet{fill:#595959}
        .axis,.line{stroke:#8a8a8a;stroke-width:1.5}.gap{stroke:#d55e00;stroke-width:2;stroke-dasharray:3 4}
        .point{fill:#0072b2}.incomplete{fill:#e69f00;stroke:#7a5400}.bar{fill:#9ab8cc}
        .verified{fill:none;stroke:#009e73;stroke-width:2}.damaged{stroke:#d55e00;stroke-width:3;fill:none}
        .pin{fill:#595959}
        @media (prefers-color-scheme:dark){.ground{fill:#16181c}text{fill:#ececec}.quiet{fill:#a8a8a8}
        .axis,.line{stroke:#707070}.gap{stroke:#ff8c42}.point{fill:#56b4e9}.incomplete{fill:#f0c04a;stroke:#fff}
        .bar{fill:#3f5f75}.verified{stroke:#2fd0a0}.damaged{stroke:#ff8c42}.pin{fill:#a8a8a8}}
        </style>
        """

    /// With one digit behind the point, which is all that a picture shows.
    private static func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(abs(tenths % 10))"
    }

    private static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        var unit = "B"
        for next in ["kB", "MB", "GB", "TB", "PB"] where value >= 1000 {
            value /= 1000
            unit = next
        }
        return unit == "B" ? "\(count) B" : "\(number(value)) \(unit)"
    }

    /// Characters that XML has no place for are left out.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case _
            where scalar.isUnprintable || scalar == "\t" || scalar.value & 0xFFFE == 0xFFFE:
                result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
