import Foundation
import Testing

/// Nobody reads in backups what he may not read in the database: tried with a second user.
@Suite struct PrivacyTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        _ = try shell("chmod 755 .; chmod 600 database.db")
    }

    /// `$Y` is the program, `$U` makes a command a second user's.
    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run(
            "/bin/bash", ["-c", "umask 022\n" + script],
            environment: [
                "Y": Sandbox.binary, "U": "setpriv --reuid=65534 --regid=65534 --clear-groups",
            ])
    }

    private func backUp() throws {
        let result = try shell("$Y run database.db '\(Sandbox.create)BACKUP shop'".quotedWords)
        try #require(result.status == 0, "\(result.errors)")
    }

    /// What of these the second user can open, and who else but the database's owner has any right to.
    private func readable(_ places: String) throws -> String {
        try shell(
            """
            $U find \(places) -readable 2> /dev/null
            find \(places) -perm /077 -o -not -user "$(stat -c %u database.db)"
            """
        ).output
    }

    @Test func `A private database has private backups, exports, copies and mounts`() throws {
        try backUp()
        for words in [
            "export database.db shop/latest out",
            "export database.db shop/latest copy.db --format sqlite",
            "run database.db --into new.db \"RESTORE shop\"",
        ] {
            let result = try shell("$Y \(words)")
            #expect(result.status == 0, "\(result.errors)")
        }
        #expect(try readable("database.db.backups out copy.db new.db") == "")
        // The file is gone: what was made of it stays as it was.
        _ = try shell(
            "mv database.db away; $Y export database.db shop/latest again; mv away database.db")
        #expect(sandbox.exists("again/orders.csv"))
        #expect(try readable("again") == "")
    }

    @Test func `Root follows nobody's link to what isn't theirs`() throws {
        let script = """
            mkdir mine roots; chown 65534 mine; chmod 777 mine; $U sqlite3 mine/o.db 'CREATE TABLE t (a)'
            $U ln -s ../roots mine/o.db.backups; $Y backup mine/o.db; echo $?; ls roots
            $Y backup mine/o.db --repository mine/o.db.backups -q; ls roots | wc -l; rm mine/o.db.backups
            $U mkdir mine/theirs; $U ln -s theirs mine/o.db.backups; $Y backup mine/o.db -q; ls mine/theirs | wc -l
            ln -sfn ../roots mine/o.db.backups; $Y status mine/o.db > /dev/null; echo $?
            """
        let result = try shell(script)
        #expect(
            result.errors.contains("mine/o.db.backups is a link that user 65534 has made"),
            "\(result)")
        let lines = result.output.split(separator: "\n")
        #expect(lines.first == "1" && lines.last == "0" && lines.count == 4, "\(result)")
        #expect(lines.dropFirst().prefix(2).allSatisfy { Int($0) ?? 0 > 3 }, "\(result)")
    }

    @Test
    func `A mount of root is closed to others without allow_other, and shows the mode with it`()
        throws
    {
        try backUp()
        let closed = try shell("$Y database.db m > /dev/null; $U ls m; $Y unmount m")
        #expect(closed.errors.contains("Permission denied"), "\(closed)")
        let modes = try shell(
            """
            stats() { stat -c "%a %u %g" m m/shop/latest/ m/README m/control m/shop/latest/orders.csv; }
            chown 65534:65534 database.db
            for mode in 600 640 644; do
                chmod $mode database.db; $Y database.db m -o allow_other > /dev/null; stats
                $U head -1 m/shop/latest/orders.csv
                setpriv --reuid=65533 --regid=65533 --clear-groups cat m/shop/latest/orders.csv 2> /dev/null | head -1
                $Y unmount m > /dev/null
            done
            """)
        func stats(_ directory: String, _ file: String) -> String {
            [directory, directory, file, "600", file].map { "\($0) 65534 65534\n" }.joined()
        }
        let expected =
            stats("700", "400") + "id,item\n" + stats("750", "440") + "id,item\n"
            + stats("755", "444") + "id,item\nid,item\n"
        #expect(modes.output == expected, "\(modes)")
    }

    @Test func `What root makes of a user's database is that user's`() throws {
        _ = try shell("chown 65534:65534 database.db .")
        try backUp()
        let result = try shell(
            """
            $Y run database.db "BACKUP shop INCREMENTAL; COMPACT shop; VERIFY shop" > /dev/null; echo $?
            $Y run database.db --into new.db "RESTORE shop" > /dev/null; echo $?
            $Y export database.db shop/latest out > /dev/null
            find . -not -user 65534 -o -perm /077 -not -name .
            $U $Y run database.db "BACKUP shop" > /dev/null; echo $?
            $U $Y verify database.db > /dev/null; echo $?
            $U rm -r out new.db; echo $?
            """)
        #expect(result.output == "0\n0\n0\n0\n0\n", "\(result)")
    }

    @Test
    func `A mode that is wider is taken over, never more, and a stranger's copy is his alone`()
        throws
    {
        _ = try shell("chmod 644 database.db")
        try backUp()
        let wide = try shell(
            "stat -c %a database.db.backups database.db.backups/repository.json; "
                + "find database.db.backups -perm /022")
        #expect(wide.output == "755\n644\n", "\(wide.output)")
        let own = try shell(
            """
            mkdir theirs; chown 65534 theirs; cd theirs
            $U $Y run ../database.db --repository R '\(Sandbox.create)BACKUP shop' > /dev/null; echo $?
            find R -perm /077 | wc -l
            """.quotedWords)
        #expect(own.output == "0\n0\n", "\(own)")
    }

    @Test func `Status warns of backups that others may read, and repair narrows them`() throws {
        try backUp()
        #expect(!(try sandbox.ydbfs("status", "database.db").output.contains("WARNING")))
        _ = try shell("chmod -R a+rX database.db.backups")
        let status = try sandbox.ydbfs("status", "database.db")
        #expect(status.output.contains("WARNING"), "\(status.output)")
        let json = try sandbox.ydbfs("status", "database.db", "--json")
        let told = try sandbox.python("'repair' in j['exposure']", json: json.output)
        #expect(told == "True")
        #expect(try sandbox.ydbfs("repair", "database.db").status == 0)
        #expect(try readable("database.db.backups") == "")
        #expect(!(try sandbox.ydbfs("status", "database.db").output.contains("WARNING")))
    }
}

extension String {
    /// Single quotes within a shell's single-quoted words.
    fileprivate var quotedWords: String {
        var parts = split(separator: "'", omittingEmptySubsequences: false)
        guard parts.count > 3 else { return self }
        let (first, last) = (parts.removeFirst(), parts.removeLast())
        return "\(first)'\(parts.joined(separator: "'\\''"))'\(last)"
    }
}
