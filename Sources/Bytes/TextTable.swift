/// Lines of text in columns, as a terminal shows them: words on the left of their columns, numbers on the
/// right, no blanks at the ends of lines.
package struct TextTable {
    private let heads: [String]
    private let rows: [[String]]
    private let leftColumns: Set<Int>
    private let dispensable: [String]
    /// A column of words isn't made narrower than this.
    private static let leastCells = 8

    /// - Parameter dispensable: heads of columns that go where there is no room, the first one first.
    package init(
        heads: [String], rows: [[String]], leftColumns: Set<Int>, dispensable: [String] = []
    ) {
        self.heads = heads
        self.rows = rows
        self.leftColumns = leftColumns
        self.dispensable = dispensable
    }

    /// - Parameter limit: cells that a line may take. Columns go, and then words are cut, until they fit;
    ///   a last line names those that went.
    package func lines(within limit: Int? = nil) -> [String] {
        var widths = heads.indices.map { column in
            rows.reduce(heads[column].cells) { max($0, $1[column].cells) }
        }
        var shown = Array(heads.indices)
        func excess() -> Int {
            guard let limit else { return 0 }
            return max(0, shown.reduce(2 * (shown.count - 1)) { $0 + widths[$1] } - limit)
        }
        var gone: [String] = []
        for head in dispensable where excess() > 0 {
            shown.removeAll { heads[$0] == head }
            gone.append(head)
        }
        while excess() > 0,
            let widest = shown.filter(leftColumns.contains).max(by: { widths[$0] < widths[$1] }),
            widths[widest] > Self.leastCells
        {
            widths[widest] = max(Self.leastCells, widths[widest] - excess())
        }
        var lines = ([heads] + rows).map { row in
            line(shown.map { (row[$0], widths[$0], leftColumns.contains($0)) })
        }
        if !gone.isEmpty { lines.append("(no room for \(gone.joined(separator: ", ")))") }
        return limit.map { limit in lines.map { $0.cut(toCells: limit) } } ?? lines
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
