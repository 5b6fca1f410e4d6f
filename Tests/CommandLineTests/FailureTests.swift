import Foundation
import Glibc
import Testing

/// What fails while nobody looks: `status`, the log, programs that are run, and `errors` after the mount.
@Suite(.serialized) struct FailureTests {
    private let sandbox: Sandbox
    private let place = "there"

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script])
    }

    private func mount(_ options: String...) throws {
        let words = ["database.db", place] + options.flatMap { ["-o", $0] }
        let mounted = try sandbox.run(Sandbox.binary, words)
        try #require(mounted.status == 0, "\(mounted.errors)")
    }

    private func create(_ settings: String = "") throws {
        let create = Sandbox.create.replacingOccurrences(of: "'true'", with: "'true'\(settings)")
        let made = try sandbox.ydbfs("run", "database.db", create)
        try #require(made.status == 0, "\(made.errors)")
    }

    // MARK: Status

    @Test func `Status tells when a backup last succeeded, and fails when the newest one did`()
        throws
    {
        try create()
        let none = try sandbox.ydbfs("status", "database.db", "--max-age", "26h")
        #expect(none.status == 1 && none.output.contains("no backup is younger than 1d2h"))
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 0)
        let good = try sandbox.ydbfs("status", "database.db", "--max-age", "26h")
        #expect(good.status == 0, "\(good.output)")
        #expect(good.output.contains("  last backup 20"))

        // An operation that begins, and can't do its work.
        try sandbox.sql("DROP TABLE orders; DROP TABLE products")
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 1)
        let bad = try sandbox.ydbfs("status", "database.db")
        #expect(bad.status == 1)
        #expect(bad.output.contains("  FAILED: the last backup failed at 20"), "\(bad.output)")
        let json = try sandbox.ydbfs("status", "database.db", "--json").output
        let told = try sandbox.python(
            "c['failing'], c['last_failure']['state'], c['last_success'][:2], c['last_success_age'] < 900"
                .replacingOccurrences(of: "c[", with: "j['collections'][0]["), json: json)
        #expect(told == "True failed 20 True")
        try sandbox.makeShop()
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 0)
        #expect(try sandbox.ydbfs("status", "database.db").status == 0)
        let wrong = try sandbox.ydbfs("status", "database.db", "--max-age", "yesterday")
        #expect(wrong.status == 2 && wrong.errors.contains("expected a period such as 26h"))
    }

    @Test func `A backup that nobody takes is overdue`() throws {
        try create(", INCREMENTAL_EVERY = '1h'")
        #expect(try sandbox.ydbfs("run", "database.db", "BACKUP shop").status == 0)
        #expect(try sandbox.ydbfs("status", "database.db").status == 0)
        let later = try sandbox.ydbfs(at: "+3h", "status", "database.db", "--max-age", "26h")
        #expect(later.status == 1)
        #expect(later.output.contains("  FAILED: a backup was due at "), "\(later.output)")
        #expect(!later.output.contains("no backup is younger"))
        let old = try sandbox.ydbfs(at: "+2d", "status", "database.db", "--max-age", "26h")
        #expect(old.status == 1 && old.output.contains("  FAILED: no backup is younger than 1d2h"))
    }

    @Test func `Errors outlive the mount`() throws {
        try create()
        try mount()
        #expect(try shell("echo 'BACKUP nowhere' > there/control").errors.contains("No such file"))
        #expect(try shell("printf 'RESTORE shop (' > there/control; true").status == 0)
        let before = try sandbox.text("there/errors")
        #expect(
            before.contains("there is no collection nowhere") && before.contains("RESTORE shop ("))
        #expect(try sandbox.ydbfs("unmount", place).status == 0)
        try mount()
        #expect(try sandbox.text("there/errors") == before)
        // Read-only, nothing is written, and all is shown.
        #expect(try sandbox.ydbfs("unmount", place).status == 0)
        try sandbox.write("{", to: "database.db.backups/errors")
        try mount("ro")
        #expect(try sandbox.text("there/errors") == "")
        #expect(try shell("echo full > there/shop/control").status == 1)
        #expect(try sandbox.text("database.db.backups/errors") == "{")
    }

    // MARK: Log and hooks

    /// Asks the mount, and waits for the hook to have written.
    private func ask(_ statement: String, until line: String) throws -> String {
        _ = try shell("exec 3<>there/control; echo \"\(statement)\" >&3; cat <&3")
        for _ in 0..<500 {
            let text = try sandbox.text("told")
            if text.contains(line) { return text }
            usleep(20_000)
        }
        return try sandbox.text("told")
    }

    @Test func `Programs are run with the facts, as the database's owner`() throws {
        let guarded = try Guarded()
        let (owner, group) = (UInt32(65534), UInt32(65534))
        let told = "\(sandbox.path)/told"
        try "".write(toFile: told, atomically: false, encoding: .utf8)
        chmod(told, 0o666)
        chmod(sandbox.path, 0o755)
        let hook = try guarded.program(
            "hook",
            """
            #!/bin/sh
            echo "$YDBFS_RESULT $YDBFS_COLLECTION $YDBFS_KIND $(id -u) $(id -g) $(pwd) [$YDBFS_ERROR]" >> \(told)
            [ "$YDBFS_RESULT" = done ] || { echo no mail today >&2; exit 7; }
            """)
        try create()
        #expect(chown("\(sandbox.path)/database.db", owner, group) == 0)
        try mount("on_success=\(hook),on_failure=\(hook),log=\(sandbox.path)/log")
        let done = try ask("BACKUP shop;", until: "done")
        #expect(done == "done shop full 65534 65534 / []\n")
        try sandbox.sql("DROP TABLE orders")
        let incomplete = try ask("BACKUP shop;", until: "incomplete")
        #expect(incomplete.hasSuffix("incomplete shop full 65534 65534 / []\n"), "\(incomplete)")
        try sandbox.sql("DROP TABLE products")
        let failed = try ask("BACKUP shop;", until: "failed")
        #expect(failed.contains("failed shop full 65534 65534 / ["), "\(failed)")
        for _ in 0..<500
        where try sandbox.text("there/errors").components(
            separatedBy: "exit status 7: no mail today"
        ).count < 3 {
            usleep(20_000)
        }
        for text in [
            "shop: operation 2 full done point=", "incomplete=1",
            "shop: operation 4 failed: ", "on_failure: it ended with exit status 7: no mail today",
        ] {
            for _ in 0..<500 where try !sandbox.text("log").contains(text) { usleep(20_000) }
            #expect(try sandbox.text("log").contains(text), "\(text)")
        }
    }

    @Test func `A log that nobody reads stops no backup, and tells what it hasn't got`() throws {
        try create()
        // The pipe is full from the beginning; who reads it later gets what was said meanwhile.
        let ran = try shell(
            """
            trap 'kill $(jobs -p)' EXIT
            mkfifo pipe; exec 3<>pipe
            dd if=/dev/zero of=pipe bs=64k count=1 oflag=nonblock 2> /dev/null
            \(Sandbox.binary) database.db there -f 2> pipe > /dev/null 3>&- &
            until [ -e there/control ]; do sleep 0.05; done
            for n in 1 2 3; do
              exec 4<>there/control; echo 'BACKUP shop' >&4; cat <&4 >> answers; exec 4>&-
            done
            exec 5<pipe 3>&-
            \(Sandbox.binary) unmount there > /dev/null & tr -d '\\0' <&5 > read
            wait
            """)
        let answers = try sandbox.text("answers").split(separator: "\n")
        #expect(answers.count == 3 && answers.allSatisfy { $0.contains("done") }, "\(answers)")
        let read = try sandbox.text("read")
        #expect(
            read.components(separatedBy: " full done point=").count == 4, "\(read) \(ran)")
    }

    @Test func `A program has the signals of a shell, and its own group and environment`() throws {
        let guarded = try Guarded()
        let told = "\(sandbox.path)/told"
        try "".write(toFile: told, atomically: false, encoding: .utf8)
        let hook = try guarded.program(
            "hook",
            """
            #!/bin/sh
            env | grep -c FROM_OUTSIDE >> \(told)
            ls /proc/self/fd | wc -l >> \(told)
            kill -ALRM $$
            sleep 5
            """)
        try create()
        let mounted = try sandbox.run(
            Sandbox.binary, ["database.db", place, "-o", "on_success=\(hook)"],
            environment: ["FROM_OUTSIDE": "1"])
        try #require(mounted.status == 0, "\(mounted.errors)")
        _ = try shell("exec 3<>there/control; echo 'BACKUP shop' >&3; cat <&3")
        for _ in 0..<500 where try !sandbox.text("there/errors").contains("on_success: ") {
            usleep(20_000)
        }
        let errors = try sandbox.text("there/errors")
        #expect(errors.contains("on_success: it was ended by signal 14"), "\(errors)")
        // Three streams, and the one by which `ls` looks.
        #expect(try sandbox.text("told") == "0\n4\n")
    }

    @Test func `A program that hangs ends with the mount, and what it has started`() throws {
        let guarded = try Guarded()
        let started = "\(sandbox.path)/started"
        let hook = try guarded.program(
            "hook", "#!/bin/sh\nsleep 1000 &\necho $$ $! > \(started)\nwait\n")
        try create()
        try mount("on_success=\(hook)")
        _ = try shell("exec 3<>there/control; echo 'BACKUP shop' >&3; cat <&3")
        for _ in 0..<500 where !sandbox.exists("started") { usleep(20_000) }
        let pids = try sandbox.text("started").split(whereSeparator: \.isWhitespace)
        try #require(pids.count == 2)
        #expect(pids.allSatisfy { kill(Int32($0)!, 0) == 0 })
        #expect(try sandbox.ydbfs("unmount", "there").status == 0)
        for _ in 0..<500 where pids.contains(where: { kill(Int32($0)!, 0) == 0 }) { usleep(20_000) }
        #expect(pids.allSatisfy { kill(Int32($0)!, 0) != 0 })
    }

    @Test func `A program that others could change isn't run`() throws {
        let guarded = try Guarded()
        let hook = try guarded.program("hook", "#!/bin/sh\n")
        try create()
        func refusal(_ option: String) throws -> String {
            let result = try sandbox.ydbfs("database.db", place, "-o", "on_failure=\(option)")
            #expect(result.status == 1, "\(option)")
            return result.errors
        }
        #expect(try refusal("hook").contains("its path must be absolute"))
        #expect(try refusal("\(guarded.path)/none").contains("No such file"))
        #expect(try refusal(guarded.path).contains("it is no program"))
        chmod(hook, 0o757)
        #expect(try refusal(hook).contains("may change \(hook): narrow its mode"))
        chmod(hook, 0o755)
        chmod(guarded.path, 0o777)
        #expect(try refusal(hook).contains("may change \(guarded.path): narrow its mode"))
        chmod(guarded.path, 0o755)
        chown(hook, 4711, 0)
        #expect(try refusal(hook).contains("may change \(hook)"))
        chown(hook, 0, 0)
        // By a link that lies where everybody may write, it is the program itself that counts.
        symlink(hook, "\(sandbox.path)/link")
        try mount("on_failure=\(sandbox.path)/link")
        // It is looked at again before each run.
        chmod(hook, 0o777)
        try sandbox.write("", to: "told")
        try sandbox.sql("DROP TABLE orders; DROP TABLE products")
        _ = try shell("exec 3<>there/control; echo 'BACKUP shop' >&3; cat <&3")
        for _ in 0..<500 where try !sandbox.text("there/errors").contains("narrow its mode") {
            usleep(20_000)
        }
        #expect(try sandbox.text("there/errors").contains("narrow its mode"))
    }

    @Test func `In the foreground the log is standard error`() throws {
        try create()
        let (process, end) = try sandbox.start(
            Sandbox.binary, ["database.db", place, "-f"])
        for _ in 0..<1000 where try sandbox.mounts.isEmpty { usleep(10_000) }
        _ = try shell("exec 3<>there/control; echo 'BACKUP shop' >&3; cat <&3")
        _ = try shell("echo 'BACKUP nowhere' > there/control")
        process.interrupt()
        let errors = try end().errors
        #expect(errors.contains("ydbfs: shop: operation 2 full done point="), "\(errors)")
        #expect(errors.contains("there is no collection nowhere"), "\(errors)")
    }
}
