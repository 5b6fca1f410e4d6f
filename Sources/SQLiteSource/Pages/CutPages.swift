import Bytes
import Tables

/// How a cut comes to see its pages: where it may, by looking at them; where the database has to be
/// copied first, as that is done.
///
/// With a rollback journal other programs can't commit as long as the file is read. So it is copied, which
/// ends the lock; a large one only if a look at its pages doesn't show that what has changed is read in
/// less than a second, and in less time than a copy takes.
struct CutPages {
    private(set) var capture: PageCapture?
    /// Why nothing is known of changes, if so.
    private(set) var reason = "nothing was kept by the last backup"
    /// Whether that should worry anybody.
    private(set) var isDoubt = false

    /// Smaller files are copied before anybody waits.
    private static let largeBytes = 64 << 20
    /// What a second is enough for, with all that is done to a row.
    private static let rowsOfASecond: UInt64 = 100_000
    /// Tables whose keys have more columns are compared whole.
    private static let maxKeyColumns = 32

    /// For a look at no rows.
    init() {}

    init(
        _ snapshot: Snapshot, _ catalog: Catalog, _ request: CutRequest, rules: PageRules
    ) throws {
        let known = kept(request, rules)
        var wish: PagePass.Request?
        if request.keepsKnowledge || known != nil {
            wish = .init(hash: known?.hash ?? rules.newHash(), rules: rules)
            wish?.keyColumns = try Self.keyColumns(catalog, snapshot.connection)
        }
        func capture(_ pass: PagePass?) throws -> PageCapture? {
            try pass.map {
                try PageCapture(
                    snapshot.connection, $0, known: known, encoding: snapshot.encoding)
            }
        }
        switch snapshot.hold {
        case .log, .still: self.capture = try capture(look(snapshot, wish))
        case .nothing: self.capture = try capture(copy(snapshot, wish))
        case .lock:
            guard known != nil, try Self.isLarge(snapshot) else {
                self.capture = try capture(copy(snapshot, wish))
                return
            }
            let pass = look(snapshot, wish)
            let rows = try capture(pass)?.rowsToRead(catalog.tables)
            if rows ?? .max > Self.rowsOfASecond { _ = try snapshot.copy(nil) }
            self.capture = try capture(pass)
        }
    }

    private mutating func kept(_ request: CutRequest, _ rules: PageRules) -> KeptKnowledge? {
        guard let file = request.known else { return nil }
        do {
            let kept = try KeptKnowledge(file)
            if kept.blockRows == rules.blockRows { return kept }
        } catch {
            doubt(error)
        }
        return nil
    }

    private mutating func look(_ snapshot: Snapshot, _ wish: PagePass.Request?) -> PagePass? {
        guard let wish else { return nil }
        do {
            return try PagePass.look(at: snapshot.connection, wish)
        } catch {
            doubt(error)
            return nil
        }
    }

    private mutating func copy(_ snapshot: Snapshot, _ wish: PagePass.Request?) throws -> PagePass?
    {
        let pass = try snapshot.copy(wish)
        if wish != nil, pass == nil { doubt(OddPages("its pages couldn't all be seen")) }
        return pass
    }

    private mutating func doubt(_ error: any Error) {
        isDoubt = true
        reason = (error as? OddPages)?.reason ?? (error as? Failure)?.message ?? "\(error)"
    }

    private static func isLarge(_ snapshot: Snapshot) throws -> Bool {
        let shape = try PageShape(snapshot.connection)
        return shape.pageCount * shape.pageSize > largeBytes
    }

    /// The most columns that a key has whose table's own b-tree may be in our order.
    private static func keyColumns(_ catalog: Catalog, _ connection: Connection) throws -> Int {
        try catalog.tables.reduce(0) { most, table in
            guard table.isWithoutRowID, table.key.count > most, table.key.count <= maxKeyColumns,
                try table.keyIsPlain(connection)
            else { return most }
            return table.key.count
        }
    }
}
