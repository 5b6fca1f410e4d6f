import Bytes
import Engine
import Glibc

/// How figures are shown: to programs exactly and in UTC, to somebody at a terminal as people read them.
package struct Shown: Sendable {
    /// Cells of a line; nil: it isn't for a terminal.
    let columns: Int?
    /// Whether times are as programs have them.
    let isUTC: Bool

    package static let exact = Shown(columns: nil, isUTC: true)

    /// For the standard output.
    static func output(isUTC: Bool) -> Shown {
        let columns = Terminal.columns(STDOUT_FILENO)
        return Shown(columns: columns, isUTC: isUTC || columns == nil)
    }

    func size(_ bytes: UInt64) -> String {
        if columns == nil || bytes < 1024 { return columns == nil ? "\(bytes)" : "\(bytes) B" }
        var (size, units) = (Double(bytes) / 1024, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][...])
        while size >= 1023.5, units.count > 1 {
            size /= 1024
            units = units.dropFirst()
        }
        let tenths = UInt64((size * 10).rounded())
        let number =
            tenths < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(UInt64(size.rounded()))"
        return "\(number) \(units.first!)"
    }

    /// So many bytes, in a sentence.
    func bytes(_ count: UInt64) -> String { columns == nil ? "\(count) bytes" : size(count) }

    func time(_ time: Instant) -> String {
        if isUTC { return "\(time)" }
        var (seconds, parts) = (time_t(time.seconds), tm())
        var text = [CChar](repeating: 0, count: 64)
        guard localtime_r(&seconds, &parts) != nil,
            strftime(&text, text.count, "%Y-%m-%d %H:%M:%S %Z", &parts) > 0
        else { return "\(time)" }
        let words = PathText.text(text)
        // A zone that nobody knows has no name, and is UTC.
        return words.hasSuffix(" ") ? "\(time)" : words
    }

    /// A time as reports for programs have it.
    func time(_ text: String) -> String {
        (try? Instant(expression: text, now: .now)).map { time($0) } ?? text
    }

    func value(_ value: Answer.Value) -> String {
        switch value {
        case .bytes(let bytes): size(bytes)
        case .time(let instant): time(instant)
        case .word, .number, .none: value.exact
        }
    }

    func lines(_ answer: Answer) -> [String] { answer.lines(within: columns, value) }
}

enum Terminal {
    private static let columnsOfOld = 80

    /// How wide the terminal is that a stream goes to; nil if it goes somewhere else.
    static func columns(_ descriptor: Int32) -> Int? {
        guard isatty(descriptor) == 1 else { return nil }
        var size = winsize()
        if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 {
            return Int(size.ws_col)
        }
        let told = PathText.environment("COLUMNS").flatMap { Int($0) } ?? 0
        return told > 0 ? told : columnsOfOld
    }
}
