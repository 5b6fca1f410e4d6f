import Bytes
import Engine
import FoundationEssentials
import Fuse
import Glibc
import Repository
import Volume

/// A running mount does it: statements go into its `control`, what comes of them is read from
/// `operations/`.
struct MountTarget: StatementTarget {
    private let root: String
    let outlivesUs = true

    /// - Parameter root: where it is mounted.
    private init(_ root: String) { self.root = root }

    /// A mount that does what is asked of this source: of the same user or of root, alive, of this
    /// very database and repository, and writable for us.
    static func serving(_ source: SourceArgument) throws -> MountTarget? {
        if case .mounted(let place) = source.kind {
            return facts(at: place)?.isWritable == true ? MountTarget(place) : nil
        }
        let wanted = MountFacts(
            location: source.location, database: source.database?.identity())
        for entry in try Mounts.trusted() where entry.root == "/" {
            // Another one may be mounted on top of it.
            guard Self.mayShow(entry, wanted), try Mounts.at(entry.mountPoint)?.id == entry.id,
                let (facts, isWritable) = facts(at: entry.mountPoint), isWritable
            else { continue }
            if facts.serves(wanted, needsDatabase: source.databasePath != nil) {
                return MountTarget(entry.mountPoint)
            }
        }
        return nil
    }

    /// Whether it is worth asking: the mount names the repository by this path or another one.
    private static func mayShow(_ entry: MountEntry, _ wanted: MountFacts) -> Bool {
        if PathText.shown(entry.source).hasSameBytes(as: wanted.location) { return true }
        let named = MountFacts(location: .directory(entry.source), database: nil)
        return named.repository != nil && named.serves(wanted, needsDatabase: false)
    }

    /// What the mount at `place` is of, and whether we may write statements; nil if it doesn't answer.
    static func facts(at place: String) -> (facts: MountFacts, isWritable: Bool)? {
        guard (try? Mounts.health(at: place)) == .alive else { return nil }
        let answer = try? Mounts.answer { () -> (text: String, isWritable: Bool)? in
            guard let text = try? TextFile.read("\(place)/\(MountFacts.fileName)") else {
                return nil
            }
            return (text, faccessat(AT_FDCWD, place + "/control", W_OK, AT_EACCESS) == 0)
        }
        guard let answer, let (text, isWritable) = answer,
            let facts = try? JSONDecoder().decode(MountFacts.self, from: Data(text.utf8))
        else { return nil }
        return (facts, isWritable)
    }

    func submit(
        _ statements: [Statement], of text: StatementText
    ) throws -> [any SubmittedOperation] {
        let isAll = statements.count == text.statements.count
        let written = isAll ? text.text : statements.map { $0.text + "\n;\n" }.joined()
        let newest = try operations().max() ?? 0
        let time = Instant.now
        let control = root + "/control"
        do throws(Failure) {
            try TextFile.write(written, to: control)
        } catch {
            // A read-only mount refuses before anybody looks at the text.
            if error.code == .readOnly { throw error }
            throw try reason(since: time) ?? error
        }
        // Others may submit at the same time: ours are the first new ones that say the same.
        var candidates = try operations().filter { $0 > newest }.sorted()[...]
        return try statements.map { statement in
            while let id = candidates.popFirst() {
                let directory = "\(root)/operations/\(id)"
                let accepted = try TextFile.read(directory + "/statement")
                if accepted.trimmed == statement.text.trimmed {
                    return MountedOperation(id, directory, statement.text)
                }
            }
            throw Failure(
                .system,
                "\(control) accepted the statements, but \(root)/operations doesn't show "
                    + "them: look there")
        }
    }

    func close() {}

    private func operations() throws -> [UInt64] {
        try PathText.names(inDirectory: root + "/operations").compactMap { UInt64($0) }
    }

    /// The newest refusal in `errors`, which may take a second to show there.
    private func reason(since time: Instant) throws -> Failure? {
        let earliest = Self.digits("\(time)")
        let (attempts, pauseMicroseconds): (Int, UInt32) = (15, 100_000)
        for _ in 0..<attempts {
            let lines = try TextFile.read(root + "/errors")
                .split(separator: "\n", omittingEmptySubsequences: false)
            if let start = lines.lastIndex(where: { !$0.hasPrefix("    ") && !$0.isEmpty }),
                Self.digits(lines[start].prefix { $0 != " " }) >= earliest
            {
                let message = lines[start].drop { $0 != " " }.dropFirst()
                let snippet = lines[(start + 1)...].map { $0.dropFirst(4) }
                    .joined(separator: "\n")
                return Failure(.invalid, message.trimmed, snippet: Self.body(snippet))
            }
            usleep(pauseMicroseconds)
        }
        return nil
    }

    /// Without empty lines at the end; blanks at the begin are a caret's place.
    private static func body(_ snippet: String) -> String? {
        let end = snippet.reversed().drop(while: \.isWhitespace)
        return end.isEmpty ? nil : String(end.reversed())
    }

    /// Times as they are shown, comparable: fractions have as many digits as they need.
    private static func digits(_ time: some StringProtocol) -> String {
        let digits = time.filter(\.isNumber)
        let microsecondDigits = 20
        return digits + String(repeating: "0", count: max(0, microsecondDigits - digits.count))
    }
}

private final class MountedOperation: SubmittedOperation {
    let statement: String
    private let id: UInt64
    private let directory: String

    private struct State {
        /// A thread waits for the end.
        var isWaiting = false
        var report: OperationReport?
    }

    private let state = Monitor(State())

    init(_ id: UInt64, _ directory: String, _ statement: String) {
        self.id = id
        self.directory = directory
        self.statement = statement
    }

    /// Reading `wait` blocks until the operation ends: a thread of its own does it.
    func wait(seconds: Double) -> OperationReport? {
        let isFirst = state.withLock { state in
            defer { state.isWaiting = true }
            return !state.isWaiting
        }
        if isFirst {
            let reporting = { @Sendable [self] in
                let report = outcome()
                state.update { $0.report = report }
            }
            // Without a thread nobody shows progress meanwhile.
            if (try? WorkerThread.detach(reporting)) == nil { reporting() }
        }
        return state.wait(seconds: seconds) { $0.report }
    }

    private func outcome() -> OperationReport {
        do throws(Failure) {
            let line = try TextFile.read(directory + "/wait")
            var report = OperationReport(id: id, statement: statement, summary: line)
            // `wait` has room for 128 bytes only. If the mount ends now, that must do.
            if report.error != nil, let whole = try? TextFile.read(directory + "/error").trimmed {
                report.error = whole
            }
            try? takeProgress(&report)
            return report
        } catch {
            var report = OperationReport(id: id, statement: statement, state: "failed")
            report.error =
                "lost sight of it: \(error.message); ydbfs status tells what became of it"
            return report
        }
    }

    /// The text of `progress` may be a second old.
    private func takeProgress(_ report: inout OperationReport) throws {
        var lines = try TextFile.read(directory + "/progress").split(separator: "\n")
        if !lines.contains(where: { $0.hasPrefix("ended ") }) {
            sleep(1)
            lines = try TextFile.read(directory + "/progress").split(separator: "\n")
        }
        report.notes = Self.rests(of: "note ", in: lines).map(String.init)
        if report.incomplete == nil { return }
        report.take(Self.rests(of: "left_out ", in: lines).compactMap { NotBackedUp(record: $0) })
    }

    private static func rests(of prefix: String, in lines: [Substring]) -> [Substring] {
        lines.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
    }

    func now() -> OperationReport {
        let state = try? TextFile.read(directory + "/state").trimmed
        return OperationReport(id: id, statement: statement, summary: state ?? "queued")
    }

    func progress() -> OperationProgress {
        var progress = OperationProgress()
        let text = (try? TextFile.read(directory + "/progress")) ?? ""
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("waits_for ") {
                progress.waitsFor = line.dropFirst("waits_for ".count).trimmed
            }
            guard words.count == 2, let value = UInt64(words[1]) else { continue }
            if words[0] == "rows" { progress.rows = value }
            if words[0] == "total_rows" { progress.totalRows = value }
        }
        return progress
    }

    func cancel() { try? TextFile.write("cancel\n", to: directory + "/cancel") }
}

/// Small files of a mount, whose sizes aren't known before.
enum TextFile {
    static func read(_ path: String) throws(Failure) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        defer { close(descriptor) }
        let bytesMax = 16 << 20
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < bytesMax {
            let count = Glibc.read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure("can't read \(path)") }
            if count == 0 { break }
            bytes += part[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// In one write, since a control file decides about each.
    static func write(_ text: String, to path: String) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure("can't open \(path)") }
        let bytes = Array(text.utf8)
        let count = Glibc.write(descriptor, bytes, bytes.count)
        let failure = count == bytes.count ? nil : Failure("can't write to \(path)")
        let isClosed = close(descriptor) == 0
        if let failure { throw failure }
        guard isClosed else { throw Failure("can't write to \(path)") }
    }
}

extension StringProtocol {
    /// Without blanks and line feeds at both ends.
    var trimmed: String {
        let body = drop(while: \.isWhitespace)
        return String(body.reversed().drop(while: \.isWhitespace).reversed())
    }
}
