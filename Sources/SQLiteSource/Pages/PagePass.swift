import Bytes
import CSQLite

/// Every page of a database as one read transaction sees it, gone through once: what is kept of them
/// (`PageSummary`), and a copy of the database if one is wanted.
///
/// The pages come through SQLite's online backup, whatever they come from: the file, its write-ahead
/// log, or a VFS of another's. Nothing is written to the database, and no lock is taken that reading
/// doesn't take anyway.
final class PagePass {
    let rules: PageRules
    let hash: KeyedHash
    let log: PageLog
    let shape: PageShape
    /// SQLite's number for how records are written (sqlite.org/fileformat2.html §1.3.10).
    private(set) var schemaFormat: UInt32 = 0

    var pageCount: Int { shape.pageCount }

    private init(_ shape: PageShape, _ hash: KeyedHash, _ rules: PageRules) throws {
        self.rules = rules
        self.hash = hash
        self.shape = shape
        log = try PageLog(pages: shape.pageCount, memoryBytes: rules.memoryBytes)
    }

    /// What is wanted of a pass.
    struct Request {
        var hash = KeyedHash()
        var rules = PageRules()
        /// The most columns that a key of a WITHOUT ROWID table has whose pages count; 0: none counts.
        var keyColumns = 0
    }

    /// Looks at the pages that the connection's open transaction sees. Throws `OddPages` or a `Failure`
    /// if not every one can be seen: then nothing can be said of any table.
    static func look(at connection: Connection, _ request: Request) throws -> PagePass {
        let shape = try PageShape(connection)
        let pass = try PagePass(shape, request.hash, request.rules)
        let sink = try pass.sink(request, copies: false)
        defer { sink.end() }
        try backUp(connection, into: sink)
        try pass.check(sink)
        return pass
    }

    /// Copies the database that the connection's open transaction sees to a temporary file without a
    /// name, looking at its pages meanwhile. The copy is open for reading; there is no pass if the
    /// request is nil, or if anything was odd.
    static func copy(
        of connection: Connection, _ request: Request?
    ) throws -> (copy: Connection, pass: PagePass?) {
        let shape = try PageShape(connection)
        let pass = try request.map { try PagePass(shape, $0.hash, $0.rules) }
        let sink =
            try pass.map { try $0.sink(request!, copies: true) }
            ?? PageSink(
                pageSize: shape.pageSize, pageCount: shape.pageCount, copies: true, look: nil)
        defer { sink.end() }
        try backUp(connection, into: sink)
        // Another connection than the one that wrote: that one has pages in mind as they were.
        let copy = try Connection(
            path: connection.path, access: .pages(sink.name), busyTimeout: 0)
        do {
            try copy.execute("PRAGMA query_only = on")
            try pass?.check(sink)
            return (copy, pass)
        } catch is OddPages {
            return (copy, nil)
        } catch {
            if sink.failure != nil { return (copy, nil) }
            copy.close()
            throw error
        }
    }

    private func sink(_ request: Request, copies: Bool) throws -> PageSink {
        let summary = PageSummary(hash: hash, rules: rules, keyColumns: request.keyColumns)
        let (usable, log) = (shape.usableBytes, log)
        return try PageSink(
            pageSize: shape.pageSize, pageCount: shape.pageCount, copies: copies
        ) { page, number in
            try summary.add(
                PageBytes(base: page.baseAddress!, count: usable), number: number, to: log)
        }
    }

    /// Whether all pages were seen, and nothing else.
    private func check(_ sink: PageSink) throws {
        if let failure = sink.failure { throw failure }
        guard !sink.isOdd, sink.pagesSeen == shape.storedPages,
            sink.firstPage.count == shape.pageSize
        else { throw OddPages("not every page of the database could be seen") }
        schemaFormat = sink.firstPage.withUnsafeBytes {
            UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: 44, as: UInt32.self))
        }
    }

    /// Writes all pages to a sink.
    private static func backUp(_ connection: Connection, into sink: PageSink) throws {
        guard PageFiles.isRegistered else { throw OddPages("SQLite takes no other file system") }
        let target = try Connection(
            path: connection.path, access: .pages(sink.name), busyTimeout: 0)
        defer { target.close() }
        for pragma in [
            "journal_mode = off", "synchronous = off", "cache_size = 10",
            "locking_mode = exclusive",
        ] {
            try target.execute("PRAGMA main.\(pragma)")
        }
        try connection.sync { from in
            try target.sync { to in
                guard let backup = sqlite3_backup_init(to, "main", from, "main") else {
                    throw target.failure("can't copy")
                }
                let step = sqlite3_backup_step(backup, -1)
                let end = sqlite3_backup_finish(backup)
                guard step == SQLITE_DONE, end == SQLITE_OK else {
                    throw sink.failure ?? target.failure("can't copy")
                }
            }
        }
    }
}

/// How a database is cut into pages.
struct PageShape {
    let pageSize: Int
    /// Of a page, without what other programs keep at its end.
    let usableBytes: Int
    let pageCount: Int

    /// As the open transaction sees it.
    init(_ connection: Connection) throws {
        pageSize = Int(try connection.integer("PRAGMA main.page_size") ?? 0)
        pageCount = Int(try connection.integer("PRAGMA main.page_count") ?? 0)
        var reserved: CInt = -1
        let code = connection.sync { handle in
            withUnsafeMutablePointer(to: &reserved) {
                sqlite3_file_control(handle, "main", SQLITE_FCNTL_RESERVE_BYTES, $0)
            }
        }
        guard code == SQLITE_OK, (512...65536).contains(pageSize), (0...255).contains(reserved)
        else { throw OddPages("SQLite doesn't say how large pages are") }
        usableBytes = pageSize - Int(reserved)
    }

    /// The page in which SQLite's locks lie isn't stored.
    var storedPages: Int { pageCount >= (1 << 30) / pageSize + 1 ? pageCount - 1 : pageCount }
}
