import Foundation
import Testing

/// Python as an oracle: programs of others that read what we write.
enum Python {
    struct Failed: Error, CustomStringConvertible { var description: String }

    /// With pyarrow, DuckDB, Polars and DataFusion: `YDBFS_PYTHON`, or the virtual environment that
    /// `Tests/run` makes. Tests that need it fail without it.
    static let withReaders =
        ProcessInfo.processInfo.environment["YDBFS_PYTHON"] ?? ".build-venv/bin/python"

    /// Runs a program text with files as its arguments; answers its standard output.
    static func run(_ program: String, _ arguments: [String], python: String = "python3") throws
        -> String
    {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [python, "-c", program] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failed(description: "python failed: \(String(decoding: bytes, as: UTF8.self))")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A directory that goes away after `body`.
    static func withDirectory(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "ydbfs-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
}
