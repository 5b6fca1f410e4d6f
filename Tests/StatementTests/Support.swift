import Bytes
import Engine

func parse(_ text: String, in collection: String? = nil) throws(StatementError) -> [Statement] {
    try Statement.parse(text, scope: collection.map { CollectionScope(name: $0) })
}

/// The one statement of `text`.
func one(_ text: String, in collection: String? = nil) throws -> Statement {
    let statements = try parse(text, in: collection)
    guard statements.count == 1 else {
        throw Failure(.invalid, "\(statements.count) statements in \(text)")
    }
    return statements[0]
}

/// The error of a text that must be refused.
func refusal(of text: String, in collection: String? = nil) throws -> StatementError {
    do {
        let statements = try parse(text, in: collection)
        throw Failure(.system, "accepted as \(statements.count) statements: \(text)")
    } catch let error as StatementError {
        return error
    }
}

/// Statements of every kind, each ended by `;`, valid at the root's control.
let samples = [
    """
    CREATE BACKUP COLLECTION shop
        ( TABLE orders
        , TABLE `/Root/database/sub;products`
        )
    WITH
        ( STORAGE = 'cluster'
        , INCREMENTAL_BACKUP_ENABLED = 'true' );

    """,
    "create backup collection `все;таблицы` database with (keep_last = 7, max_chain=\"30\",);",
    "ALTER BACKUP COLLECTION shop SET (KEEP_WITHIN = '1y5m7d2h'), RESET (KEEP_LAST, CAPTURE);",
    "ALTER BACKUP COLLECTION shop ADD TABLE a, DROP TABLE `b``c`, PIN BACKUP '20261121100000Z_full';",
    "DROP BACKUP COLLECTION shop; -- gone; really\n",
    "BACKUP shop; BACKUP shop\nINCREMENTAL\nWITH (uid = 'it:1');",
    "/* a ; b */ RESTORE shop AT 'it\\'s;' ( TABLE orders AS `orders;old`, TABLE x );",
    "VERIFY shop AT yesterday WITH (level = content);\nCOMPACT shop;;PRUNE shop WITH (dry_run=on);",
    "PULL `shop` AT \"2026-11-21 10:00\";/**/ VERIFY shop--;\n;",
]

/// The same for the control of collection `shop`.
let scopedSamples = [
    "full;", "incremental WITH (uid=a-1);", "BACKUP;BACKUP INCREMENTAL;",
    "BACKUP shop INCREMENTAL;",
    "RESTORE AT 'yesterday';", "RESTORE (TABLE a AS b);", "VERIFY;VERIFY WITH (level=hashes);",
    "COMPACT;PRUNE;PULL AT x;", "ALTER BACKUP COLLECTION SET (KEEP_LAST=3);",
]
