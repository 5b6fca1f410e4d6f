import Bytes
import Engine
import Glibc

/// Where a mount says what happened while nobody looked: a file, the standard error stream of a mount
/// in the foreground, or else the system's log, which `journalctl -t ydbfs` shows.
///
/// Nobody waits for it: a pipe that isn't read, or a log that hangs, must stop no backup.
final class MountLog: Sendable {
    private enum Destination {
        case stream(Int32)
        case system

        func write(_ line: Line) {
            switch self {
            case .system:
                line.text.withCString { text in
                    withVaList([text]) {
                        vsyslog(line.isTrouble ? LOG_ERR : LOG_INFO, "%s", $0)
                    }
                }
            case .stream(let descriptor):
                let bytes = Array("\(line.time.floorToSecond) ydbfs: \(line.text)\n".utf8)
                // One call a line: several mounts may have one file. A full disk is no reason to stop.
                while Glibc.write(descriptor, bytes, bytes.count) < 0, errno == EAGAIN {
                    var room = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&room, 1, -1)
                }
            }
        }
    }

    private struct Line {
        let text: String
        let isTrouble: Bool
        let time = Instant.now
    }

    private let lines: Backlog<Line>

    /// The word of `-o log=` for the system's log.
    static let systemWord = "syslog"

    /// - Parameters:
    ///   - log: as `-o log=` has it, absolute if it is a file.
    ///   - isDaemon: whether the standard streams are the log file's, or nobody's.
    init(_ log: String?, isDaemon: Bool) throws {
        let destination: Destination
        switch log {
        case Self.systemWord: destination = .system
        case nil: destination = isDaemon ? .system : .stream(STDERR_FILENO)
        case let file?:
            if isDaemon {
                destination = .stream(STDERR_FILENO)
            } else {
                // A pipe that nobody reads would have us wait.
                let descriptor = open(
                    file, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0o600)
                guard descriptor >= 0 else { throw Failure("can't open the log file \(file)") }
                destination = .stream(descriptor)
            }
        }
        if case .system = destination { openlog(Self.name, LOG_PID, LOG_DAEMON) }
        lines = Backlog(
            limit: Self.linesMax,
            told: { lost in
                Line(
                    text: "\(lost) lines are lost: they couldn't be written in time",
                    isTrouble: true)
            }, work: destination.write)
    }

    /// The system keeps the pointer.
    private nonisolated(unsafe) static let name = strdup("ydbfs")

    private static let longest = 4096
    private static let linesMax = 1000

    func write(_ text: String, isTrouble: Bool) {
        let text = String(decoding: oneLine(text).utf8.prefix(Self.longest), as: UTF8.self)
        // Without a thread it waits for the next one.
        _ = try? lines.add(Line(text: text, isTrouble: isTrouble))
    }

    /// Lets what is said be written, as far as it can be.
    func finish(seconds: Double) { _ = lines.finish(seconds: seconds) }

    func write(_ event: Event) {
        switch event {
        case .trouble(let item):
            let place = item.collection.map { "\($0): " } ?? ""
            let text = item.text.split(whereSeparator: \.isNewline).joined(separator: " ")
            write("\(place)\(item.message): \(text)", isTrouble: true)
        case .ended(let operation):
            let status = operation.status
            // What failed is trouble, which was told; a schedule that looks in vain is no news.
            if status.state == .failed || status.foundNothing { return }
            write(
                "\(operation.collection): operation \(operation.name) \(operation.kind) "
                    + status.summary, isTrouble: status.incomplete > 0)
        }
    }
}
