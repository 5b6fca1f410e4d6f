import Foundation
import Glibc
import Testing

/// Control files as shells and other programs write them, and errors that the system below causes,
/// through the real program and the kernel.
@Suite(.serialized) struct ControlFileTests {
    private let sandbox: Sandbox
    /// Not `mnt`: other tests kill the servers of what they call so.
    private let place = "there"

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    private func shell(_ program: String, _ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/\(program)", ["-c", script])
    }

    private func points() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: sandbox.path + "/there/shop")
            .filter { $0.hasSuffix("_full") || $0.hasSuffix("_incremental") }.sorted()
    }

    // MARK: Writing

    @Test func `Text that is too long ends in EMSGSIZE, however the kernel cuts it`() throws {
        #expect(try sandbox.ydbfs("database.db", place).status == 0)
        try Data(repeating: UInt8(ascii: "x"), count: 2_000_000)
            .write(to: URL(filePath: sandbox.path + "/big"))
        let python = """
            import os, sys
            def attempt(what, call):
                try:
                    print(what, call())
                    return True
                except OSError as e:
                    print(what, os.strerror(e.errno))
            data = b"x" * 2_000_000
            # One that doesn't look at what was written hears of it as it closes.
            fd = os.open("there/control", os.O_WRONLY)
            written = os.write(fd, data)
            print("whole", written == len(data))
            attempt("close", lambda: os.close(fd))
            # One that goes on with the rest hears of it then.
            fd = os.open("there/control", os.O_WRONLY)
            written = os.write(fd, data)
            attempt("rest", lambda: os.write(fd, data[written:]))
            attempt("close", lambda: os.close(fd))
            """
        let direct = try sandbox.run(Sandbox.python, ["-c", python])
        let long = "Message too long"
        #expect(
            direct.output == "whole False\nclose \(long)\nrest \(long)\nclose None\n",
            "\(direct.output) \(direct.errors)")
        for script in [
            "dd if=big of=there/control bs=2M conv=notrunc", "cat big > there/control",
            #"big=$(cat big); printf '%s' "$big" > there/control"#, "cp big there/control",
        ] {
            let result = try shell("bash", script)
            #expect(result.status != 0, "\(script)")
            #expect(result.errors.contains(long), "\(script): \(result.errors)")
        }
        let errors = try sandbox.text("there/errors")
        #expect(errors.components(separatedBy: "1 MiB").count > 6, "\(errors.suffix(300))")
        // What was too long left nothing behind.
        try sandbox.write(Sandbox.create, to: "create")
        #expect(try shell("dash", "cat create > there/control").status == 0)
        #expect(try shell("dash", "echo full > there/shop/control").status == 0)
    }

    @Test func `dash writes here-documents of several lines, itself and through a pipe`() throws {
        #expect(try sandbox.ydbfs("database.db", place).status == 0)
        let script = """
            set -e
            cat <<'END' | cat > there/control
            CREATE BACKUP COLLECTION shop
                ( TABLE orders -- a comment
                , TABLE products
                )
            WITH ( STORAGE = 'cluster'
                 , INCREMENTAL_BACKUP_ENABLED = 'true' );
            BACKUP shop
            END
            cat there/shop/operation/wait
            tee there/shop/control <<END | cat > seen
            BACKUP

            INCREMENTAL
            END
            cat there/shop/operation/wait
            """
        let result = try shell("dash", script)
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n")
        #expect(lines.count == 2 && lines.allSatisfy { $0.hasPrefix("done ") }, "\(lines)")
        #expect(try points().count == 2)
        #expect(try sandbox.text("there/errors") == "")
        // And one that can't be meant: the pipe's last program hears of it.
        let wrong = try shell(
            "dash", "cat <<END | cat > there/control\nBACKUP shop\nINCREMENTALLY\nEND\n")
        #expect(wrong.status != 0)
        #expect(try sandbox.text("there/errors").contains("INCREMENTALLY\n"))
    }

    // MARK: What the system below refuses

    @Test
    func `A full disk fails the backup, loses nothing, and the next works when there is room`()
        throws
    {
        let disk = sandbox.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
        let mounted = try sandbox.run(
            "/bin/mount", ["-t", "tmpfs", "-o", "size=2m", "ydbfs-test", disk])
        try #require(mounted.status == 0, "\(mounted.errors)")
        defer { _ = try? sandbox.run("/bin/umount", ["-l", disk]) }
        #expect(
            try sandbox.ydbfs("--repository", "disk/backups", "database.db", place).status == 0)
        defer { _ = try? sandbox.ydbfs("unmount", place, "--now") }
        try sandbox.write(Sandbox.create + "BACKUP shop;", to: "create")
        #expect(
            try shell("bash", "cat create > there/control; cat there/shop/operation/wait").status
                == 0)
        let before = try sandbox.text("there/shop/latest/orders.csv")
        try sandbox.sql("INSERT INTO orders VALUES (7, hex(randomblob(4000000)))")
        for _ in 0..<2 {
            let failed = try shell(
                "bash", "echo incremental > there/shop/control; cat there/shop/operation/wait")
            #expect(failed.output.hasPrefix("failed: "), "\(failed.output)")
            let error = try sandbox.text("there/shop/operation/error")
            #expect(error.contains("has more to write: it ended"), "\(error)")
            #expect(try sandbox.text("there/errors").contains("has more to write: it ended"))
            #expect(try points().count == 1)
            #expect(try sandbox.text("there/shop/latest/orders.csv") == before)
        }
        let files = try shell(
            "bash", "find disk/backups/tables disk/backups/*/*/data -type f | wc -l"
        ).output
        #expect(files == "3\n", "a failed backup leaves no files to fill the disk with: \(files)")
        // When nothing fits any more, the errno of the write says so.
        #expect(try shell("bash", "dd if=/dev/zero of=disk/filler bs=64k").status == 1)
        let full = try shell("bash", "echo 'incremental;' > there/shop/control")
        #expect(full.errors.contains("No space left on device"), "\(full.errors)")
        let larger = try sandbox.run("/bin/mount", ["-o", "remount,size=64m", disk])
        try #require(larger.status == 0, "\(larger.errors)")
        let done = try shell(
            "bash", "echo incremental > there/shop/control; cat there/shop/operation/wait")
        #expect(done.output.hasPrefix("done "), "\(done.output)")
        #expect(try points().count == 2)
        #expect(try sandbox.text("there/shop/latest/orders.csv").utf8.count > 8_000_000)
    }

    @Test func `A database that may not be read any more is EACCES, and its backups are shown`()
        throws
    {
        // Root may read everything, unless it gives that up.
        let mounted = try sandbox.run(
            "/usr/bin/setpriv",
            [
                "--bounding-set=-dac_override,-dac_read_search", Sandbox.binary, "database.db",
                place,
            ])
        try #require(mounted.status == 0, "\(mounted.errors)")
        try sandbox.write(Sandbox.create + "BACKUP shop;", to: "create")
        let made = try shell("bash", "cat create > there/control && cat there/shop/operation/wait")
        #expect(made.output.hasPrefix("done "), "\(made.output) \(made.errors)")

        let database = sandbox.path + "/database.db"
        #expect(chown(database, 65534, 65534) == 0 && chmod(database, 0o600) == 0)
        let refused = try shell("bash", "echo incremental > there/shop/control")
        #expect(refused.status != 0)
        #expect(refused.errors.contains("Permission denied"), "\(refused.errors)")
        #expect(try sandbox.text("there/errors").contains("database.db"))
        #expect(try sandbox.text("there/shop/latest/orders.csv") == "id,item\n1,tea\n2,coffee\n")
        #expect(chown(database, 0, 0) == 0)
        let again = try shell(
            "bash", "echo incremental > there/shop/control && cat there/shop/operation/wait")
        #expect(again.output.hasPrefix("done "), "\(again.output) \(again.errors)")
    }

    @Test func `A handle that wrote is answered for its own statements, a line each`() throws {
        #expect(try sandbox.ydbfs("database.db", place).status == 0)
        try sandbox.write(Sandbox.create, to: "create")
        let script = """
            exec 3<>there/control
            cat create >&3; cat <&3; echo --
            echo 'BACKUP shop; VERIFY shop; BACKUP shop INCREMENTAL;' >&3; cat <&3; echo --
            echo 'BACKUP nowhere' >&3; cat <&3; echo --
            printf 'BACKUP shop' >&3; head -c 4 <&3; cat <&3; echo --
            exec 3<>there/shop/control
            printf incremental >&3; grep -q '^done ' <&3 && echo right
            """
        for program in ["bash", "dash"] {
            if program == "dash" { try sandbox.write("SELECT", to: "create") }
            let answer = try shell(program, script).output
            let parts = answer.components(separatedBy: "--\n")
            try #require(parts.count == 5, "\(answer)")
            #expect(parts[0].hasPrefix(program == "bash" ? "done rows=0 " : "refused: 1:1: "))
            let lines = parts[1].split(separator: "\n").map { $0.prefix { $0 != "=" } }
            #expect(lines == ["done point", "done rows", "done point"], "\(parts[1])")
            #expect(
                parts[2].hasPrefix("refused: 1:8: there is no collection nowhere"), "\(parts[2])")
            #expect(parts[3].hasPrefix("done point="), "\(parts[3])")
            #expect(parts[4] == "right\n")
        }
        // Who only reads has the usual text, at any place; who wrote nothing yet as well.
        let usual = try sandbox.text("there/control")
        #expect(usual.contains("Write one of these"))
        let whole = try shell("bash", "exec 3<>there/control; cat <&3; cat <&3")
        #expect(whole.output == usual)
        #expect(try shell("bash", "tail -c 5 there/control").output == String(usual.suffix(5)))
    }

    @Test func `A read that waits can be interrupted, and holds nobody up who writes`() throws {
        #expect(try sandbox.ydbfs("database.db", place).status == 0)
        try sandbox.write(Sandbox.create, to: "create")
        #expect(try shell("bash", "cat create > there/control").status == 0)
        let script = """
            exec 3<>there/shop/control
            exec 4< <(exec \(Sandbox.python) -c 'import sqlite3, sys, time
            c = sqlite3.connect("database.db", isolation_level=None)
            c.execute("BEGIN EXCLUSIVE"); print("locked", flush=True); time.sleep(6)')
            read locked <&4
            echo full >&3
            timeout -s KILL 0.5 cat <&3; echo "interrupted $?"
            # The descriptor's position isn't locked by the one that waits.
            cat <&3 & sleep 0.3
            timeout 3 bash -c 'echo incremental >&3' && echo written
            wait $!; cat <&3
            """
        let answer = try shell("bash", script)
        let lines = answer.output.split(separator: "\n")
        try #require(lines.count >= 4, "\(answer.output) \(answer.errors)")
        #expect(lines[0] == "interrupted 137")
        #expect(lines[1] == "written")
        #expect(lines.dropFirst(2).allSatisfy { $0.hasPrefix("done ") }, "\(answer.output)")
    }

    @Test func `A lock of another program keeps no shell waiting`() throws {
        #expect(try sandbox.ydbfs("database.db", place).status == 0)
        try sandbox.write(Sandbox.create, to: "create")
        #expect(try shell("bash", "cat create > there/control").status == 0)
        // A rollback journal and EXCLUSIVE: nobody else can even read.
        let holder = """
            import sqlite3, sys
            c = sqlite3.connect("database.db", isolation_level=None)
            c.execute("BEGIN EXCLUSIVE")
            open("held", "w").close()
            sys.stdin.readline()
            """
        let pipe = Pipe()
        let process = Process()
        process.executableURL = URL(filePath: Sandbox.python)
        process.arguments = ["-c", holder]
        process.currentDirectoryURL = URL(filePath: sandbox.path)
        process.standardInput = pipe
        try process.run()
        while !sandbox.exists("held") { usleep(10_000) }
        let clock = ContinuousClock()
        // What is known already is accepted and waits.
        let accepted = try clock.measure {
            let full = try shell("bash", "echo full > there/shop/control")
            #expect(full.status == 0, "\(full.errors)")
        }
        #expect(try sandbox.text("there/shop/operation/state").hasPrefix("running"))
        // What must look at the tables now says why it can't.
        let refused = try clock.measure {
            let create = try shell(
                "bash", "sed s/shop/other/ create > o; cat o > there/control")
            #expect(create.errors.contains("Device or resource busy"), "\(create.errors)")
        }
        #expect(try sandbox.text("there/errors").contains("another program keeps it locked"))
        // The operation would wait for 30 seconds.
        #expect(accepted < .seconds(10) && refused < .seconds(10))
        try pipe.fileHandleForWriting.close()
        process.waitUntilExit()
        #expect(try sandbox.text("there/shop/operation/wait").hasPrefix("done "))
    }
}
