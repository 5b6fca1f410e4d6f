import Bytes
import Fuse
import Glibc

/// Mounts the sample tree from a process of its own, as `ydbfs` does, for tests that kill it.
///
/// `FuseFixture [-f] [--fail] [--log FILE] MOUNTPOINT LOCATION`; logs `PID` at the start and why
/// and how it ended.
@main
enum FuseFixture {
    static func main() {
        Signals.block()
        var arguments = Array(CommandLine.arguments.dropFirst())
        func take(_ flag: String) -> Bool {
            guard let position = arguments.firstIndex(of: flag) else { return false }
            arguments.remove(at: position)
            return true
        }
        let isForeground = take("-f")
        let shouldFail = take("--fail")
        let shouldDie = take("--die")
        var log: String?
        if let position = arguments.firstIndex(of: "--log") {
            log = arguments[position + 1]
            arguments.removeSubrange(position...position + 1)
        }
        let daemon = Daemon.attached()
        do {
            if daemon == nil, !isForeground {
                let outcome = try Daemon.launch(arguments: CommandLine.arguments)
                print(outcome.text)
                exit(outcome.exitStatus)
            }
            if shouldFail { throw Failure(.invalid, "failed as asked") }
            if shouldDie { abort() }
            try serve(arguments[0], arguments[1], daemon, log)
        } catch let failure as Failure {
            if let daemon { try? daemon.report(failure: failure.message, exitStatus: 3) }
            if daemon == nil { print(failure.message) }
            exit(3)
        } catch {
            exit(4)
        }
    }

    private static func serve(
        _ path: String, _ location: String, _ daemon: Daemon?, _ log: String?
    ) throws(Failure) {
        let place = try MountPoint(preparing: path, protected: [location])
        let mount = try Mount(
            SampleFileSystem(), at: place.path,
            options: Mount.Options(location: location, graceSeconds: 3))
        try Signals.watch(stop: { _ in mount.unmount() }, stopNow: { mount.unmount(now: true) })
        let line = "mounted at \(place.path), process \(getpid())"
        if let daemon { try daemon.report(success: line, log: log) } else { print(line) }
        fflush(nil)
        let end = mount.waitUntilUnmounted()
        print("unmounted: \(end)")
        fflush(nil)
        _ = mount.waitUntilEnded()
        place.remove()
        print("ended")
        fflush(nil)
    }
}
