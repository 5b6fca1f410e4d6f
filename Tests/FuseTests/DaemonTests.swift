import Bytes
import Foundation
import Fuse
import FuseFixture
import Testing

/// A mount served by a process of its own: background start, signals, death, other users.
@Suite(.serialized) struct DaemonTests {
    /// Starts the fixture in the background and returns its process number.
    private func launch(_ path: String, location: String = "/nowhere", log: String) throws -> Int32
    {
        let outcome = try run("\"$1\" --log \"$2\" \"$3\" \"$4\"", fixture, log, path, location)
        #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
        #expect(outcome.output.hasPrefix("mounted at \(path), process "))
        return try #require(Int32(outcome.output.split(whereSeparator: \.isWhitespace).last ?? ""))
    }

    private func withDaemon(
        _ body: (_ path: String, _ pid: Int32, _ log: String) throws -> Void
    ) throws {
        let scratch = try scratchDirectory()
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let path = scratch + "/mount"
        let pid = try launch(path, log: scratch + "/log")
        defer {
            kill(pid, SIGKILL)
            _ = try? run("umount -l \"$1\"", path)
        }
        try body(path, pid, scratch + "/log")
    }

    /// Ended, even if its parent hasn't asked for its status yet.
    private func isGone(_ pid: Int32) -> Bool {
        guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else {
            return true
        }
        return String(decoding: stat, as: UTF8.self).contains(") Z ")
    }

    @Test func `start returns when the mount is usable, and leaves terminal and directory`() throws
    {
        try withDaemon { path, pid, log in
            try #expect(check("cat \"$1\"/text", path) == SampleFileSystem.sampleText)
            let script = """
                cd /proc/\(pid); readlink cwd fd/0 fd/1 fd/2; ls fd | grep -cx 3
                read -r _ _ _ _ GROUP SESSION TERMINAL _ < stat
                echo $GROUP $SESSION $TERMINAL
                """
            let outcome = try run(script)
            #expect(outcome.output.hasPrefix("/\n/dev/null\n\(log)\n\(log)\n"))
            #expect(outcome.output.hasSuffix("\n\(pid) \(pid) 0\n"))
        }
    }

    @Test func `a failed start says why and has an exit status`() throws {
        let scratch = try scratchDirectory()
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let failed = try run("\"$1\" --fail \"$2\" x", fixture, scratch)
        #expect(failed.status == 3 && failed.output == "failed as asked\n")
        let died = try run("SWIFT_BACKTRACE=enable=no \"$1\" --die \"$2\" x", fixture, scratch)
        #expect(died.status == 134)
        #expect(died.output.contains("was killed by signal 6, before the mount was usable"))
        _ = try check("touch \"$1\"/file", scratch)
        let refused = try run("\"$1\" \"$2\" x", fixture, scratch)
        #expect(refused.status == 3 && refused.output.contains("isn't empty"))
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func `a signal unmounts and removes the created mount point`(signal: Int32) throws {
        try withDaemon { path, pid, log in
            kill(pid, signal)
            #expect(eventually { isGone(pid) })
            try #expect(check("cat \"$1\"", log) == "unmounted: requested\nended\n")
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test func `a second signal ends a busy mount`() throws {
        try withDaemon { path, pid, log in
            let file = try #require(FileHandle(forReadingAtPath: path + "/text"))
            kill(pid, SIGTERM)
            #expect(eventually { (try? Mounts.at(path)) == .some(nil) })
            usleep(200_000)
            #expect(!isGone(pid))
            let start = ContinuousClock.now
            kill(pid, SIGTERM)
            #expect(eventually { isGone(pid) })
            #expect(ContinuousClock.now - start < .seconds(1))
            _ = file
        }
    }

    @Test func `a reader blocked in the mount doesn't keep a signalled process alive`() throws {
        try withDaemon { path, pid, _ in
            let script = """
                cat "$1"/blocking 2> /dev/null & PID=$!
                until grep -q waiting=1 "$1"/counters; do sleep 0.02; done
                kill \(pid); wait $PID; echo $?
                """
            try #expect(run(script, path).output == "1\n")
            #expect(eventually { isGone(pid) })
        }
    }

    @Test func `a killed process leaves a dead mount, which the next start heals`() throws {
        try withDaemon { path, pid, log in
            try #expect(Mounts.health(at: path) == .alive)
            kill(pid, SIGKILL)
            #expect(eventually { isGone(pid) })
            // Its last threads may still be going.
            try #expect(
                eventually { try run("ls \"$1\"", path).errors.contains("not connected") })
            try #expect(Mounts.health(at: path) == .dead)
            try #expect(Mounts.at(path)?.source == "/nowhere")
            let next = try launch(path, log: log)
            try #expect(check("cat \"$1\"/text", path) == SampleFileSystem.sampleText)
            kill(next, SIGKILL)
            #expect(eventually { isGone(next) })
            try #expect(Mounts.heal(at: path))
            try #expect(!Mounts.heal(at: path))
            try #expect(Mounts.at(path) == nil)
        }
    }

    @Test func `a stopped process is hung, not dead`() throws {
        try withDaemon { path, pid, _ in
            kill(pid, SIGSTOP)
            // All of its threads, which stop one after the other.
            let running = "grep -L '^State:.T' /proc/\(pid)/task/*/status"
            #expect(try eventually { try run(running).output == "" })
            try #expect(Mounts.health(at: path) == .hung)
            try #expect(!Mounts.heal(at: path))
            kill(pid, SIGCONT)
            try #expect(Mounts.health(at: path) == .alive)
        }
    }

    @Test func `a second start at a live mount is refused`() throws {
        try withDaemon { path, _, _ in
            let second = try run("\"$1\" \"$2\" /elsewhere", fixture, path)
            #expect(second.status == 3)
            #expect(second.output.contains("already shows /nowhere"))
        }
    }

    @Test func `a cached file is read without the process`() throws {
        try withDaemon { path, pid, _ in
            // A first read makes the kernel doubt the access time, so it asks once more.
            _ = try check("cd \"$1\"/data; cat big | wc -c; stat big | wc -l", path)
            let script = """
                exec 3< "$1"/data/big; kill -STOP \(pid)
                timeout 5 cat <&3 | wc -c; kill -CONT \(pid)
                """
            try #expect(check(script, path) == "5242883\n")
        }
    }

    /// As user nobody, in a mount namespace where /dev/fuse is open to all, as most systems have it.
    @Test func `users other than root mount and unmount through fusermount3`() throws {
        let scratch = try scratchDirectory()
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let script = """
            cd "$2"; mknod fuse c 10 229; chmod 666 fuse; chmod 711 .
            cp "$1" fixture; chmod 755 fixture
            mount --bind fuse /dev/fuse; mkdir home; chown nobody home; cd home
            U="setpriv --reuid nobody --regid nogroup --clear-groups"
            LINE=$($U ../fixture --log "$2"/home/log "$2"/home/mount "/nowhere/a, b")
            echo "$LINE"; PID=${LINE##* }
            findmnt -rno FSTYPE,SOURCE "$2"/home/mount
            $U cat mount/text; $U sh -c 'echo by nobody > mount/control; cat mount/control'
            $U mkdir mount/new
            $U sh -c 'exec 3< mount/text; kill -TERM $0; sleep 0.5; cat <&3' $PID
            while kill -0 $PID 2> /dev/null; do sleep 0.05; done
            grep -v '^fuse: reading device' log; ls -A
            """
        // libfuse complains when the connection ends while it reads, which it mostly doesn't.
        let outcome = try run(
            "unshare --mount bash -c \"$1\" - \"$2\" \"$3\" 2>&1", script, fixture, scratch)
        let text = SampleFileSystem.sampleText
        #expect(
            outcome.output.replacing(/process \d+/, with: "process N") == """
                mounted at \(scratch)/home/mount, process N
                fuse.ydbfs /nowhere/a,\\x20b
                \(text)by nobody
                mkdir: cannot create directory 'mount/new': Read-only file system
                \(text)unmounted: requested
                ended
                log

                """)
    }
}
