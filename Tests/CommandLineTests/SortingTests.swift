import Foundation
import Testing

/// Backups of a table that doesn't lie in key order and is too large to be sorted in memory.
@Suite(.serialized) struct SortingTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.sql(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE orders (id TEXT, item BLOB, PRIMARY KEY (id DESC)) WITHOUT ROWID;
            CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000)
            INSERT INTO orders SELECT hex(randomblob(12)), randomblob(250) FROM n;
            """)
        let made = try sandbox.ydbfs("run", "database.db", Sandbox.create)
        try #require(made.status == 0, "\(made.errors)")
    }

    @Test func `A full disk for temporary files fails the backup in words and nothing else`() throws
    {
        let onSmallDisk = """
            mkdir small && mount -t tmpfs -o size=8m none small
            TMPDIR=$PWD/small exec "$0" run database.db "BACKUP shop"
            """
        let failed = try sandbox.run(
            "/usr/bin/unshare", ["--mount", "sh", "-c", onSmallDisk, Sandbox.binary])
        #expect(failed.status == 1)
        #expect(
            failed.errors.contains(
                "/small: No space left on device; make room there, or let TMPDIR"),
            "\(failed.errors)")
        let left = try sandbox.run(
            "/usr/bin/find", [".", "-path", "*/data/*", "-o", "-name", "*.parquet"])
        #expect(left.output == "")
        let again = try sandbox.ydbfs("run", "database.db", "BACKUP shop")
        #expect(again.status == 0, "\(again.errors)")
        let verified = try sandbox.ydbfs("verify", "database.db", "--level", "source")
        #expect(verified.status == 0, "\(verified.errors)")
    }

    @Test func `Memory is bounded, and no file is left`() throws {
        let program = """
            import os, resource, subprocess, sys
            os.mkdir('temporary')
            os.environ['TMPDIR'] = os.getcwd() + '/temporary'
            subprocess.run([sys.argv[1], 'run', 'database.db', 'BACKUP shop'], check=True)
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, os.listdir('temporary'))
            """
        let ran = try sandbox.run(Sandbox.python, ["-c", program, Sandbox.binary])
        #expect(ran.status == 0, "\(ran.errors)")
        let words = try #require(ran.output.split(separator: "\n").last).split(separator: " ")
        #expect(words.last == "[]")
        let kilobytes = try #require(Int(words[0]))
        #expect(kilobytes < 110 << 10)
    }
}
