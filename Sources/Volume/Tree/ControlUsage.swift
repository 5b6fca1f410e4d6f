import Bytes
import Engine

/// What reading a control file shows.
enum ControlUsage {
    /// - Parameter collection: whose control file it is; nil: the mount's.
    static func text(_ engine: Engine, _ collection: String?) -> String {
        var text = ""
        if let last = engine.errors.newest(collection: collection).last {
            text += "Last refusal or failure:\n\(last.lines)\n"
        }
        let operations = engine.operations.filter {
            collection == nil || $0.collection == collection
        }
        for operation in operations.suffix(8).reversed() {
            let status = operation.status
            let collection = oneLine(operation.collection)
            text += "\(operation.accepted) operation \(operation.id) \(collection) "
            text += "\(operation.kind): \(oneLine(status.summary))\n"
            for note in status.notes { text += "    \(oneLine(note))\n" }
            for line in status.leftOutLines { text += "    left out \(line)\n" }
        }
        if !text.isEmpty { text += "\n" }
        let changes =
            "SET (KEY = VALUE) | RESET (KEY) | ADD TABLE path | DROP TABLE path\n    "
            + "| DROP BACKUP 'point' | UNDROP BACKUP 'point' | PIN BACKUP 'point' | UNPIN BACKUP 'point'\n"
        let rows =
            "( TABLE path [AS path] WHERE KEY IN (…) | CHANGED SINCE 'point', … )\n    [WITH "
            + "(on_conflict = skip | replace | fail, dry_run = true, triggers = on | off, strict = true)]\n"
        let scoped =
            "full\nincremental\nBACKUP [INCREMENTAL] [WITH (uid = 'TOKEN')]\n"
            + "RESTORE [AT 'point or time'] [( TABLE path [AS path], … )] [WITH (strict = true)]\n"
            + "RESTORE [AT 'point or time'] \(rows)"
            + "VERIFY [AT 'point'] [WITH (level = …)]\nCOMPACT\nPRUNE [WITH (dry_run = true)]\n"
            + "SHOW BACKUPS | OPERATIONS | COLLECTIONS\n"
            + "ALTER BACKUP COLLECTION \(changes)"
        let general =
            "CREATE BACKUP COLLECTION name ( TABLE path, ... ) | DATABASE WITH "
            + "( STORAGE = 'cluster' [, INCREMENTAL_BACKUP_ENABLED = 'true'] "
            + "[, OMIT_TABLES = 'a, b'] )\n"
            + "ALTER BACKUP COLLECTION name \(changes)"
            + "DROP BACKUP COLLECTION name\n"
            + "BACKUP name [INCREMENTAL] [WITH (uid = 'TOKEN')]\n"
            + "RESTORE name [AT 'point or time'] [( TABLE path [AS path], ... )] [WITH (strict = true)]\n"
            + "RESTORE name [AT 'point or time'] \(rows)"
            + "VERIFY name [AT 'point'] [WITH (level = catalog | hashes | content | source)]\n"
            + "COMPACT name\n"
            + "PRUNE name [WITH (dry_run = true)]\n"
            + "SHOW COLLECTIONS | BACKUPS OF name | OPERATIONS\n"
        return text + "Write one of these, ended by a newline or a semicolon:\n"
            + (collection == nil ? general : scoped)
            + "A handle that wrote can be read for the answer: "
            + "exec 3<> control; echo 'SHOW OPERATIONS' >&3; cat <&3\n"
    }
}
