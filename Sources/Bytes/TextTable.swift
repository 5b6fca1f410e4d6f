/// Lines of text in columns, as a terminal shows them: words on the left of their columns, numbers on the
/// right, no blanks at the ends of lines.
package struct TextTable {
    private let heads: [String]
    private let rows: [[String]]
    private let leftColumns: Set<Int>
    private let dispensable: [String]
    /// A column of words isn't made narrower than this: points' names are as long.
    private static let leastCells = 28

    /// - Parameter dispensable: heads of columns that go where there is no room, the first one first.
    package init(
        heads: [String], rows: [[String]], leftColumns: Set<Int>, dispensable: [String] = []
    ) {
        self.heads = heads
        self.rows = rows
        self.leftColumns = leftColumns
        self.dispensable = dispensable
    }

    /// - Parameter limit: cells that a line may take. Columns go that may, then long words are cut, then
    ///   more columns go, the last one first, until they fit; the last lines name those that went. A number is
    ///   never cut: it would be another one.
    package func lines(within limit: Int? = nil) -> [String] {
        var widths = heads.indices.map { column in
            rows.reduce(heads[column].cells) { max($0, $1[column].cells) }
        }
        var shown = Array(heads.indices)
        func excess() -> Int {
            guard let limit else { return 0 }
            return max(0, shown.reduce(2 * (shown.count - 1)) { $0 + widths[$1] } - limit)
        }
        func narrow(to least: Int) {
            let words = shown.filter(leftColumns.contains)
            while excess() > 0, let widest = words.max(by: { widths[$0] < widths[$1] }),
                widths[widest] > least
            {
                widths[widest] = max(least, widths[widest] - excess())
            }
        }
        var gone: [String] = []
        for head in dispensable where excess() > 0 {
            shown.removeAll { heads[$0] == head }
            gone.append(head)
        }
        narrow(to: Self.leastCells)
        while excess() > 0, shown.count > 1 { gone.append(heads[shown.removeLast()]) }
        narrow(to: 1)
        let lines = ([heads] + rows).map { row in
            line(shown.map { (row[$0], widths[$0], leftColumns.contains($0)) })
        }
        guard let limit, !gone.isEmpty else { return lines }
        return lines + "(no room for \(gone.joined(separator: ", ")))".wrapped(toCells: limit)
    }

    private func line(_ cells: [(text: String, width: Int, isLeft: Bool)]) -> String {
        var line = cells.map { text, width, isLeft in
            let text = text.cut(toCells: width)
            let blanks = String(repeating: " ", count: width - text.cells)
            return isLeft ? text + blanks : blanks + text
        }.joined(separator: "  ")
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }
}

extension String {
    /// Cells of a terminal that it takes.
    package var cells: Int { unicodeScalars.reduce(0) { $0 + $1.cells } }

    /// As much of it as there are cells for; what is cut ends in `…`.
    package func cut(toCells limit: Int) -> String {
        if cells <= limit { return self }
        var (shown, used) = (String.UnicodeScalarView(), 0)
        for scalar in unicodeScalars {
            used += scalar.cells
            if used > limit - 1 { break }
            shown.append(scalar)
        }
        return limit < 1 ? "" : String(shown) + "…"
    }

    /// Its words in lines that have cells for them, those behind the first indented by as much as it is and
    /// a little more. A word is never cut.
    package func wrapped(toCells limit: Int) -> [String] {
        if cells <= limit { return [self] }
        let blanks = utf8.prefix { $0 == UInt8(ascii: " ") }.count
        let indent = String(repeating: " ", count: min(blanks + 4, max(0, limit / 4)))
        var lines: [String] = []
        var words = split(separator: " ", omittingEmptySubsequences: false)[...]
        var line = words.popFirst().map(String.init) ?? ""
        for word in words {
            let longer = "\(line) \(word)"
            if longer.cells > limit, line.contains(where: { $0 != " " }) {
                lines.append(line)
                line = indent + word
            } else {
                line = longer
            }
        }
        return lines + [line]
    }
}

extension Unicode.Scalar {
    /// East Asian wide ones and emoji take 2, combining marks none.
    package var cells: Int {
        switch properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        switch value {
        case 0x1160...0x11FF: return 0
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xA960...0xA97C, 0xAC00...0xD7A3,
            0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F,
            0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return 2
        default: return properties.isEmojiPresentation ? 2 : 1
        }
    }
}
