import Foundation
import Testing

/// Virtual tables: their shadow tables hold the rows, their text makes them work again.
@Suite struct CasesVirtual {
    /// Virtual tables, what changes them, and what the application asks of them.
    struct Case: CustomTestStringConvertible {
        var create: String
        var change: String
        var queries: [String]
        /// What it does with the restored file.
        var use: String

        var testDescription: String { create }
    }

    static let cases = [
        Case(
            create: """
                CREATE VIRTUAL TABLE notes USING fts5(body, tag UNINDEXED);
                INSERT INTO notes VALUES('kept only here', 1), ('and here, too', 2);
                """,
            change: """
                INSERT INTO notes VALUES('a third one', 3); DELETE FROM notes WHERE tag = 1;
                INSERT INTO notes(notes) VALUES('optimize');
                """,
            queries: [
                "SELECT rowid, * FROM notes WHERE notes MATCH 'here OR third'",
                "SELECT rowid, * FROM notes",
            ],
            use: """
                INSERT INTO notes VALUES('written later', 4);
                INSERT INTO notes(notes) VALUES('integrity-check');
                """),
        Case(
            create: """
                CREATE TABLE docs(title TEXT, n);
                CREATE VIRTUAL TABLE docs_fts USING fts5(title, content='docs', tokenize='porter');
                CREATE TRIGGER docs_ai AFTER INSERT ON docs BEGIN
                    INSERT INTO docs_fts(rowid, title) VALUES (new.rowid, new.title); END;
                CREATE TRIGGER docs_ad AFTER DELETE ON docs BEGIN
                    INSERT INTO docs_fts(docs_fts, rowid, title)
                        VALUES('delete', old.rowid, old.title); END;
                INSERT INTO docs VALUES('hello', 1), ('gone', 2), ('working', 3);
                DELETE FROM docs WHERE n = 2;
                """,
            change: "INSERT INTO docs VALUES('works', 4); DELETE FROM docs WHERE n = 1",
            queries: ["SELECT rowid, title FROM docs_fts WHERE docs_fts MATCH 'work'"],
            use: """
                INSERT INTO docs VALUES('worked', 5); DELETE FROM docs WHERE n = 3;
                INSERT INTO docs_fts(docs_fts, rank) VALUES('integrity-check', 1);
                """),
        Case(
            create: """
                CREATE VIRTUAL TABLE words USING fts5(w, content='', columnsize=0, prefix='2 3');
                INSERT INTO words(rowid, w) VALUES(7, 'seven'), (70, 'seventy');
                CREATE VIRTUAL TABLE vocabulary USING fts5vocab('words', 'row');
                """,
            change: "INSERT INTO words(rowid, w) VALUES(-1, 'minus one')",
            queries: [
                "SELECT rowid FROM words WHERE words MATCH 'sev*'", "SELECT * FROM vocabulary",
            ],
            use: """
                INSERT INTO words(rowid, w) VALUES(8, 'eight');
                INSERT INTO words(words) VALUES('integrity-check');
                """),
        Case(
            create: """
                CREATE VIRTUAL TABLE mail USING fts4(subject, body, notindexed=subject);
                INSERT INTO mail VALUES('first', 'the body of it'), ('second', 'another body');
                CREATE VIRTUAL TABLE old USING fts3(x); INSERT INTO old VALUES('old text');
                CREATE VIRTUAL TABLE terms USING fts4aux(mail);
                """,
            change: "UPDATE mail SET body = 'no corpse' WHERE subject = 'first'; DELETE FROM old",
            queries: [
                "SELECT docid, * FROM mail WHERE body MATCH 'body'",
                "SELECT term, documents FROM terms WHERE col = '*'", "SELECT * FROM old",
            ],
            use: """
                INSERT INTO mail VALUES('third', 'body'); INSERT INTO old VALUES('new text');
                INSERT INTO mail(mail) VALUES('integrity-check');
                """),
        Case(
            create: """
                CREATE VIRTUAL TABLE place USING rtree(id, x0, x1, y0, y1, +name TEXT);
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300)
                    INSERT INTO place SELECT i, i, i + 1, -i, 1 - i, 'place ' || i FROM n;
                CREATE VIRTUAL TABLE whole USING rtree_i32(id, a, b);
                INSERT INTO whole VALUES(1, 5, 6);
                """,
            change: "DELETE FROM place WHERE id % 5 = 0; UPDATE whole SET b = 9",
            queries: [
                "SELECT * FROM place WHERE x0 > 100 AND x1 < 110 ORDER BY id",
                "SELECT rtreecheck('place'), rtreecheck('whole')",
                "SELECT * FROM whole WHERE b > 8",
            ],
            use: "INSERT INTO place VALUES(1005, 0, 1, 0, 1, 'again'); DELETE FROM whole"),
    ]

    @Test(arguments: cases)
    func `Virtual tables work in the restored file as in the original`(_ test: Case) throws {
        let database = try CaseDatabase(test.create)
        try database.backUp()
        try database.execute(test.change)
        try database.backUp(incremental: true)
        try database.expectAllPoints()
        for number in 0..<2 {
            for query in test.queries {
                let was = try database.rows(query, in: "copy\(number).db")
                #expect(try database.rows(query, in: "new\(number).db") == was, "\(query)")
            }
        }
        try database.execute(test.use, in: "copy1.db")
        try database.execute(test.use, in: "new1.db")
        for query in test.queries {
            let was = try database.rows(query, in: "copy1.db")
            #expect(try database.rows(query, in: "new1.db") == was, "after the use: \(query)")
        }
    }

    @Test(arguments: cases)
    func `Virtual tables come back into the live database beside other tables`(_ test: Case) throws
    {
        let database = try CaseDatabase("CREATE TABLE other(v); " + test.create)
        try database.backUp()
        let names = try database.rows(
            "SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%' OR name = 'docs'")
        try database.python(
            "for (name,) in \(names): connect().execute(f'DROP TABLE {name}')")
        try database.execute("DROP TABLE other; CREATE TABLE another(v)")
        try database.run(["RESTORE c"])
        for query in test.queries {
            let was = try database.rows(query, in: "copy0.db")
            #expect(try database.rows(query) == was, "\(query)")
        }
        try database.execute(test.use)
        #expect(try database.rows("PRAGMA integrity_check") == "[('ok',)]")
    }

    @Test func `A table of a module that nobody has is kept as far as its shadows go`() throws {
        let database = try CaseDatabase(
            """
            CREATE TABLE geo_data(id INTEGER PRIMARY KEY, block BLOB);
            INSERT INTO geo_data VALUES(1, x'0102');
            CREATE TABLE plain(v); INSERT INTO plain VALUES(1);
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_schema VALUES('table', 'geo', 'geo', 0,
                'CREATE VIRTUAL TABLE geo USING unheard_of(a, "b c", ''d'')');
            PRAGMA schema_version = 99;
            """)
        try database.backUp()
        try database.execute("UPDATE geo_data SET block = x'03'; INSERT INTO plain VALUES(2)")
        try database.backUp(incremental: true)
        try database.expectAllPoints()
    }
}
