import Bytes
import Engine

/// One line on a terminal that is written over as the work goes on.
struct ProgressBar {
    private let label: String
    private let started = Instant.now

    private static let cells = 20
    private static let labelMax = 24

    init(_ statement: String) {
        let words = statement.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        label = oneLine(
            words.count > Self.labelMax ? words.prefix(Self.labelMax - 1) + "…" : words)
    }

    func draw(_ progress: OperationProgress) {
        Output.note("\r\(text(progress, at: .now))\u{1B}[K")
    }

    func erase() { Output.note("\r\u{1B}[K") }

    func text(_ progress: OperationProgress, at time: Instant) -> String {
        let seconds = Double(max(0, time.microseconds - started.microseconds)) / 1e6
        var words = "\(progress.rows) \(progress.unit)"
        var bar = ""
        if let total = progress.totalRows, total > 0 {
            let share = min(1, Double(progress.rows) / Double(total))
            let full = Int(share * Double(Self.cells))
            bar =
                "[" + String(repeating: "#", count: full)
                + String(repeating: ".", count: Self.cells - full) + "] \(Int(share * 100))% "
            words = "\(progress.rows)/\(total) \(progress.unit)"
        }
        if seconds >= 1 { words += ", \(UInt64(Double(progress.rows) / seconds))/s" }
        return "\(label) \(bar)\(words), \(Int(seconds)) s"
    }
}
