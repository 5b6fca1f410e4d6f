// What Swift can't call of SQLite's C interface: functions with variable arguments.
// The library itself comes in through GRDB's module, so sqlite3.h is not included twice.
#pragma once

struct sqlite3;
int sqlite3_db_config(struct sqlite3 *, int op, ...);

/// Closing this connection last leaves the write-ahead log as it is.
/// 1006 is SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE (sqlite.org/c3ref/c_dbconfig_defensive.html).
static inline int ydbfs_sqlite_no_checkpoint_on_close(void *connection) {
    return sqlite3_db_config((struct sqlite3 *)connection, 1006, 1, (int *)0);
}
