import Bytes
import Foundation
import Synchronization
import Testing

/// What a command printed and how it ended.
struct Outcome {
    var status: Int32
    var output: String
    var errors: String
}

/// Runs a program; programs are found in PATH.
func run(_ program: String, _ arguments: [String], input: String? = nil) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["LC_ALL=C.UTF-8", program] + arguments
    let (output, errors, feed) = (Pipe(), Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = input == nil ? FileHandle.nullDevice as Any : feed as Any
    try withoutBlockedSignals { try process.run() }
    if let input {
        feed.fileHandleForWriting.write(Data(input.utf8))
        try feed.fileHandleForWriting.close()
    }
    let problems = Mutex(Data())
    let reader = try WorkerThread {
        let data = errors.fileHandleForReading.readDataToEndOfFile()
        problems.withLock { $0 = data }
    }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    reader.join()
    process.waitUntilExit()
    return Outcome(
        status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
        errors: String(decoding: problems.withLock { $0 }, as: UTF8.self))
}

/// Runs a shell script; `$1` and so on are `arguments`.
func shell(_ script: String, _ arguments: String..., shell: String = "bash") throws -> Outcome {
    try run(shell, ["-c", script, shell] + arguments)
}

/// Runs a script that must succeed silently, and answers what it printed.
@discardableResult
func check(
    _ script: String, _ arguments: String..., at location: SourceLocation = #_sourceLocation
) throws -> String {
    let outcome = try run("bash", ["-c", script, "bash"] + arguments)
    #expect(outcome.status == 0, "\(script): \(outcome.errors)", sourceLocation: location)
    #expect(outcome.errors == "", "\(script)", sourceLocation: location)
    return outcome.output
}

/// Runs SQL in the `sqlite3` shell, as another program than this one.
@discardableResult
func sqlite(_ sql: String, on database: String) throws -> String {
    let outcome = try run("sqlite3", ["-bail", "-cmd", ".timeout 60000", database], input: sql)
    guard outcome.status == 0, outcome.errors.isEmpty else {
        throw Failure(.system, "sqlite3 said \(outcome.status): \(outcome.errors)")
    }
    return outcome.output
}

/// The worker threads that tests run on block most signals, and programs inherit that.
func withoutBlockedSignals<R>(_ body: () throws -> R) rethrows -> R {
    var (none, old) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    return try body()
}

/// Waits until `condition` holds; false after ten seconds.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
    for _ in 0..<1000 {
        if try condition() { return true }
        usleep(10_000)
    }
    return try condition()
}

func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    let taken = ContinuousClock.now - start
    return Double(taken.components.seconds) + Double(taken.components.attoseconds) / 1e18
}

/// The errno that `body` ends with; 0 if it succeeds.
func errno(of body: () throws -> Void) -> Int32 {
    do {
        try body()
        return 0
    } catch let error as Errno {
        return error.rawValue
    } catch {
        return -1
    }
}
