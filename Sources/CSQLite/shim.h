// SQLite's own interface, and what of it Swift can't call: functions with variable arguments.
#pragma once
#include <sqlite3.h>

/// Switches one of SQLITE_DBCONFIG_… on or off (sqlite.org/c3ref/c_dbconfig_defensive.html).
static inline int ydbfs_sqlite_config(sqlite3 *connection, int option, int on) {
    return sqlite3_db_config(connection, option, on, (int *)0);
}

/// The version of the SQLite that wrote the file last, as its header has it (sqlite.org/fileformat2.html
/// §1.3.17), such as 3045001; 0 if it can't be read. The connection's own file is read: opening the
/// file once more would drop the connection's locks.
static inline int ydbfs_sqlite_writer(sqlite3 *connection) {
    sqlite3_file *file = 0;
    unsigned char bytes[4];
    if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK
        || !file || !file->pMethods || file->pMethods->xRead(file, bytes, 4, 96) != SQLITE_OK)
        return 0;
    return bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
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
