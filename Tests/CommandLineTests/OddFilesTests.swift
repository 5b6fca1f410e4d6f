import Foundation
import Testing

/// Something else in place of a repository's files and directories: no verb waits for it, ends by it,
/// follows it, or removes what is behind it.
@Suite struct OddFilesTests {
    private let sandbox: Sandbox
    private let location: String

    init() throws {
        sandbox = try Sandbox()
        location = sandbox.path + "/database.db.backups"
        try sandbox.makeShop()
        for statement in [Sandbox.create, "BACKUP shop; VERIFY shop"] {
            let result = try sandbox.ydbfs("run", "database.db", statement)
            try #require(result.status == 0, "\(result.errors)")
        }
        try sandbox.sql("UPDATE orders SET item = 'mate'; DELETE FROM products")
        let result = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
        try #require(result.status == 0, "\(result.errors)")
    }

    /// Kills what takes too long; a process that ends by a signal has a status above 128.
    private func ydbfs(_ arguments: [String]) throws -> Sandbox.Result {
        try sandbox.run("/usr/bin/timeout", ["-k", "5", "60", Sandbox.binary] + arguments)
    }

    /// Runs every verb; answers all that they said.
    private func everything(_ what: Comment) throws -> String {
        var said = ""
        for arguments in [
            ["status", "database.db"], ["status", "database.db", "--json"],
            ["verify", "database.db", "shop"],
            ["run", "database.db", "BACKUP shop INCREMENTAL"],
            ["run", "database.db", "BACKUP shop; PRUNE shop"],
            ["export", "database.db", "shop/latest", "exported"],
        ] {
            let result = try ydbfs(arguments)
            #expect([0, 1, 3].contains(result.status), "\(what): \(arguments) \(result)")
            said += result.output + result.errors
        }
        return said
    }

    enum Odd: String, CaseIterable, Sendable {
        case pipe, socket, directory, device, link, dangling
    }

    private func put(_ odd: Odd, at path: String) throws {
        try FileManager.default.removeItem(atPath: path)
        let name = path.split(separator: "/").last!
        let command =
            switch odd {
            case .pipe: "mkfifo \"$1\""
            case .socket:
                "\(Sandbox.python) -c 'import os, socket, sys; os.chdir(sys.argv[1]); "
                    + "socket.socket(socket.AF_UNIX).bind(sys.argv[2])' \"${1%/*}\" \(name)"
            case .directory: "mkdir \"$1\""
            case .device: "ln -s /dev/zero \"$1\""
            case .link: "cp /etc/passwd foreign; ln -s \"$PWD/foreign\" \"$1\""
            case .dangling: "ln -s \"$PWD/nowhere\" \"$1\""
            }
        let result = try sandbox.run("/bin/sh", ["-c", command, "sh", path])
        try #require(result.status == 0, "\(result.errors)")
    }

    /// The first file whose path matches.
    private func file(_ pattern: String) throws -> String {
        let found = try sandbox.run(
            "/bin/sh",
            ["-c", "find \"$1\" -path \"$2\" | sort | head -n 1", "sh", location, pattern])
        let path = found.output.trimmingCharacters(in: .newlines)
        try #require(!path.isEmpty, "\(pattern)")
        return path
    }

    @Test(arguments: [
        ("*/repository.json", true), ("*/log/0000000001.json", true),
        ("*/log/0000000002.json", true), ("*/data/*.idx", true), ("*.parquet", true),
        ("*/capture", false), ("*/operations/0000000002.json", false),
        ("*/operations/0000000002.end.json", false), ("*/checks/*.json", false),
        ("*/lock", true),
    ])
    func `a file's place is taken by something else`(_ pattern: String, isNeeded: Bool) throws {
        for odd in Odd.allCases {
            let path = try file(pattern)
            let moved = sandbox.path + "/moved"
            try FileManager.default.copyItem(atPath: path, toPath: moved)
            try put(odd, at: path)
            let said = try everything("\(odd) in place of \(pattern)")
            if isNeeded {
                #expect(said.contains(path), "\(odd) \(pattern): \(said)")
                #expect(said.contains("is no regular file"), "\(odd) \(pattern): \(said)")
            }
            if odd == .link {
                let foreign = try sandbox.text("foreign")
                #expect(try foreign == String(contentsOfFile: "/etc/passwd", encoding: .utf8))
            }
            #expect(!sandbox.exists("nowhere"))
            _ = try sandbox.run("/bin/rm", ["-rf", path, "exported"])
            try FileManager.default.moveItem(atPath: moved, toPath: path)
        }
        let result = try ydbfs(["verify", "database.db", "shop"])
        #expect(result.status == 0, "\(result)")
    }

    @Test(arguments: [
        "*/collections", "*/collections/*", "*/log", "*/data", "*/checks", "*/tables",
        "*/tables/*", "*/tables/*/*", "*/operations",
    ])
    func `a directory is a link to somebody else's`(_ pattern: String) throws {
        let path = try file(pattern)
        let foreign = sandbox.path + "/foreign"
        // All that we could take for our own, in whichever directory.
        let script = """
            mv "$1" "$2" && ln -s "$2" "$1" && find "$2" -type d | while read -r folder; do
                for end in idx cat parquet json new; do
                    echo precious > "$folder/0123456789abcdef0123456789abcdef.$end"
                    echo precious > "$folder/.0123456789abcdef0123456789abcdef.$end"
                done
                touch -d '3 days ago' "$folder"/.*.new
            done
            """
        let result = try sandbox.run("/bin/sh", ["-c", script, "sh", path, foreign])
        try #require(result.status == 0, "\(result.errors)")
        let before = try listing(foreign)
        let said = try everything("\(pattern) is a link")
        #expect(try listing(foreign) == before, "\(said)")
        if pattern != "*/checks" { #expect(said.contains("is no regular file"), "\(said)") }
    }

    /// Everything below a directory, with contents.
    private func listing(_ path: String) throws -> String {
        try sandbox.run(
            "/bin/sh", ["-c", "cd \"$1\" && find . -type f | sort | xargs sha256sum", "sh", path]
        ).output
    }

    @Test func `the repository's own place may be a link`() throws {
        try FileManager.default.moveItem(atPath: location, toPath: sandbox.path + "/elsewhere")
        try FileManager.default.createSymbolicLink(
            atPath: location, withDestinationPath: sandbox.path + "/elsewhere")
        for arguments in [
            ["status", "database.db"], ["run", "database.db", "BACKUP shop INCREMENTAL"],
            ["verify", "database.db", "shop"], ["status", "elsewhere"],
        ] {
            let result = try ydbfs(arguments)
            #expect(result.status == 0, "\(arguments): \(result)")
        }
    }

    @Test func `what is no database is refused as SOURCE and as --into`() throws {
        let script = """
            mkfifo pipe; mkdir directory; ln -s /dev/zero device; ln -s pipe link
            \(Sandbox.python) -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
            """
        try #require(try sandbox.run("/bin/sh", ["-c", script]).status == 0)
        for name in ["pipe", "directory", "device", "link", "socket", "/etc/passwd", "/dev/null"] {
            for arguments in [
                ["status", name], ["status", name, "--json"], ["verify", name],
                ["run", name, "BACKUP shop"], ["export", name, "shop/latest", "out"],
            ] {
                let result = try ydbfs(arguments)
                #expect([1, 2].contains(result.status), "\(arguments): \(result)")
                let isNamed = arguments[0] == "run" || result.errors.contains(name)
                #expect(isNamed && !result.errors.isEmpty, "\(arguments): \(result)")
            }
            if name == "/etc/passwd" { continue }
            let result = try ydbfs(["run", "database.db", "RESTORE shop", "--into", name])
            #expect([1, 2].contains(result.status), "\(name): \(result)")
        }
        #expect(!sandbox.exists("/etc/passwd.backups"))
        #expect(!FileManager.default.fileExists(atPath: "/etc/passwd.backups"))
    }

    @Test func `pipes in a directory of exports aren't waited for`() throws {
        for name in ["backup.json", "SHA256SUMS", "orders.csv"] {
            let script = "rm -rf out; mkdir out; mkfifo out/\(name)"
            _ = try sandbox.run("/bin/sh", ["-c", script])
            let result = try ydbfs(["export", "database.db", "shop/latest", "out"])
            #expect(result.status == 1 && result.errors.contains(name), "\(result)")
        }
    }
}
