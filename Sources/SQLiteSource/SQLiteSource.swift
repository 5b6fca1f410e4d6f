import Bytes
import Synchronization
import Tables

/// A SQLite database file as a source of backups, while other programs go on writing to it.
///
/// Between calls no connection is open, but for one that `prepare` leaves to `openCut`: it holds no
/// lock, and goes with the source if no cut is opened. Nothing is ever written to the file but what `prepare` and
/// the markers of captured collections need (`CapturePlan`, `CaptureMeta`); a collection that is
/// prepared with `.scan`, or not at all, causes no writes whatever was installed before.
package final class SQLiteSource: Source {
    /// Seconds that an operation waits for locks of other programs.
    package static let patience = 30.0

    package let name: String
    private let file: SourceFile
    private let writer: CaptureWriter
    /// Collections with captured tables, as `prepare` found them.
    private let capturing = Mutex<Set<String>>([])
    private let known: KnownDefinitions
    /// What `prepare` looked at the database through.
    private let looked = Mutex<Snapshot?>(nil)

    /// Opens nothing for good, but looks whether there is a readable database: throws `.notFound`
    /// if there is no file, `.invalid` or `.corrupt` if it isn't one of SQLite's.
    ///
    /// - Parameters:
    ///   - captureAbove: rows above which changes of a table are captured rather than scanned for.
    ///   - logLimit: keys that a log may hold for a collection that takes no more backups.
    ///   - busyTimeout: seconds to wait for locks of other programs.
    ///   - known: what other sources of the database have read.
    package init(
        path: String, captureAbove: UInt64 = 200_000, logLimit: Int64 = 20_000_000,
        busyTimeout: Double = patience, known: KnownDefinitions = KnownDefinitions()
    ) throws {
        name = path
        self.known = known
        file = SourceFile(path: path, busyTimeout: busyTimeout)
        writer = CaptureWriter(file: file, rowLimit: captureAbove, logLimit: logLimit)
        try file.check()
    }

    deinit { looked.withLock { $0?.close() } }

    package func listTables() throws -> [SourceTable] {
        let snapshot = try Snapshot(file, copies: false)
        defer { snapshot.close() }
        return try SQLiteCut(
            snapshot, catalog: known.catalog(in: snapshot), collection: "", nonce: nil
        ).listTables()
    }

    /// Answers no lines and scans from then on if the file can't be written.
    package func prepare(
        collection: String, tables: [String]?, rows: [String: UInt64], capture: CapturePolicy
    ) throws -> [String] {
        guard capture == .auto else {
            capturing.withLock { _ = $0.remove(collection) }
            return []
        }
        let look = try Snapshot(file, copies: false)
        do {
            let found = try writer.install(
                collection, tables: tables, rows: rows, look: look,
                known: known.catalog(in: look))
            capturing.withLock {
                if found.isCapturing { $0.insert(collection) } else { $0.remove(collection) }
            }
            if look.connection.isOpen {
                try look.rest()
                keep(look)
            }
            return found.lines
        } catch {
            look.close()
            guard let failure = error as? Failure,
                failure.code == .readOnly || failure.code == .denied
            else { throw error }
            capturing.withLock { _ = $0.remove(collection) }
            return []
        }
    }

    private func keep(_ look: Snapshot?) {
        let before = looked.withLock { kept in
            defer { kept = look }
            return kept
        }
        before?.close()
    }

    package func remove(collection: String) throws {
        capturing.withLock { _ = $0.remove(collection) }
        try writer.remove(collection)
    }

    package func openCut(collection: String, nonce: String) throws -> any SourceCut {
        let isMarked = try mark(collection, nonce)
        let look = looked.withLock { $0.take() }
        let snapshot = try look?.later(copies: true) ?? Snapshot(file, copies: true)
        do {
            return try SQLiteCut(
                snapshot, catalog: known.catalog(in: snapshot), collection: collection,
                nonce: isMarked ? nonce : nil)
        } catch {
            snapshot.close()
            throw error
        }
    }

    private func mark(_ collection: String, _ nonce: String) throws -> Bool {
        guard capturing.withLock({ $0.contains(collection) }) else { return false }
        do {
            try writer.mark(collection, nonce: nonce)
            return true
        } catch let failure as Failure where failure.code == .readOnly || failure.code == .denied {
            return false
        }
    }

    /// Prunes the logs of captured tables; writes nothing if the cut wrote no markers.
    package func committed(collection: String, state: CaptureState) throws {
        guard let state: DatabaseState = try? fromJSON(state.database), let nonce = state.nonce
        else { return }
        try writer.commit(collection, nonce: nonce)
    }
}

/// The definitions of a database as last read: for 10,000 tables, that takes twice as long as to read
/// their rows.
package final class KnownDefinitions: Sendable {
    private let last = Mutex<Catalog?>(nil)

    package init() {}

    /// The definitions in a snapshot: not read again as long as they are the same.
    func catalog(in snapshot: Snapshot) throws -> Catalog {
        let fingerprint = try Catalog.fingerprint(snapshot.connection)
        if let known = last.withLock({ $0 }), known.fingerprint == fingerprint { return known }
        let catalog = try Catalog(snapshot.connection)
        last.withLock { $0 = catalog }
        return catalog
    }
}

extension SQLiteSource {
    private var destination: SQLiteDestination {
        SQLiteDestination(path: name, busyTimeout: file.busyTimeout, mayCreate: false)
    }

    package func obstacles(to tables: [RestoredTable]) throws -> [String] {
        try destination.obstacles(to: tables)
    }

    package func openRestore(
        _ tables: [RestoredTable], attempt: RestoreAttempt
    ) throws -> any TableRestore {
        try destination.openRestore(tables, attempt: attempt)
    }

    package func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws {
        try destination.removeLeftovers(isGone: isGone)
    }
}
