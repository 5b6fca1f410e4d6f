import Bytes
import Engine
import Glibc

/// One line on a terminal that is written over as the work goes on.
struct ProgressBar {
    private let label: String
    private let started = Instant.now

    private static let cells = 20
    private static let labelMax = 24
    private static let columns = 80

    init(_ statement: String) {
        let words = statement.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        label = oneLine(
            words.count > Self.labelMax ? words.prefix(Self.labelMax - 1) + "…" : words)
    }

    /// Never more than a line: the last cell stays empty, or some terminals would begin a new one.
    func draw(_ progress: OperationProgress) {
        let room = (Terminal.columns(STDERR_FILENO) ?? Self.columns) - 1
        Output.note("\r\(text(progress, at: .now, within: room).cut(toCells: room))\u{1B}[K")
    }

    func erase() { Output.note("\r\u{1B}[K") }

    private func text(
        _ progress: OperationProgress, at time: Instant, within room: Int
    ) -> String {
        let seconds = Double(max(0, time.microseconds - started.microseconds)) / 1e6
        if let reason = progress.waitsFor {
            return "\(label) waits for \(reason), \(Int(seconds)) s"
        }
        var words = "\(progress.rows) \(progress.unit)"
        var bar = ""
        var percent = ""
        if let total = progress.totalRows, total > 0 {
            let share = min(1, Double(progress.rows) / Double(total))
            let full = Int(share * Double(Self.cells))
            bar =
                "[" + String(repeating: "#", count: full)
                + String(repeating: ".", count: Self.cells - full) + "] "
            percent = "\(Int(share * 100))% "
            words = "\(progress.rows)/\(total) \(progress.unit)"
        }
        if seconds >= 1 { words += ", \(UInt64(Double(progress.rows) / seconds))/s" }
        let figures = "\(percent)\(words), \(Int(seconds)) s"
        let whole = "\(label) \(bar)\(figures)"
        // Figures say more than a bar.
        return whole.cells <= room ? whole : "\(label) \(figures)"
    }
}
