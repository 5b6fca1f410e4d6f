/// What identifies a database file to the programs that use it.
package struct DatabaseFacts: Sendable, Hashable {
    package var userVersion: Int64
    package var applicationID: Int64
    /// `UTF-8`, `UTF-16le` or `UTF-16be`.
    package var encoding: String
    /// In bytes.
    package var pageSize: Int64
    /// SQLite's number: 0 none, 1 full, 2 incremental.
    package var autoVacuum: Int64

    package init(
        userVersion: Int64, applicationID: Int64, encoding: String, pageSize: Int64,
        autoVacuum: Int64
    ) {
        self.userVersion = userVersion
        self.applicationID = applicationID
        self.encoding = encoding
        self.pageSize = pageSize
        self.autoVacuum = autoVacuum
    }
}

extension DatabaseFacts: CustomStringConvertible {
    /// As SQLite's own statements that set them.
    package var description: String {
        "PRAGMA encoding = '\(encoding)'; PRAGMA page_size = \(pageSize); "
            + "PRAGMA auto_vacuum = \(autoVacuum); PRAGMA user_version = \(userVersion); "
            + "PRAGMA application_id = \(applicationID);"
    }
}
