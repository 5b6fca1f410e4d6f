// SQLite's own interface, and what of it Swift can't call: functions with variable arguments.
#pragma once
#include <sqlite3.h>

/// Switches one of SQLITE_DBCONFIG_… on or off (sqlite.org/c3ref/c_dbconfig_defensive.html).
static inline int ydbfs_sqlite_config(sqlite3 *connection, int option, int on) {
    return sqlite3_db_config(connection, option, on, (int *)0);
}
