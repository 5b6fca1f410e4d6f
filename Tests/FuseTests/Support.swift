import Foundation
import Fuse
import FuseFixture
import Testing

/// What a command printed and how it ended.
struct Outcome {
    var status: Int32
    var output: String
    var errors: String
}

/// Runs a script; `$1` and so on are `arguments`. Locale C, so that messages are the known ones.
func run(_ script: String, _ arguments: String..., shell: String = "bash") throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["LC_ALL=C", shell, "-c", script, shell] + arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = FileHandle.nullDevice
    // The worker threads that tests run on block most signals, and programs inherit that.
    var (none, old) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let problems = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(
        status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
        errors: String(decoding: problems, as: UTF8.self))
}

/// Runs a script that must succeed silently, and returns what it printed.
func check(
    _ script: String, _ argument: String, shell: String = "bash",
    at location: SourceLocation = #_sourceLocation
) throws -> String {
    let outcome = try run(script, argument, shell: shell)
    #expect(outcome.status == 0, "\(script): \(outcome.errors)", sourceLocation: location)
    #expect(outcome.errors == "", "\(script)", sourceLocation: location)
    return outcome.output
}

func scratchDirectory() throws -> String {
    var template = Array("/tmp/fuse-tests.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw POSIXError(.EIO) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Mounts the sample tree in this process for the time of `body`.
func withMount(
    _ options: Mount.Options = Mount.Options(location: "/nowhere/sample.backups"),
    _ body: (_ path: String, _ tree: SampleFileSystem, _ mount: Mount) throws -> Void
) throws {
    let scratch = try scratchDirectory()
    defer { rmdir(scratch) }
    let place = try MountPoint(preparing: scratch + "/mount", protected: [])
    let tree = SampleFileSystem()
    let mount = try Mount(tree, at: place.path, options: options)
    defer {
        mount.unmount(now: true)
        _ = mount.waitUntilEnded()
        place.remove()
    }
    try body(place.path, tree, mount)
}

/// Waits until `condition` holds; false after ten seconds.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<1000 {
        if try condition() { return true }
        usleep(10_000)
    }
    return try condition()
}

/// The program that mounts from a process of its own; built beside the tests.
let fixture: String = {
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (tests as NSString).deletingLastPathComponent + "/FuseFixture"
}()
