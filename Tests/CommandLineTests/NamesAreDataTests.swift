import Foundation
import Testing

/// Names of tables and files may hold anything; nothing of it is obeyed, and nothing of it is lost.
@Suite struct NamesAreDataTests {
    private let sandbox: Sandbox

    /// Ends a comment, a line and a here-document, clears the screen, turns the line around.
    private static let name = "a\nEND\ntouch obeyed\n--\u{1B}[2J\u{202E}\u{2028}b*/"

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            "CREATE TABLE \"\(Self.name)\" (id INTEGER PRIMARY KEY, v TEXT); "
                + "INSERT INTO \"\(Self.name)\" VALUES (1, 'x');")
    }

    private func isPlain(_ text: String) -> Bool {
        !text.unicodeScalars.contains {
            $0.properties.generalCategory == .format || $0.value == 0x2028
                || $0.properties.generalCategory == .control && $0 != "\n" && $0 != "\t"
        }
    }

    @Test func `What is printed and shown has no control characters and no lines of names`() throws
    {
        let create =
            "CREATE BACKUP COLLECTION `c\u{1B}\n\u{202E}d` ( TABLE `\(Self.name)` )"
            + " WITH (STORAGE = 'cluster')"
        #expect(try sandbox.ydbfs("database.db", "m").output.contains("DATABASE"))
        let made = try sandbox.ydbfs("run", "database.db", create, "BACKUP `c\u{1B}\n\u{202E}d`")
        #expect(made.status == 0, "\(made.errors)")
        let refused = try sandbox.ydbfs("run", "database.db", "BACKUP `\(Self.name)`")
        #expect(refused.status == 1 && isPlain(refused.errors))
        #expect(refused.errors.split(separator: "\n").count <= 3, "\(refused.errors)")
        for words in [
            ["status", "database.db"], ["status", "database.db", "--json"],
            ["show", "database.db", "c\u{1B}\n\u{202E}d"],
            ["verify", "database.db"], ["verify", "database.db", "--json"],
        ] {
            let shown = try sandbox.run(Sandbox.binary, words)
            #expect(shown.status == 0 && isPlain(shown.output), "\(words): \(shown)")
            let lines = shown.output.split(separator: "\n")
            #expect(!lines.contains { $0.hasPrefix("touch") || $0.hasPrefix("END") }, "\(words)")
        }
        let json = try sandbox.ydbfs("status", "database.db", "--json").output
        let told = try sandbox.python(
            "j['collections'][0]['tables'][0].encode().hex()", json: json)
        let hex = Self.name.utf8.map { String(Int($0) + 256, radix: 16).dropFirst() }.joined()
        #expect(told == hex, "JSON has the very name")
        let find =
            "find m -type f \\( -name status -o -name control -o -name errors -o -name 'chain*' "
            + "-o -name README -o -name backup.json \\) -exec cat {} +"
        let texts = try sandbox.run("/bin/bash", ["-c", find])
        #expect(isPlain(texts.output) && texts.output.contains("<svg"), "\(texts)")
    }

    @Test func `The SQL of a table with such a name is one statement`() throws {
        let made = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster')", "BACKUP c")
        #expect(made.status == 0, "\(made.errors)")
        let sql = try sandbox.ydbfs("status", "database.db", "--sql", "c/latest")
        let comments = sql.output.split(separator: "\n").filter { $0.hasPrefix("--") }
        #expect(sql.status == 0 && comments.count == 1, "\(sql)")
        #expect(!sql.output.contains("touch obeyed\n"))
    }

    @Test func `What a mount suggests can be pasted whatever tables are called`() throws {
        let mounted = try sandbox.ydbfs("database.db", "m")
        let lines = mounted.output.split(separator: "\n").map(String.init)
        let start = try #require(lines.firstIndex { $0.hasPrefix("cat > ") })
        let paste = lines[start...].joined(separator: "\n") + "\n"
        let pasted = try sandbox.run("/bin/sh", ["-c", paste])
        #expect(pasted.status == 0 && !sandbox.exists("obeyed"), "\(pasted.errors)")
        #expect(sandbox.exists("m/my_backup_collection/control"))
    }

    @Test(arguments: ["cd $D; $Y {} o.db", "$Y {} $D/o.db", "cd $D/in; $Y {} ../o.db"])
    func `Directories whose names aren't UTF-8 work`(_ call: String) throws {
        func ydbfs(_ verb: String, _ rest: String) throws -> Sandbox.Result {
            let line = call.replacing("{}", with: verb) + " " + rest
            return try sandbox.run(
                "/bin/bash",
                [
                    "-c",
                    "D=$'andr\\xe9'; mkdir -p $D/in; test -e $D/o.db || cp database.db $D/o.db; \(line)",
                ],
                environment: ["Y": Sandbox.binary])
        }
        let create = "\"CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster')\" 'BACKUP c'"
        let made = try ydbfs("run", create)
        #expect(made.status == 0, "\(made)")
        let mount = "\(sandbox.path)/m"
        let mounted = try ydbfs("mount", mount)
        #expect(mounted.status == 0, "\(mounted)")
        #expect(sandbox.exists("m/c/latest/backup.json"))
        let through = try ydbfs("run", "--rate=1M 'BACKUP c'")
        #expect(through.errors.contains("a mount carries"), "\(through)")
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        #expect(try ydbfs("verify", "").status == 0)
        #expect(try ydbfs("status", "").output.contains("andr\\xe9/o.db.backups"))
    }

    // MARK: Output and signals

    @Test func `Output that can't be written is an error`() throws {
        #expect(
            try sandbox.ydbfs(
                "run", "database.db",
                "CREATE BACKUP COLLECTION c DATABASE WITH (STORAGE = 'cluster')", "BACKUP c"
            ).status == 0)
        for words in [
            "status database.db", "status database.db --json", "verify database.db --json",
            "status database.db --sql c/latest", "run database.db 'BACKUP c'", "--help",
            "--version",
        ] {
            let result = try sandbox.run(
                "/bin/bash", ["-c", "$Y \(words) > /dev/full"],
                environment: ["Y": Sandbox.binary])
            #expect(result.status == 1, "\(words)")
            #expect(result.errors.contains("No space left"), "\(words): \(result.errors)")
        }
    }

    @Test(arguments: [SIGUSR1, SIGUSR2, SIGALRM, SIGXFSZ, SIGHUP])
    func `A mount goes on after a signal that means nothing`(_ signal: Int32) throws {
        #expect(try sandbox.ydbfs("database.db", sandbox.path + "/m").status == 0)
        for pid in try sandbox.servers(of: sandbox.path + "/m") { kill(pid, signal) }
        usleep(200_000)
        #expect(try sandbox.text("m/README").contains("Backup collections"))
        #expect(try sandbox.mounts == ["m"])
    }

    @Test func `Processes are called ydbfs, in the foreground and in the background`() throws {
        #expect(try sandbox.ydbfs("database.db", sandbox.path + "/m").status == 0)
        let servers = try sandbox.servers(of: sandbox.path + "/m")
        try #require(servers.count == 1)
        let ps = try sandbox.run("/bin/ps", ["-o", "comm=", "-p", "\(servers[0])"])
        #expect(ps.output == "ydbfs\n")
        let front = try sandbox.start(
            Sandbox.binary, ["mount", "database.db", sandbox.path + "/n", "-f"])
        for _ in 0..<500 where !sandbox.exists("n/control") { usleep(10_000) }
        let named = try sandbox.run(
            "/bin/ps", ["-o", "comm=", "-p", "\(front.process.processIdentifier)"])
        #expect(named.output == "ydbfs\n")
        #expect(try sandbox.ydbfs("unmount", "n").status == 0)
        #expect(try front.end().status == 0)
    }

    @Test func `A mount has no inodes to be used up`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        let shown = try sandbox.run("/bin/df", ["--output=ipcent", "m"])
        #expect(shown.output.hasSuffix("-\n"), "\(shown.output)")
    }

    @Test func `A mount in the foreground tells systemd when it is ready`() throws {
        let script = """
            import os, socket, subprocess, sys
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            listener.bind("notify"); listener.settimeout(60)
            mount = subprocess.Popen([sys.argv[1], "database.db", "m", "-f"],
                env=dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify")), stdout=subprocess.DEVNULL)
            assert listener.recv(100) == b"READY=1"
            assert os.path.exists("m/README")
            mount.terminate()
            assert listener.recv(100) == b"STOPPING=1"
            sys.exit(mount.wait())
            """
        let result = try sandbox.run(Sandbox.python, ["-c", script, Sandbox.binary])
        #expect(result.status == 0, "\(result.errors)")
    }
}
