import Foundation
import Testing

/// Backups and databases on a real sshfs. Its server is started by it directly, so that no sshd is
/// needed; everything else is as over a network.
@Suite struct NetworkFileSystemTests {
    /// A sandbox whose folder `far` is mounted by sshfs at `near`. Needs root, as mounting does.
    private final class Far {
        let sandbox: Sandbox

        /// - Parameter options: of sshfs, beside the usual ones.
        init(_ options: String...) throws {
            sandbox = try Sandbox()
            // What isn't installed fails the test: Tests/run installs it.
            try sandbox.write("#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n", to: "server")
            try shell("chmod +x server; mkdir far near")
            let words = ["-o", "ssh_command=\(sandbox.path)/server", "host:\(sandbox.path)/far"]
            // It goes to the background, and must not hold what tells that it has ended.
            let script = """
                for fd in /proc/$$/fd/*; do [ ${fd##*/} -gt 2 ] && eval "exec ${fd##*/}>&-"; done
                exec sshfs "$@"
                """
            let mounted = try sandbox.run(
                "/bin/bash",
                ["-c", script, "bash"] + words + ["near"] + options.flatMap { ["-o", $0] })
            try #require(mounted.status == 0, "\(mounted.errors)")
            #expect(try shell("findmnt -n -o FSTYPE near") == "fuse.sshfs\n")
            try sandbox.sql(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT); "
                    + "INSERT INTO orders VALUES (1, 'tea'), (2, 'coffee')", in: "shop.db")
        }

        deinit { _ = try? sandbox.run("/bin/umount", ["-l", "near"]) }

        @discardableResult
        func shell(_ script: String) throws -> String {
            let ran = try sandbox.run("/bin/bash", ["-c", script])
            try #require(ran.status == 0, "\(script): \(ran.errors)")
            return ran.output
        }

        func run(
            _ words: String..., database: String = "shop.db", repository: String = "near/r"
        ) throws -> Sandbox.Result {
            try sandbox.run(
                Sandbox.binary, ["run", database, "--repository", repository] + words)
        }
    }

    private static let create = """
        CREATE BACKUP COLLECTION shop DATABASE
        WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');
        """

    @Test func `a repository on sshfs is written, read, verified and pruned`() throws {
        let far = try Far()
        let made = try far.run(Self.create + "BACKUP shop")
        #expect(made.status == 0, "\(made.errors)")
        for item in ["cocoa", "milk", "water"] {
            try far.sandbox.sql("UPDATE orders SET item = '\(item)' WHERE id = 1", in: "shop.db")
            let next = try far.run("BACKUP shop INCREMENTAL")
            #expect(next.status == 0, "\(next.errors)")
        }
        let verified = try far.sandbox.ydbfs("verify", "near/r")
        #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
        // From the other end it is the same.
        #expect(try far.sandbox.ydbfs("verify", "far/r").status == 0)
        let mounted = try far.sandbox.ydbfs("shop.db", "m", "--repository", "near/r")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(try far.shell("cat m/shop/latest/orders.csv") == "id,item\n1,water\n2,coffee\n")
        #expect(try far.shell("cat m/shop/2*_full/orders.csv") == "id,item\n1,tea\n2,coffee\n")
        let pruned = try far.run(
            "ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '1', KEEP_DROPPED = '0h'); PRUNE shop")
        #expect(pruned.status == 0, "\(pruned.errors)")
        #expect(try far.shell("ls m/shop | grep -c Z_") == "1\n")
        #expect(try far.sandbox.ydbfs("verify", "far/r").status == 0)
    }

    @Test func `on sshfs without hard links nothing is written, and the reason said`() throws {
        let far = try Far("disable_hardlink")
        let refused = try far.run(Self.create)
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains("neither hard links nor renaming without replacing"),
            "\(refused.errors)")
        #expect(try far.shell("find far -type f") == "")
        // What came there in another way is readable, and stays as it is.
        #expect(try far.run(Self.create + "BACKUP shop", repository: "far/r").status == 0)
        let files = "cd far && find . -type f | sort | xargs sha256sum"
        let before = try far.shell(files)
        let backup = try far.run("BACKUP shop")
        #expect(backup.status == 1)
        #expect(backup.errors.contains("keep the repository on another one"), "\(backup.errors)")
        #expect(try far.sandbox.ydbfs("status", "near/r").status == 0)
        let exported = try far.sandbox.ydbfs("export", "near/r", "shop/latest", "out")
        #expect(exported.status == 0, "\(exported.errors)")
        #expect(try far.shell("cat out/orders.csv") == "id,item\n1,tea\n2,coffee\n")
        #expect(try far.shell(files) == before)
    }

    @Test func `a WAL database on sshfs is refused, unless it is trusted`() throws {
        let far = try Far()
        try far.shell("cp shop.db far/plain.db && cp shop.db far/wal.db")
        try far.sandbox.sql("PRAGMA journal_mode = wal", in: "far/wal.db")
        func run(_ name: String, _ words: String...) throws -> Sandbox.Result {
            try far.sandbox.run(
                Sandbox.binary,
                ["run", "near/\(name).db", "--repository", name] + words
                    + [Self.create + "BACKUP shop"])
        }
        let refused = try run("wal")
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains("is in WAL mode and lies on sshfs")
                && refused.errors.contains("--trust-fs"), "\(refused.errors)")
        #expect(!far.sandbox.exists("wal/repository.json"))
        let trusted = try run("wal", "--trust-fs")
        #expect(trusted.status == 0, "\(trusted.errors)")
        let plain = try run("plain")
        #expect(plain.status == 0, "\(plain.errors)")
    }
}
