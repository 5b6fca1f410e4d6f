// SQLite's own interface, and what of it Swift can't call: functions with variable arguments.
#pragma once
#include <sqlite3.h>

/// Switches one of SQLITE_DBCONFIG_… on or off (sqlite.org/c3ref/c_dbconfig_defensive.html).
static inline int ydbfs_sqlite_config(sqlite3 *connection, int option, int on) {
    return sqlite3_db_config(connection, option, on, (int *)0);
}

static inline int ydbfs_sqlite_compare(
    void *context, int left_count, const void *left, int right_count, const void *right) {
    int count = left_count < right_count ? left_count : right_count;
    int order = count > 0 ? __builtin_memcmp(left, right, (unsigned long)count) : 0;
    return order != 0 ? order : left_count - right_count;
}

/// Gives a collation that isn't there a stand-in, which compares bytes.
static inline int ydbfs_sqlite_compare_bytes(sqlite3 *connection, const char *name) {
    return sqlite3_create_collation_v2(
        connection, name, SQLITE_UTF8, (void *)0, ydbfs_sqlite_compare, (void *)0);
}
