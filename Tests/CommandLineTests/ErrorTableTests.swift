import Foundation
import Testing

/// Every error of the README's table is provoked as it stands there, and compared word for word.
@Suite struct ErrorTableTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        // What the README says there is.
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
            INSERT INTO orders VALUES (1, 'tea');
            CREATE VIEW recent AS SELECT * FROM orders;
            CREATE VIRTUAL TABLE words USING fts5(text);
            """, in: "shop.db")
        try sandbox.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", in: "lost.db")
        let setUp = """
            set -e
            ydbfs run shop.db "CREATE BACKUP COLLECTION shop (TABLE orders)" "BACKUP shop"
            ydbfs backup lost.db
            rm lost.db
            echo something else > notes.txt
            cp -r shop.db.backups cut.backups
            truncate -s 20 cut.backups/repository.json
            mkdir full; touch full/file
            ydbfs shop.db mounted -o ro
            """
        let made = try shell(setUp)
        try #require(made.status == 0, "\(made.errors)")
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run(
            "/bin/bash", ["-c", "ydbfs() { \"$Y\" \"$@\"; }\n" + script],
            environment: ["Y": Sandbox.binary])
    }

    /// The rows of the table below a heading of the README: the code in each cell.
    private static func rows(below heading: String) throws -> [[String]] {
        let readme = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "README.md")
        let lines = try String(contentsOf: readme, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0 == heading })
        return lines[start...].drop { !$0.hasPrefix("|---") }.dropFirst().prefix {
            $0.hasPrefix("| ")
        }.map { line in
            line.dropFirst(2).dropLast(2).components(separatedBy: " | ").map { cell in
                cell.components(separatedBy: "<br>").map {
                    $0.trimmingCharacters(in: CharacterSet(charactersIn: "` "))
                }.joined(separator: "\n")
            }
        }
    }

    @Test func `Errors are as documented, word for word`() throws {
        let rows = try Self.rows(below: "## Errors")
        #expect(rows.count >= 20)
        for row in rows {
            try #require(row.count == 2, "\(row)")
            let result = try shell(row[0])
            #expect(result.status == 1 || result.status == 2, "\(row[0]): \(result)")
            let errors = result.errors.replacing(sandbox.path, with: "/srv")
            try #require(errors.hasPrefix("ydbfs: "), "\(row[0]): \(errors)")
            // A line at fault and its caret may follow.
            let count = row[1].split(separator: "\n").count
            let said = errors.dropFirst("ydbfs: ".count).split(separator: "\n").prefix(count)
            #expect(said.joined(separator: "\n") == row[1], "\(row[0])")
        }
    }

    @Test func `One's own second statement waits for the first`() throws {
        let both = try shell("ydbfs run shop.db 'BACKUP shop; DROP BACKUP COLLECTION shop'")
        #expect(both.status == 0, "\(both.errors)")
    }

    @Test func `A read-only mount is no obstacle for who may write`() throws {
        #expect(try shell("ydbfs run shop.db 'BACKUP shop'").status == 0)
    }

    @Test func `fusermount's reason is told`() throws {
        let script = """
            chmod 711 . && mkdir -m 755 locked && mkdir -m 777 their && cp shop.db their
            chown 65533 their/shop.db
            mknod fuse c 10 229; chmod 666 fuse
            export U="setpriv --reuid=65533 --regid=65533 --clear-groups"
            unshare -m --propagation private bash -c 'mount --bind fuse /dev/fuse
            $U "$Y" mount their/shop.db locked'
            """
        let refused = try shell(script)
        #expect(refused.status == 1)
        #expect(refused.errors.contains("can't mount at"), "\(refused.errors)")
        #expect(refused.errors.contains("no write access to mountpoint"), "\(refused.errors)")
        #expect(refused.errors.split(separator: "\n").count == 1, "\(refused.errors)")
    }

    @Test func `What can't be looked into is told in our words`() throws {
        let script = """
            chmod 711 . && mkdir -m 777 their && cp -r shop.db shop.db.backups their
            chown -R 65533 their/shop.db their/shop.db.backups
            d=$(echo their/shop.db.backups/collections/*); chown 0 $d; chmod 000 $d
            U="setpriv --reuid=65533 --regid=65533 --clear-groups"
            for words in "repair" "status" "verify" "list" "backup"; do
                $U "$Y" $words their/shop.db && echo $words ended well
            done
            true
            """
        let result = try shell(script)
        #expect(!result.errors.contains("Error("), "\(result.errors)")
        #expect(!result.errors.contains("Cocoa") && !result.output.contains("Cocoa"))
        #expect(result.errors.contains("Permission denied"), "\(result.errors)")
        #expect(!result.output.contains("backup ended well"), "\(result.output)")
    }
}
