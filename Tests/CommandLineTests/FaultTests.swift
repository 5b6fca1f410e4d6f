import Foundation
import Testing

/// Calls of the kernel that fail in the middle of the work, by strace: that operation fails with the
/// reason or does without, the next one works, a mount lives, and nothing acknowledged is lost.
@Suite struct FaultTests {
    struct Fault: CustomTestStringConvertible, Sendable {
        let call: String
        /// Of errno; nil for `brk`, which fails by answering 0.
        let error: String?
        /// Of which the reason has one.
        let words: [String]

        var testDescription: String { "\(call) \(error ?? "")" }

        /// Words for strace: the call fails when it comes for the time that `number` says.
        func injected(_ number: String) -> [String] {
            let outcome = error.map { "error=\($0)" } ?? "retval=0"
            return ["-e", "trace=\(call)", "-e", "inject=\(call):\(outcome):when=\(number)"]
        }
    }

    /// What SQLite makes of an error is said in its own words.
    private static let sqlite = ["SQLite error", "malformed", "unable to open"]
    static let faults = [
        Fault(call: "clone3", error: "EAGAIN", words: ["Resource temporarily unavailable"]),
        Fault(call: "openat", error: "EMFILE", words: ["Too many open files"] + sqlite),
        Fault(call: "fsync", error: "EIO", words: ["Input/output error"] + sqlite),
        Fault(call: "write", error: "ENOSPC", words: ["No space left on device"]),
        Fault(call: "pwrite64", error: "EIO", words: sqlite),
        Fault(call: "pread64", error: "EIO", words: ["Input/output error"] + sqlite),
        Fault(call: "getdents64", error: "EIO", words: ["Input/output error"]),
        Fault(call: "linkat", error: "EIO", words: ["Input/output error"]),
        Fault(call: "renameat", error: "EIO", words: ["Input/output error"]),
        Fault(call: "unlinkat", error: "EIO", words: ["Input/output error"]),
        Fault(call: "mkdirat", error: "ENOSPC", words: ["No space left on device"]),
        Fault(call: "newfstatat", error: "EIO", words: ["Input/output error"] + sqlite),
        Fault(call: "fcntl", error: "ENOLCK", words: ["No locks available"] + sqlite),
        Fault(call: "statfs", error: "EIO", words: ["Input/output error"]),
        // A thread's stack.
        Fault(call: "mmap", error: "ENOMEM", words: ["Resource temporarily unavailable"]),
        Fault(call: "brk", error: nil, words: []),
    ]

    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT UNIQUE, n INTEGER);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900)
            INSERT INTO orders SELECT i, 'item ' || i, 0 FROM n;
            """)
        let made = try sandbox.ydbfs(
            "run", "database.db",
            "CREATE BACKUP COLLECTION shop DATABASE WITH (STORAGE = 'cluster', "
                + "INCREMENTAL_BACKUP_ENABLED = 'true'); BACKUP shop")
        try #require(made.status == 0, "\(made.errors)")
    }

    // MARK: Counting calls

    /// How often each thread calls this, the most first.
    private func calls(_ call: String, _ words: String...) throws -> [Int] {
        let ran = try sandbox.run(
            "/usr/bin/strace",
            ["-f", "-qq", "-o", "trace", "-e", "trace=\(call)", Sandbox.binary] + words)
        try #require(ran.status == 0, "\(ran.errors)")
        let lines = try sandbox.text("trace").split(separator: "\n")
        let threads = Dictionary(grouping: lines) { $0.prefix { $0 != " " } }
        return threads.values.map(\.count).sorted(by: >)
    }

    /// Some numbers of calls, evenly over all those that aren't only the loader's. A thread counts its own.
    private func samples(_ call: String, _ count: Int, _ words: String...) throws -> [Int] {
        let loader = try calls(call, "--version").first ?? 0
        let most = try calls(call, "run", "database.db", words[0]).first ?? 0
        try #require(most > loader, "\(call) is never called")
        return Set((0..<count).map { loader + 1 + (most - loader) * $0 / count }).sorted()
    }

    private func run(
        _ statement: String, failing fault: Fault, at number: Int
    ) throws -> Sandbox.Result {
        try sandbox.run(
            "/usr/bin/strace",
            ["-f", "-qq", "-o", "/dev/null"] + fault.injected("\(number)")
                + [Sandbox.binary, "run", "database.db", statement])
    }

    private func hasReason(_ words: String, _ fault: Fault) -> Bool {
        fault.words.contains { words.contains($0) }
    }

    private func shell(_ script: String, _ words: String...) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script, "bash"] + words)
    }

    // MARK: Processes of their own

    private func points() throws -> [String] {
        let status = try sandbox.ydbfs("status", "database.db", "--json")
        // 1 if the last backup failed.
        #expect(status.status <= 1 && status.errors == "", "\(status.errors)")
        return try sandbox.python(
            "*[p['name'] for p in j['collections'][0]['points']]", json: status.output
        ).split(separator: " ").map(String.init)
    }

    @Test(arguments: faults)
    func `a backup with a failing call ends with the reason, and the next one works`(
        _ fault: Fault
    ) throws {
        let statement = "BACKUP shop INCREMENTAL"
        for number in try samples(fault.call, 8, statement) {
            let what: Comment = "\(fault.call) \(number)"
            try sandbox.sql("UPDATE orders SET n = n + 1 WHERE id % 90 = 1")
            let known = try points()
            let ran = try run(statement, failing: fault, at: number)
            let found = try points()
            if ran.status == 0 {
                #expect(found.count == known.count + 1, what)
            } else {
                #expect(ran.status == 1, "\(what): \(ran.errors)")
                // The message may be what couldn't be written.
                let isUnsaid = fault.call == "write" && ran.errors.isEmpty
                #expect(isUnsaid || hasReason(ran.errors, fault), "\(what): \(ran.errors)")
            }
            // It is there or it isn't, and nothing else is gone.
            #expect(Array(found.prefix(known.count)) == known, what)
            #expect(found.count <= known.count + 1, what)
            let next = try sandbox.ydbfs("run", "database.db", statement)
            #expect(next.status == 0, "\(what): \(next.errors)")
        }
        let verified = try sandbox.ydbfs("verify", "database.db", "--level", "source")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
    }

    @Test(arguments: [
        ("wal", "pwrite64"), ("wal", "fdatasync"), ("wal", "ftruncate"), ("wal", "openat"),
        ("delete", "pwrite64"), ("delete", "fdatasync"), ("delete", "unlink"),
        ("delete", "pread64"),
    ])
    func `a restore with a failing call has happened or it hasn't, and the next one works`(
        _ journal: String, _ call: String
    ) throws {
        func dump() throws -> String {
            try sandbox.run(
                "/usr/bin/sqlite3", ["database.db", ".dump orders", ".dump kept"]
            ).output
        }
        try sandbox.sql(
            "PRAGMA journal_mode = \(journal); CREATE TABLE kept(v); INSERT INTO kept VALUES (1)")
        let whole = try dump()
        try sandbox.sql("DROP TABLE orders")
        let without = try dump()
        let error = call == "openat" ? "EMFILE" : "EIO"
        let fault = Fault(
            call: call, error: error,
            words: ["Input/output error", "Too many open files"] + Self.sqlite)
        let statement = "RESTORE shop"
        let numbers = try samples(call, 8, statement)
        for number in numbers {
            let what: Comment = "\(call) \(number)"
            try sandbox.sql("DROP TABLE IF EXISTS orders")
            let ran = try run(statement, failing: fault, at: number)
            let check = try sandbox.run(
                "/usr/bin/sqlite3", ["database.db", "PRAGMA integrity_check"])
            #expect(check.output == "ok\n", what)
            let found = try dump()
            let isWhole = found == whole
            if ran.status == 0 {
                #expect(isWhole, what)
            } else {
                #expect(ran.status == 1, "\(what): \(ran.errors)")
                #expect(hasReason(ran.errors, fault), "\(what): \(ran.errors)")
                let isEither = isWhole || found == without
                #expect(isEither, what)
            }
            if isWhole { continue }
            let next = try sandbox.ydbfs("run", "database.db", statement)
            #expect(next.status == 0, "\(what): \(next.errors)")
            let isWholeNow = try dump() == whole
            #expect(isWholeNow, what)
        }
    }

    // MARK: Mounts

    /// Lets calls of a process fail while `body` is done. Answers whether any did.
    private func failing(
        _ fault: Fault, _ number: String, in process: Int32, _ body: () throws -> Void
    ) throws -> Bool {
        // Whoever starts it here may have blocked the signal that ends it.
        let unblocked = """
            import os, signal, sys
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execv(sys.argv[1], sys.argv[1:])
            """
        let (tracer, end) = try sandbox.start(
            Sandbox.python,
            ["-c", unblocked, "/usr/bin/strace", "-f", "-qq", "-o", "trace", "-p", "\(process)"]
                + fault.injected(number))
        let attached = try shell(
            """
            for n in {1..200}; do
              grep -L '^TracerPid:.0$' /proc/$1/task/*/status | wc -l |
                grep -qx $(ls /proc/$1/task | wc -l) && exit 0
              sleep 0.02
            done; exit 1
            """, "\(process)")
        #expect(attached.status == 0)
        let result = Result { try body() }
        // It lets go of the process then.
        tracer.terminate()
        _ = try end()
        try result.get()
        return try sandbox.text("trace").contains("(INJECTED)")
    }

    @Test(arguments: faults)
    func `a mount lives through failing calls, and says why what failed`(_ fault: Fault) throws {
        let mounted = try sandbox.ydbfs("database.db", "m")
        try #require(mounted.status == 0, "\(mounted.errors)")
        let process = try #require(try sandbox.servers(of: "m").first)
        var acknowledged: [String] = []
        let backup = "echo incremental > m/shop/control && cat m/shop/operation/wait"
        func note(_ line: String) {
            let words = line.split(separator: " ").map(String.init)
            if words.first == "done", words.count > 1 {
                acknowledged.append(String(words[1].dropFirst("point=".count)))
            }
        }
        var failed = 0
        var hasInjected = false
        for number in ["1", "2", "3", "5", "9", "20", "1+"] {
            let what: Comment = "\(fault.call) \(number)"
            try sandbox.sql("UPDATE orders SET n = n + 1 WHERE id % 90 = 1")
            let didInject = try failing(fault, number, in: process) {
                let ran = try shell(backup)
                note(ran.output)
                if !ran.output.hasPrefix("done") {
                    failed += 1
                    let isTold =
                        ran.output.hasPrefix("failed: ") || ran.output.hasPrefix("refused: ")
                    #expect(ran.status != 0 || isTold, "\(what): \(ran.output)")
                }
                _ = try shell("cat m/shop/latest/orders.* m/shop/status > /dev/null")
            }
            hasInjected = hasInjected || didInject
            #expect(try sandbox.servers(of: "m") == [process], what)
            let next = try shell(backup)
            #expect(next.output.hasPrefix("done point="), "\(what): \(next.output)\(next.errors)")
            note(next.output)
            let read = try shell("cat m/shop/latest/orders.csv")
            let plain = try shell(
                "sqlite3 -csv -header -newline $'\\n' database.db 'SELECT * FROM orders'")
            let isRight =
                read.output.replacing("\"", with: "") == plain.output.replacing("\"", with: "")
            #expect(isRight, what)
        }
        // Whether the allocator asks the kernel is its own affair.
        #expect(hasInjected || fault.call == "brk")
        if failed > 0 {
            let errors = try sandbox.text("m/errors")
            #expect(hasReason(errors, fault), "\(errors)")
        }
        #expect(acknowledged.count >= 7)
        let shown = try Set(shell("ls m/shop").output.split(separator: "\n").map(String.init))
        #expect(shown.isSuperset(of: acknowledged))
        #expect(try sandbox.ydbfs("unmount", "m").status == 0)
        let verified = try sandbox.ydbfs("verify", "database.db")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
    }
}
