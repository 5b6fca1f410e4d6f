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

    /// Runs lines of bash, in which `$Y` is the program and `$D` a database whose name isn't UTF-8.
    private func odd(_ script: String) throws -> Sandbox.Result {
        try sandbox.run(
            "/bin/bash", ["-c", "D=$'caf\\xe9.db'; test -e $D || cp database.db $D; \(script)"],
            environment: ["Y": Sandbox.binary])
    }

    @Test func `Files whose names aren't UTF-8 work`() throws {
        func expect(
            _ script: String, _ wanted: String? = nil, status: Int32 = 0,
            _ location: SourceLocation = #_sourceLocation
        ) throws {
            let result = try odd(script)
            let said = result.output + result.errors
            #expect(
                result.status == status && wanted.map(said.contains) != false
                    && !said.contains("\u{FFFD}"), "\(script): \(result)",
                sourceLocation: location)
        }
        try expect("$Y backup $D", "making caf\\xe9, of the whole database")
        try expect("$Y run $D 'BACKUP `caf\\\\xe9` INCREMENTAL'", "rows=0")
        try expect("$Y status $D", "\(sandbox.path)/caf\\xe9.db.backups\n")
        try expect("test -e $D.backups/repository.json && ! ls | grep -v '[.]db' | grep caf")
        let json = try odd("$Y status $D --json").output
        #expect(
            try sandbox.python("j['source'], j['database']", json: json)
                == #"caf\xe9.db /Root/caf\xe9"#)
        try expect("$Y verify $D", "rows merged")
        try expect("$Y verify $D.backups", "rows merged")
        try expect("$Y repair $D", "nothing to mend")
        try expect(
            "$Y export $D 'caf\\xe9/latest' $'out\\xe9' && cd $'out\\xe9' && sha256sum -c SHA256SUMS"
        )
        try expect(
            "$Y export $D 'caf\\xe9/latest' $'one\\xe9' --format sqlite && sqlite3 $'one\\xe9' .schema",
            "v TEXT")
        try expect("$Y restore $D --into $'new\\xe9' && sqlite3 $'new\\xe9' .schema", "v TEXT")
        try expect("$Y diff $D 'caf\\xe9/oldest' latest", "the same")
        try expect("$Y run $D $'BACKUP caf\\xe9'", "argument 1 is no UTF-8", status: 1)
        // Every path of a mount, and what it tells others.
        let guarded = try Guarded()
        defer { withExtendedLifetime(guarded) {} }
        let place = "\(guarded.path)/$'hook\\xe9'"
        let hook =
            "printf '#!/bin/sh\\n[ \"$YDBFS_SOURCE\" ] && cp \"$YDBFS_SOURCE\" \"$YDBFS_MOUNTPOINT.copy\"' > \(place); chmod 755 \(place)"
        let options = "on_success=\(place),cache_dir=$'cache\\xe9',log=$'log\\xe9'"
        try expect("\(hook); $Y $D $'m\\xe8/in' -o \(options)", "/m\\xe8/in: 2 backup points")
        try expect("test -d $'cache\\xe9' && cat $'m\\xe8'/in/README", "caf\\xe9.db")
        try expect("$Y run --rate=1M $D 'BACKUP `caf\\\\xe9`'", "a mount carries", status: 1)
        try expect("$Y run $D 'BACKUP `caf\\\\xe9`'", "done")
        try expect("$Y status $'m\\xe8/in'", "mounted at  \(sandbox.path)/m\\xe8/in")
        try expect(
            "for i in {1..100}; do cmp -s $D $'m\\xe8/in.copy' && exit; sleep .1; done; exit 1")
        try expect("grep 'full done' $'log\\xe9'")
        try expect(
            "mv $D x; cd $'m\\xe8/in/caf\\\\xe9'; echo full > control; cat operation/error; cd -; mv x $D",
            "caf\\xe9.db: No such file")
        try expect("$Y $D $'m\\xe8/in'", "(ydbfs unmount $'m\\xe8/in')", status: 1)
        try expect("$Y unmount $'m\\xe8/in' && test ! -e $'m\\xe8/in'", "unmounted")
        // As mount(8) calls it, for a table of file systems too.
        try expect("ln -s $Y mount.ydbfs; ./mount.ydbfs $D m -o ro && umount m", "3 backup points")
        try expect(
            "$Y $D m -o repository=$'r\\xea' && $Y status m && $Y unmount m",
            "r\\xea")
        // Without the database.
        try expect(
            "mv $D gone; $Y status $D && $Y restore $D --into $D && cmp <(sqlite3 $D .dump) <(sqlite3 gone .dump)"
        )
    }

    @Test(arguments: [",\u{301}x.db", "\u{301}x.db", "'\u{301}; touch obeyed.db", "\u{10FEE9}.db"])
    func `Names of files may begin and go on with anything`(_ name: String) throws {
        let script = """
            cp database.db "$D" && $Y backup "$D" && $Y verify "$D.backups" && $Y "$D" "m$D" &&
            $Y run "$D" 'BACKUP nothing' || $Y status "m$D" && $Y umount "m$D" && ls
            """
        let result = try sandbox.run(
            "/bin/bash", ["-c", script], environment: ["Y": Sandbox.binary, "D": name])
        #expect(result.status == 0, "\(result)")
        #expect(result.errors.contains("there is no collection nothing"))
        let paste = try #require(result.output.firstMatch(of: #/to unmount: ydbfs (unmount .*)/#)).1
        let pasted = try sandbox.run("/bin/bash", ["-c", "printf '%s|' \(paste)"])
        #expect(pasted.output == "unmount|\(sandbox.path)/m\(name)|", "\(paste)")
        #expect(Set(result.output.split(separator: "\n")).isSuperset(of: ["database.db"]))
        #expect(sandbox.exists(name + ".backups/repository.json") && !sandbox.exists("obeyed"))
    }

    @Test func `A quote before a combining mark ends no name in SQL, and is none in a file's name`()
        throws
    {
        // To Swift, these are characters of their own.
        let name = "q\"\u{301}; DROP TABLE x; --'\u{301}\\\u{301}"
        let quoted = name.replacing(/"/.matchingSemantics(.unicodeScalar), with: "\"\"")
        try sandbox.sql(
            "CREATE TABLE \"\(quoted)\" (id INTEGER PRIMARY KEY, \"\(quoted)\" TEXT);"
                + "INSERT INTO \"\(quoted)\" VALUES (1, 'x');", in: "q.db")
        let made = try sandbox.ydbfs("backup", "q.db")
        #expect(made.status == 0, "\(made)")
        let sql = try sandbox.ydbfs("status", "q.db", "--sql", "q/latest", "--table", name)
        #expect(sql.status == 0, "\(sql)")
        let read =
            "import duckdb, sys; r = duckdb.sql(sys.stdin.read()); print(r.columns, r.fetchall())"
        let rows = try sandbox.run(Sandbox.python, ["-c", read], input: sql.output)
        #expect(rows.status == 0 && rows.output.hasSuffix(" [(1, 'x')]\n"), "\(rows)")
        for _ in 0..<2 {
            let export = try sandbox.ydbfs("export", "q.db", "q/latest", "out")
            #expect(export.status == 0, "\(export)")
        }
        let sums = try sandbox.run(
            "/bin/bash", ["-c", "cd out && sha256sum --strict -c SHA256SUMS"])
        #expect(sums.status == 0, "\(sums)")
        let found = try sandbox.ydbfs("find", "q.db", "q", "\"\(quoted)\".id = 1")
        #expect(found.output.contains(",1,x"), "\(found)")
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
