import Foundation
import Testing

/// The views of a mount over random histories of a database, against what SQLite and plain Python say
/// (`history.py`).
@Suite struct HistoryTests {
    @Test(arguments: 1...4)
    func `Every diff, every row and every history is right`(seed: Int) throws {
        let sandbox = try Sandbox()
        let script = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "history.py").path(percentEncoded: false)
        let result = try sandbox.run(Sandbox.python, [script, Sandbox.binary, "\(seed)"])
        #expect(result.status == 0, "\(result.errors.prefix(4000))")
        #expect(result.output.hasSuffix("are right\n"))
    }
}
