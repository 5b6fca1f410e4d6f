import Bytes
import Glibc

/// A copy of a database: its file, and the logs beside it without which rows would be missing.
struct DatabaseCopy: Sendable {
    /// Below the directory of copies: `app-2026-11-01.db`.
    let name: String
    /// What the database is called; may be empty.
    let stem: String
    /// Seconds since 1970 that its name tells, else those of the file's time.
    let seconds: Int64
    let file: CopyFile
    /// By SQLite's ending.
    let logs: [String: CopyFile]

    var files: [CopyFile] { [file] + logs.sorted { $0.key < $1.key }.map(\.value) }

    var version: String { files.map(\.version).joined(separator: "+") }
}

/// What a directory of copies holds.
struct CopyFolder {
    /// In the order of their names.
    private(set) var copies: [DatabaseCopy] = []
    /// What looks like a copy by its name and is none.
    private(set) var others: [(name: String, stem: String, reason: String)] = []
    private let path: String

    /// Looks at every file's beginning, and into folders with a date in their names.
    init(_ path: String) throws(Failure) {
        self.path = path
        try look(in: "", date: nil)
    }

    /// - Parameters:
    ///   - place: below the directory, with a slash behind it.
    ///   - date: of files that have none in their names.
    private mutating func look(in place: String, date: Int64?) throws(Failure) {
        var logs: [String: [(ending: String, file: CopyFile)]] = [:]
        /// Logs that can't be read, by the names of their databases.
        var lost: [String: String] = [:]
        var found: [(name: String, plain: String, file: CopyFile)] = []
        for name in try Self.names(in: path + "/" + place) {
            let kind = try CopyFile.status(path + "/" + place + name).map { $0.st_mode & S_IFMT }
            if kind == S_IFDIR {
                if place.isEmpty, let date = CopyDate(in: Array(name.utf8)) {
                    try look(in: name + "/", date: date.seconds)
                }
                continue
            }
            let plain = CopyName.unpacked(name)
            guard let file = file(place + name, kind) else {
                if let log = CopyName.companion(plain), log.ending != "-shm" {
                    lost[log.database] = name
                }
                continue
            }
            if file.content != .database, let log = CopyName.companion(plain) {
                let isNeeded = log.ending != "-shm" && file.stamp.bytes > 0
                if isNeeded { logs[log.database, default: []].append((log.ending, file)) }
            } else {
                found.append((name, plain, file))
            }
        }
        for (name, plain, file) in found {
            // Without its log a database is another one.
            if plain != name, let log = logs[name]?.first {
                lost[name] = String(log.file.path.split(separator: "/").last ?? "")
            }
            if let log = lost[plain] ?? lost[name] {
                let reason = "its \(log) can't be read with it"
                others.append((place + name, CopyName(name).stem, reason))
                continue
            }
            add(
                place + name, CopyName(name), file, date,
                Dictionary(
                    logs[plain]?.map { ($0.ending, $0.file) } ?? [],
                    uniquingKeysWith: { first, _ in first }))
        }
    }

    /// Nil if it can't be a copy, which is told if its name says that it is one.
    private mutating func file(_ name: String, _ kind: mode_t?) -> CopyFile? {
        let copy = CopyName(name.split(separator: "/").last.map(String.init) ?? name)
        let reason: String
        do throws(Failure) {
            if let file = try CopyFile(path + "/" + name) { return file }
            switch kind {
            // `latest.db` beside what it names.
            case S_IFLNK where namesNeighbour(name): return nil
            case S_IFLNK: reason = "it is a symlink, which isn't followed"
            case nil: reason = "its name is no UTF-8, or it is gone"
            default: reason = "it is no regular file"
            }
        } catch {
            reason = error.message
        }
        if copy.isDatabase { others.append((name, copy.stem, reason)) }
        return nil
    }

    private func namesNeighbour(_ link: String) -> Bool {
        var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(path + "/" + link, &target, target.count - 1)
        return count > 0 && !target[..<count].contains(CChar(bitPattern: UInt8(ascii: "/")))
    }

    private mutating func add(
        _ name: String, _ words: CopyName, _ file: CopyFile, _ date: Int64?,
        _ logs: [String: CopyFile]
    ) {
        let isCopy = file.isPacked && words.isDatabase || file.holdsDatabase
        guard isCopy else {
            guard words.isDatabase else { return }
            let reason =
                file.stamp.bytes == 0
                ? "it is empty" : "it is no SQLite database, or an encrypted one"
            others.append((name, words.stem, reason))
            return
        }
        let modified = file.stamp.modified / 1_000_000_000
        copies.append(
            DatabaseCopy(
                name: name, stem: words.stem, seconds: words.seconds ?? date ?? modified,
                file: file,
                logs: logs))
    }

    /// What a directory holds, in byte order. Names that are no UTF-8 can't be copies.
    private static func names(in directory: String) throws(Failure) -> [String] {
        try PathText.names(inDirectory: directory)
            .map { String(decoding: PathText.bytes($0), as: UTF8.self) }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
