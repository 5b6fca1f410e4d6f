/// Lines of text in columns, as a terminal shows them.
package enum TextTable {
    /// Words on the left of their columns, numbers on the right; no blanks at the ends of lines.
    package static func aligned(_ rows: [[String]], leftColumns: Set<Int>) -> [String] {
        guard let first = rows.first else { return [] }
        let widths = first.indices.map { column in rows.map { $0[column].cells }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                let blanks = String(repeating: " ", count: widths[column] - cell.cells)
                return leftColumns.contains(column) ? cell + blanks : blanks + cell
            }
            var line = cells.joined(separator: "  ")
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }
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
