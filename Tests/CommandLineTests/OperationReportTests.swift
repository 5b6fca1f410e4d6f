import Bytes
import Engine
import Testing
import ydbfs

@Suite struct OperationReportTests {
    private func report(_ summary: String) -> OperationReport {
        OperationReport(id: 17, statement: "BACKUP shop", summary: summary)
    }

    @Test func `The line that a wait file answers is read back`() {
        let line = "done point=20261121100000Z_full rows=1003 bytes=4322 seconds=0.3"
        let done = report(line + String(repeating: " ", count: 60) + "\n")
        #expect(done.isDone)
        #expect(done.point == "20261121100000Z_full")
        #expect(done.rows == 1003)
        #expect(done.bytes == 4322)
        #expect(done.seconds == 0.3)
        #expect(
            done.line
                == "operation 17 done 20261121100000Z_full rows=1003 bytes=4322 seconds=0.3")
    }

    @Test func `Failures keep their reason, whatever is in it`() {
        let failed = report("failed: can't open /a=b: No such file   \n")
        #expect(!failed.isDone)
        #expect(failed.error == "can't open /a=b: No such file")
        #expect(failed.line == "operation 17 failed: can't open /a=b: No such file")
        let cancelled = report("cancelled: statement 1 failed\n")
        #expect(cancelled.state == "cancelled")
        #expect(cancelled.error == "statement 1 failed")
    }

    @Test func `Arguments become one text, whatever ends them`() throws {
        let text = try StatementText(arguments: [
            "BACKUP a -- the first", "BACKUP b;", "/* none */", "BACKUP c; BACKUP d;;",
        ])
        #expect(text.statements.map(\.collection.name) == ["a", "b", "c", "d"])
    }

    @Test func `A fault is shown with the argument, the line and a caret`() {
        let failure = #expect(throws: Failure.self) {
            try StatementText(arguments: ["BACKUP a", "BACKUP b\n  INCREMENTALLY"])
        }
        #expect(failure?.message.hasPrefix("argument 2, 2:3: ") == true)
        #expect(failure?.snippet == "  INCREMENTALLY\n  ^")
    }

    @Test func `A later refusal points into the same text`() throws {
        let text = try StatementText("BACKUP `ä`;\nBACKUP `b ü` INCREMENTAL")
        let refusal = text.pointing(Failure(.noData, "2:14: no full yet"))
        #expect(refusal.code == .noData)
        #expect(refusal.message == "2:14: no full yet")
        #expect(refusal.snippet == "BACKUP `b ü` INCREMENTAL\n             ^")
        let plain = Failure(.busy, "held by 3: other")
        #expect(text.pointing(plain) == plain)
    }
}
