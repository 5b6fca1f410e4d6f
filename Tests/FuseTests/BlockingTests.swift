import Foundation
import Fuse
import FuseFixture
import Testing

/// Reads that wait: no thread waits with them, each is answered exactly once.
@Suite(.serialized) struct BlockingTests {
    /// Python retries system calls that fail with EINTR, unless the signal handler raises.
    private let interruptible = """
        import os, signal, sys
        def stop(number, frame): raise InterruptedError
        signal.signal(signal.SIGUSR1, stop)
        descriptor = os.open(sys.argv[1] + "/blocking", os.O_RDONLY)
        print("open", flush=True)
        try: print(os.read(descriptor, 100))
        except InterruptedError: print("interrupted")
        """

    @Test func `a signal interrupts a blocked read and frees it`() throws {
        try withMount { path, tree, _ in
            let script = """
                python3 -c "$2" "$1" > "$1".out & PID=$!
                until grep -q waiting=1 "$1"/counters; do sleep 0.02; done
                kill -USR1 $PID; wait $PID; cat "$1".out; rm "$1".out
                """
            let outcome = try run(script, path, interruptible)
            #expect(outcome.output == "open\ninterrupted\n")
            #expect(tree.counters.waiting == 0)
            #expect(tree.counters.interrupted == 1)
            #expect(eventually { tree.counters.opened == tree.counters.released })
        }
    }

    @Test func `a killed reader goes away`() throws {
        try withMount { path, tree, _ in
            let script = """
                cat "$1"/blocking & PID=$!
                until grep -q waiting=1 "$1"/counters; do sleep 0.02; done
                kill -KILL $PID; wait $PID; echo $?
                """
            try #expect(run(script, path).output == "137\n")
            #expect(eventually { tree.counters.opened == tree.counters.released })
            #expect(tree.counters.waiting == 0)
        }
    }

    @Test func `a look-up that takes long waits, is interrupted, and stops nobody`() throws {
        try withMount(Mount.Options(location: "/nowhere", threads: 4)) { path, tree, _ in
            let script = """
                cd "$1"; ls | grep -c slow; echo slow > control
                for i in $(seq 12); do stat -c %s slow > ../slow.$i & done
                until grep -q 'waiting=[1-9]' counters; do sleep 0.02; done
                stat -c %s data/big
                while [ -n "$(jobs -r)" ]; do echo answer > control; sleep 0.02; done
                cat ../slow.* | sort | uniq -c | xargs; rm ../slow.*
                stat slow & PID=$!
                until grep -q waiting=1 counters; do sleep 0.02; done
                kill -KILL $PID; wait $PID; echo $?
                """
            // The kernel lets one look-up of a name wait for another.
            let outcome = try run(script, path)
            #expect(outcome.output == "1\n5242883\n12 128\n137\n", "\(outcome.errors)")
            #expect(eventually { tree.counters.waiting == 0 })
        }
    }

    @Test func `what the kernel looked up it forgets`() throws {
        try withMount { path, tree, _ in
            try #expect(
                check("ls -l \"$1\"/many | wc -l; ls -lR \"$1\"/data | wc -l", path) == "20001\n6\n"
            )
            #expect(tree.counters.lookups > 20_000)
            _ = try check("echo 2 > /proc/sys/vm/drop_caches", path)
            #expect(eventually { tree.counters.lookups < 100 })
            #expect(tree.counters.lookups >= 0)
        }
    }

    @Test func `40 blocked reads stop nobody and are all answered`() throws {
        try withMount(Mount.Options(location: "/nowhere", threads: 4)) { path, tree, _ in
            let script = """
                cd "$1"; for i in $(seq 40); do cat blocking > ../out.$i & done
                until grep -q waiting=40 counters; do sleep 0.02; done
                stat -c %s data/big; ls many | wc -l; cat data/big | wc -c
                echo answer > control; wait; cat ../out.* | sort | uniq -c | xargs; rm ../out.*
                """
            try #expect(check(script, path) == "5242883\n20000\n5242883\n40 answered\n")
            #expect(tree.counters.interrupted == 0)
        }
    }

    @Test func `reads that are answered at once or while they start arrive`() throws {
        try withMount { path, _, _ in
            let script = """
                cd "$1"; for i in $(seq 200); do cat prompt racing; done | sort | uniq -c | xargs
                """
            try #expect(check(script, path) == "400 answered\n")
        }
    }

    /// Signals at random moments, also before the read has arrived and while it is answered.
    @Test func `interrupts race with starts and answers without harm`() throws {
        try withMount { path, tree, _ in
            let seed = UInt64.random(in: 0...UInt64.max)
            let script = """
                import os, random, signal, sys
                class Stop(Exception): pass
                def stop(number, frame): raise Stop
                signal.signal(signal.SIGALRM, stop)
                random.seed(int(sys.argv[2]))
                counts = {"read": 0, "stopped": 0}
                for turn in range(3000):
                    descriptor = os.open(sys.argv[1] + random.choice(["/racing", "/blocking"]), os.O_RDONLY)
                    try:
                        first = random.choice([5e-6, 3e-5, 1e-4, 3e-4])
                        # Repeated, because the first may come before the system call.
                        signal.setitimer(signal.ITIMER_REAL, first, 0.001)
                        assert os.read(descriptor, 100) == b"answered\\n"
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        counts["read"] += 1
                    except Stop: counts["stopped"] += 1
                    except BlockingIOError: pass
                    finally:
                        while True:
                            try:
                                signal.setitimer(signal.ITIMER_REAL, 0); os.close(descriptor); break
                            except (Stop, InterruptedError): pass
                            except OSError: break
                assert counts["stopped"] > 100, counts
                """
            // Four at once, so that requests queue.
            let all = """
                for i in 1 2 3 4; do timeout 60 python3 -c "$2" "$1" $(($3 + i)) & PIDS="$PIDS $!"; done
                for PID in $PIDS; do wait $PID || exit 1; done
                """
            let outcome = try run(all, path, script, "\(seed >> 4)")
            #expect(outcome.status == 0, "seed \(seed >> 4): \(outcome.errors)")
            #expect(eventually { tree.counters.opened == tree.counters.released })
            #expect(tree.counters.waiting == 0)
            try #expect(check("cat \"$1\"/text", path) == SampleFileSystem.sampleText)
        }
    }
}
