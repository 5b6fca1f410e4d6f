import Foundation
import Testing

/// A directory with a database in it, the program, and what other programs say about both. Mounts
/// in it end with it.
final class Sandbox {
    /// How a program ended.
    struct Result {
        var status: Int32
        var output: String
        var errors: String
    }

    let path: String

    static let binary: String = {
        if let path = ProcessInfo.processInfo.environment["YDBFS_BINARY"] { return path }
        let package = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return package.appending(path: ".build/release/ydbfs").path(percentEncoded: false)
    }()

    static let python = ProcessInfo.processInfo.environment["YDBFS_PYTHON"] ?? "/usr/bin/python3"

    init() throws {
        let name = "ydbfs-tests-\(UUID().uuidString.prefix(8))"
        let directory = FileManager.default.temporaryDirectory.resolvingSymlinksInPath()
        let url = directory.appending(path: name)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path(percentEncoded: false)
    }

    deinit {
        for words in Self.mountTable.reversed() {
            guard words[1].hasPrefix(path), words[2] == "fuse.ydbfs" else { continue }
            _ = try? run(Self.binary, ["unmount", words[1], "--now"])
        }
        try? FileManager.default.removeItem(atPath: path)
    }

    // MARK: Programs

    /// Starts a program in the sandbox; its streams go to files, which no daemon can hold open.
    func start(
        _ program: String, _ arguments: [String], input: String? = nil,
        environment: [String: String] = [:]
    ) throws -> (process: Process, end: () throws -> Result) {
        let id = UUID().uuidString.prefix(8)
        let (output, errors, inputFile) = ("/tmp/\(id).out", "/tmp/\(id).err", "/tmp/\(id).in")
        for file in [output, errors] {
            try "".write(toFile: file, atomically: false, encoding: .utf8)
        }
        try (input ?? "").write(toFile: inputFile, atomically: false, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: path)
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.environment![Self.mark] = path
        process.standardInput = FileHandle(forReadingAtPath: inputFile)
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
        return (
            process,
            {
                process.waitUntilExit()
                defer {
                    for file in [output, errors, inputFile] {
                        try? FileManager.default.removeItem(atPath: file)
                    }
                }
                return Result(
                    status: process.terminationReason == .exit
                        ? process.terminationStatus : 128 + process.terminationStatus,
                    output: try String(contentsOfFile: output, encoding: .utf8),
                    errors: try String(contentsOfFile: errors, encoding: .utf8))
            }
        )
    }

    func run(
        _ program: String, _ arguments: [String], input: String? = nil,
        environment: [String: String] = [:]
    ) throws -> Result {
        try start(program, arguments, input: input, environment: environment).end()
    }

    func ydbfs(_ arguments: String..., input: String? = nil) throws -> Result {
        try run(Self.binary, arguments, input: input)
    }

    /// The program under another time of day, as `faketime` takes it.
    func run(at time: String, _ arguments: [String]) throws -> Result {
        let library = try run(
            "/bin/sh", ["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"]
        ).output
        return try run(
            "/usr/bin/timeout", ["60", Self.binary] + arguments,
            environment: [
                "LD_PRELOAD": library.trimmingCharacters(in: .newlines), "FAKETIME": time,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            ])
    }

    func ydbfs(at time: String, _ arguments: String...) throws -> Result {
        try run(at: time, arguments)
    }

    func sql(_ text: String, in database: String = "database.db") throws {
        let result = try run("/usr/bin/sqlite3", [database], input: text)
        try #require(result.status == 0, "sqlite3: \(result.errors)")
    }

    /// One value out of a JSON text, as Python's own reader sees it.
    func python(_ expression: String, json: String) throws -> String {
        let program = "import json, sys; j = json.load(sys.stdin); print(\(expression))"
        let result = try run(Self.python, ["-c", program], input: json)
        try #require(result.status == 0, "python: \(result.errors)")
        return result.output.trimmingCharacters(in: .newlines)
    }

    // MARK: Files

    func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: path + "/" + name)
    }

    func text(_ name: String) throws -> String {
        // Sizes of virtual files change: cat reads to the end.
        let result = try run("/bin/cat", [name])
        try #require(result.status == 0, "cat: \(result.errors)")
        return result.output
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
    }

    /// Mount points of ydbfs in this sandbox.
    var mounts: [String] {
        get throws {
            var names: [String] = []
            for words in Self.mountTable {
                if words[2] == "fuse.ydbfs", words[1].hasPrefix(path + "/") {
                    names.append(String(words[1].dropFirst(path.count + 1)))
                }
            }
            return names
        }
    }

    /// The words of each mount's line, whose paths needn't be UTF-8: others test that at the same time.
    static var mountTable: [[String]] {
        let table = FileManager.default.contents(atPath: "/proc/self/mounts") ?? Data()
        return String(decoding: table, as: UTF8.self).split(separator: "\n").map { line in
            line.split(separator: " ").map(String.init)
        }
    }

    /// The processes that were started with exactly this word as an argument.
    func servers(of mountPoint: String) throws -> [Int32] {
        func words(_ pid: Int32, _ file: String) -> [String] {
            (FileManager.default.contents(atPath: "/proc/\(pid)/\(file)") ?? Data())
                .split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        }
        return try FileManager.default.contentsOfDirectory(atPath: "/proc")
            .compactMap { Int32($0) }
            .filter { pid in
                let arguments = words(pid, "cmdline")
                return arguments.first == Self.binary && arguments.contains(mountPoint)
                    // Other sandboxes have mount points of that name, too.
                    && words(pid, "environ").contains("\(Self.mark)=\(path)")
            }
    }

    /// The environment's word by which a program is known to be of this sandbox.
    private static let mark = "YDBFS_SANDBOX"

    /// Two small tables of the shop that the tests trade in.
    func makeShop() throws {
        try sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
            INSERT INTO orders VALUES (1, 'tea'), (2, 'coffee');
            INSERT INTO products VALUES (1, 'tea');
            """)
    }

    /// Lists the data files of the database's repository, in a shell.
    static let dataFiles =
        "find database.db.backups/tables database.db.backups/*/*/data -type f"

    static let create = """
        CREATE BACKUP COLLECTION shop ( TABLE orders, TABLE `/Root/database/products` )
        WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' );
        """
}

/// A directory in which nobody but root may write, as it is asked of hooks.
final class Guarded {
    let path = "/usr/local/lib/ydbfs-tests-\(UUID().uuidString.prefix(8))"

    init() throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        chmod(path, 0o755)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func program(_ name: String, _ text: String) throws -> String {
        let place = "\(path)/\(name)"
        try text.write(toFile: place, atomically: false, encoding: .utf8)
        chmod(place, 0o755)
        return place
    }
}
