import Foundation
import Testing

/// Damaged indexes: the table itself is read, never through one.
@Suite struct CasesDamage {
    /// A table of some rows, whose index `i` then misses some and holds others too many: the index is
    /// taken out of the schema while rows are written, and put back.
    static func damage(_ index: String) -> String {
        """
        CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, n INT);
        WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT 400)
            INSERT INTO t SELECT i, 'value ' || i, i % 10 FROM s;
        \(index);
        CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'i';
        PRAGMA writable_schema = ON;
        DELETE FROM sqlite_schema WHERE name = 'i';
        PRAGMA writable_schema = RESET;
        INSERT INTO t VALUES(1001, 'missed', 1), (1002, 'missed, too', 2);
        DELETE FROM t WHERE id IN (5, 77);
        UPDATE t SET v = 'renamed', n = 77 WHERE id = 200;
        PRAGMA writable_schema = ON;
        INSERT INTO sqlite_schema SELECT type, name, tbl_name, rootpage, sql FROM kept;
        PRAGMA writable_schema = RESET;
        """
    }

    @Test(arguments: [
        "CREATE INDEX i ON t(v)", "CREATE UNIQUE INDEX i ON t(v)", "CREATE INDEX i ON t(n, v, id)",
        "CREATE INDEX i ON t(n) WHERE n > 0",
    ])
    func `A damaged index loses nothing`(_ index: String) throws {
        let database = try CaseDatabase(Self.damage(index))
        let health = try database.rows("PRAGMA integrity_check")
        #expect(health.contains("index i"), "the test has damaged nothing: \(health)")
        try database.backUp()
        try database.execute("UPDATE t SET n = n + 1 WHERE id BETWEEN 300 AND 310")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
        #expect(try database.rows("PRAGMA integrity_check", in: "new1.db") == "[('ok',)]")
    }
}
