import Foundation
import Testing

/// What somebody at a terminal sees, by pseudo-terminals of several widths; what isn't for one stays exact.
@Suite struct TerminalTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
            INSERT INTO orders SELECT i, hex(randomblob(20)) FROM n;
            """)
        let create = ["注文帳", "cafe\u{301}s", "plain"].map {
            "CREATE BACKUP COLLECTION `\($0)` DATABASE WITH (INCREMENTAL_BACKUP_ENABLED = 'true')"
        }
        let made = try sandbox.run(
            Sandbox.binary,
            ["run", "database.db"] + create
                + ["BACKUP plain", "BACKUP plain INCREMENTAL", "BACKUP plain INCREMENTAL"])
        try #require(made.status == 0, "\(made.errors)")
    }

    /// Runs the program at a terminal and answers what it writes there, and its exit status.
    private func terminal(
        _ columns: Int, _ words: [String], environment: [String: String] = [:]
    ) throws -> (text: String, status: Int32) {
        let script = """
            import fcntl, os, struct, subprocess, sys, termios
            ours, theirs = os.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
            program = subprocess.Popen(sys.argv[2:], stdin=theirs, stdout=theirs, stderr=theirs)
            os.close(theirs)
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:
                    break
                if not part: break
                sys.stdout.buffer.write(part.replace(b"\\r\\n", b"\\n"))
            sys.exit(program.wait())
            """
        let result = try sandbox.run(
            Sandbox.python, ["-c", script, "\(columns)", Sandbox.binary] + words,
            environment: environment)
        try #require(result.errors == "", "\(result.errors)")
        return (result.output, result.status)
    }

    /// Cells of each line, as Python's tables of characters say.
    private func cells(_ lines: [some StringProtocol]) throws -> [Int] {
        let script = """
            import sys, unicodedata
            for line in sys.stdin.read().split("\\n"):
                print(sum(0 if unicodedata.combining(c) else
                    2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line))
            """
        let result = try sandbox.run(
            Sandbox.python, ["-c", script], input: lines.joined(separator: "\n"))
        return result.output.split(separator: "\n").compactMap { Int($0) }
    }

    private func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init)
    }

    @Test(arguments: [20, 34, 47, 60, 80, 100, 132, 250])
    func `Tables fit the terminal, and say what had no room`(_ columns: Int) throws {
        for words in [
            ["list", "database.db"], ["show", "database.db", "plain"],
            ["run", "database.db", "SHOW OPERATIONS"], ["show", "database.db", "plain/latest"],
        ] {
            let shown = try terminal(columns, words)
            #expect(shown.status == 0)
            let lines = lines(shown.text)
            #expect(try cells(lines).allSatisfy { $0 <= columns }, "\(shown.text)")
            let whole = try terminal(1000, words).text
            // A last line has the headings that aren't there.
            let headings = self.lines(whole)[0].split(separator: "  ").map {
                $0.trimmingCharacters(in: .whitespaces)
            }.filter { !$0.isEmpty }
            let end = lines.firstIndex { $0.hasPrefix("(no room") } ?? lines.endIndex
            let told = ([lines[0]] + lines[end...].map { $0.trimmingCharacters(in: .whitespaces) })
                .joined(separator: " ")
            #expect(headings.allSatisfy(told.contains), "\(headings): \(shown.text)")
            try requireWholeNumbers(lines[..<end], of: self.lines(whole))
            if columns == 250 { #expect(!shown.text.contains("no room"), "\(shown.text)") }
        }
    }

    /// Whatever is cut of a table, a number in it is one that the whole table has in that line.
    private func requireWholeNumbers(_ shown: ArraySlice<String>, of whole: [String]) throws {
        for (line, all) in zip(shown, whole).dropFirst() {
            let numbers = Set(all.split(separator: " "))
            for word in line.split(separator: " ") where word.allSatisfy(\.isNumber) {
                #expect(numbers.contains(word), "\(word): \(line)")
            }
        }
    }

    @Test(arguments: [20, 40, 80, 120])
    func `Lines of status end at blanks, and say all that there is to say`(_ columns: Int) throws {
        try sandbox.sql((1...20).map { "CREATE TABLE table_\($0) (a);" }.joined())
        let list = (1...20).map { "TABLE table_\($0)" }.joined(separator: ", ")
        let many = "CREATE BACKUP COLLECTION many (\(list))"
        let made = try sandbox.ydbfs("run", "database.db", "\(many); BACKUP many")
        #expect(made.status == 0, "\(made)")
        let words = ["status", "database.db", "many", "--utc", "--max-age", "1s"]
        sleep(2)
        let shown = lines(try terminal(columns, words).text)
        for (line, cells) in zip(shown, try cells(shown)) where cells > columns {
            #expect(line.split(separator: " ").count == 1, "\(columns): \(line)")
        }
        func split(_ lines: [String]) -> (table: [String], rest: [Substring]) {
            let start = lines.firstIndex { $0.hasPrefix("  POINT") } ?? lines.endIndex
            let end = lines[start...].firstIndex { $0.hasPrefix("  newest") } ?? lines.endIndex
            let rest = lines[..<start] + lines[end...]
            return (Array(lines[start..<end]), rest.flatMap { $0.split(separator: " ") })
        }
        let (table, rest) = split(shown)
        let whole = split(lines(try terminal(1000, words).text))
        // How long ago something was is another thing by now.
        func isAge(_ word: Substring) -> Bool { word.hasSuffix("s") && word.first!.isNumber }
        #expect(rest.filter { !isAge($0) } == whole.rest.filter { !isAge($0) })
        #expect(rest.contains("table_17,") && rest.contains("FAILED:"), "\(shown)")
        try #require(table.count >= 2 && table[1].hasPrefix("  20"), "\(shown)")
        if columns >= 40 { #expect(table[1].contains("Z_full"), "\(table)") }
        try requireWholeNumbers(table.prefix(2), of: whole.table)
    }

    @Test func `Columns stand below each other whatever characters names have`() throws {
        let lines = lines(try terminal(80, ["list", "database.db"]).text)
        try #require(lines.count == 4)
        // Where the numbers of POINTS end.
        let ends = try cells(
            lines.map { line -> String in
                if let heading = line.range(of: "POINTS") {
                    return String(line[..<heading.upperBound])
                }
                let number = line.range(of: " [0-9]( |$)", options: .regularExpression)!
                return String(line[..<number.lowerBound]) + "  "
            })
        #expect(Set(ends).count == 1, "\(ends) \(lines)")
    }

    @Test func `Sizes and times are for people at a terminal, exact elsewhere`() throws {
        let zone = ["TZ": "XYZ-3"]
        for words in [
            ["status", "database.db", "plain"], ["show", "database.db", "plain"],
            ["run", "database.db", "SHOW BACKUPS OF plain"],
        ] {
            let shown = try terminal(250, words, environment: zone).text
            #expect(
                shown.contains(#/ \d\d:\d\d:\d\d XYZ/#) && shown.contains(#/ [\d.]+ KiB/#),
                "\(shown)")
            #expect(!shown.contains(#/\dT\d\d:\d\d/#), "\(shown)")
            let piped = try sandbox.run(Sandbox.binary, words, environment: zone).output
            #expect(
                piped.contains(#/\dT\d\d:\d\d:\d\d[.\d]*Z/#) && !piped.contains("KiB"), "\(piped)")
            if words[0] == "run" { continue }
            let utc = try terminal(250, words + ["--utc"], environment: zone).text
            #expect(utc.contains(#/\dT\d\d:\d\d:\d\d[.\d]*Z/#) && !utc.contains("XYZ"), "\(utc)")
        }
        // Where the zone isn't known, and the width isn't, there is something to go by.
        let odd = ["TZ": ":/nowhere", "COLUMNS": "-5"]
        let unknown = try terminal(0, ["show", "database.db", "plain"], environment: odd).text
        #expect(unknown.contains(#/\dT\d\d:\d\d:\d\dZ/#) && unknown.contains("ROWS"), "\(unknown)")
        // The same second, three hours on.
        let name = try sandbox.python(
            "j['collections'][0]['points'][0]['name'][:14]",
            json: try sandbox.ydbfs("status", "database.db", "plain", "--json").output)
        let shown = try terminal(250, ["show", "database.db", "plain"], environment: zone).text
        let check = """
            import datetime, sys
            cut = datetime.datetime.strptime(sys.argv[1], "%Y%m%d%H%M%S")
            print(cut + datetime.timedelta(hours=3))
            """
        let local = try sandbox.run(Sandbox.python, ["-c", check, name]).output
        #expect(shown.contains(local.trimmingCharacters(in: .newlines) + " XYZ"), "\(shown)")
    }

    @Test func `Only the newest points are shown on request`() throws {
        let all = lines(try sandbox.ydbfs("show", "database.db", "plain").output)
        let two = lines(try sandbox.ydbfs("show", "database.db", "plain", "--last", "2").output)
        #expect(two == [all[0]] + all.suffix(2))
        let status = lines(
            try sandbox.ydbfs("status", "database.db", "plain", "--last", "1").output)
        #expect(status.count { $0.contains(#/^  20\d+Z_/#) } == 1, "\(status)")
        let json = try sandbox.ydbfs("status", "database.db", "--last", "2", "--json").output
        let counts = "sorted(len(c['points']) for c in j['collections'])"
        #expect(try sandbox.python(counts, json: json) == "[0, 0, 2]")
        #expect(try sandbox.ydbfs("status", "database.db", "--last", "0").status == 2)
        // What isn't shown counts all the same.
        let oldest = "f=$(ls -rt database.db.backups/tables/*/*/*.parquet | head -1); echo x >> $f"
        #expect(try sandbox.run("/bin/sh", ["-c", oldest]).status == 0)
        #expect(try sandbox.ydbfs("verify", "database.db", "plain").status == 1)
        #expect(try sandbox.ydbfs("status", "database.db", "plain", "--last", "1").status == 1)
    }

    @Test(arguments: [24, 40, 100])
    func `Progress stays in its line`(_ columns: Int) throws {
        let shown = try terminal(
            columns, ["run", "database.db", "--rate", "64K", "BACKUP plain; BACKUP plain"])
        #expect(shown.status == 0)
        let drawn = shown.text.components(separatedBy: "\r").map {
            $0.replacing("\u{1B}[K", with: "")
        }
        #expect(drawn.count > 4, "\(drawn)")
        // Each but what was printed after the bar had gone.
        let bars = drawn.filter { !$0.hasPrefix("operation ") && !$0.isEmpty }
        #expect(!bars.isEmpty && bars.allSatisfy { !$0.contains("\n") }, "\(drawn)")
        #expect(try cells(bars).allSatisfy { $0 < columns }, "\(bars)")
        let quiet = try terminal(
            columns, ["run", "database.db", "-q", "--rate", "64K", "BACKUP plain"])
        #expect(quiet.text == "" && quiet.status == 0)
    }

    @Test func `Progress says what it waits for`() throws {
        let script = """
            import sqlite3, sys, time
            writer = sqlite3.connect("database.db", isolation_level=None)
            writer.execute("BEGIN EXCLUSIVE")
            print("locked", flush=True)
            sys.stdin.read()
            """
        // Held until the end of the input, which a sleep holds open.
        let lock = try sandbox.start(
            "/bin/sh", ["-c", "sleep 3 | \(Sandbox.python) -c '\(script)'"])
        for _ in 0..<100 {
            let probe = try sandbox.run(
                "/usr/bin/sqlite3", ["database.db", "SELECT 1 FROM orders LIMIT 1"])
            if probe.status != 0 { break }
            usleep(20_000)
        }
        let shown = try terminal(80, ["run", "database.db", "BACKUP plain"])
        #expect(shown.status == 0, "\(shown.text)")
        #expect(shown.text.contains("BACKUP plain waits for the database, "), "\(shown.text)")
        _ = try lock.end()
    }
}
