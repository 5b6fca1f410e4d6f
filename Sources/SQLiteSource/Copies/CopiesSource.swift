import Bytes
import CSQLite
import Synchronization
import Tables

/// Copies of SQLite databases in a directory, each a point of its database's past: what a nightly `.backup`,
/// `VACUUM INTO` or `cp` has left. Nothing is ever written there.
/// ```
/// DIRECTORY/app-2026-11-01.db  app-2026-11-02.db.gz  app-2026-11-03.db app-2026-11-03.db-wal
///           2026-11-01/app.db
///           app.db.1                     by the file's time
/// ```
package struct CopiesSource: PointSource {
    package let name: String
    package let kind = "copies"
    package let noun = "a directory of copies"
    package let holdsDatabases = true
    private let definitions = KnownDefinitions()
    /// What was there at the last look.
    private let known = KnownCopies()

    /// Looks at nothing yet.
    package init(directory: String) { name = directory }

    /// Why a directory has no copies; nil if there are some.
    package static func refusal(of directory: String) -> String? {
        do throws(Failure) {
            let folder = try CopyFolder(directory)
            if !folder.copies.isEmpty { return nil }
            return folder.others.first.map { "\($0.name): \($0.reason)" }
                ?? "there is no SQLite database in it"
        } catch {
            return error.message
        }
    }

    /// The directory, and each of them: they may be narrower.
    package var files: [String] {
        let copies = (try? CopyFolder(name))?.copies ?? []
        return [name] + copies.flatMap { $0.files.map(\.path) }
    }

    package func listCollections() throws -> [SourceCollection] {
        let folder = try CopyFolder(name)
        known.copies.withLock {
            $0 = Dictionary(uniqueKeysWithValues: folder.copies.map { ($0.name, $0) })
        }
        var found: [String: SourceCollection] = [:]
        func change(_ stem: String, _ body: (inout SourceCollection) -> Void) {
            let stem = stem.isEmpty ? String(name.split(separator: "/").last ?? "copies") : stem
            body(&found[stem, default: SourceCollection(name: stem, points: [])])
        }
        for copy in folder.copies {
            change(copy.stem) { collection in
                let point = SourcePoint(
                    name: SourcePoint.name(at: copy.seconds), isIncremental: false,
                    cut: copy.seconds.microseconds, version: copy.version, file: copy.name)
                guard let other = collection.points.first(where: { $0.name == point.name }) else {
                    return collection.points.append(point)
                }
                collection.leftOut.append(
                    "\(copy.name) is left out: it has the time of \(other.file ?? other.name)")
            }
        }
        for other in folder.others {
            change(other.stem) { $0.leftOut.append("\(other.name) is left out: \(other.reason)") }
        }
        return found.values.map { collection in
            var collection = collection
            collection.points.sort { $0.cut < $1.cut }
            return collection
        }.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    package func openPoint(
        _ point: SourcePoint, of collection: String, _ request: CutRequest,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws -> any SourceCut {
        guard let file = point.file, let copy = known.copies.withLock({ $0[file] }),
            copy.version == point.version
        else {
            throw Failure(.busy, "\(name)/\(point.file ?? point.name) has just changed: try again")
        }
        return try cut(of: copy, request, isCancelled)
    }

    private func cut(
        of copy: DatabaseCopy, _ request: CutRequest, _ isCancelled: @escaping @Sendable () -> Bool
    ) throws -> any SourceCut {
        do {
            let connection = try CopyOpening(copy, isCancelled).connection()
            if let fault = try Soundness(connection, isCancelled).fault() {
                throw UnsoundPoint(fault)
            }
            let snapshot = try Snapshot(
                still: connection, path: copy.file.path, instant: copy.seconds.microseconds)
            let catalog = try definitions.catalog(in: snapshot)
            return SQLiteCut(
                snapshot, catalog: catalog, request: request,
                pages: try CutPages(snapshot, catalog, request, rules: PageRules()),
                sortLimits: SortLimits(), stillness: { try copy.requireUnchanged() })
        } catch let failure as Failure {
            // What was written meanwhile needn't be unsound.
            if failure.code != .cancelled { try copy.requireUnchanged() }
            switch failure.code {
            case .corrupt, .invalid, .unsupported: throw UnsoundPoint(failure.message)
            default: throw failure
            }
        }
    }
}

private final class KnownCopies: Sendable {
    /// By name.
    let copies = Mutex<[String: DatabaseCopy]>([:])
}

extension DatabaseCopy {
    fileprivate func requireUnchanged() throws {
        guard let file = files.first(where: { !$0.isAsItWas }) else { return }
        throw Failure(.busy, "\(file.path) was written as it was being read: try again")
    }
}

extension Int64 {
    fileprivate var microseconds: Int64 { multipliedReportingOverflow(by: 1_000_000).partialValue }
}

/// Whether a database is what its writer left, page by page. Indexes aren't compared with their tables:
/// backups have the tables, and restores make the indexes anew.
struct Soundness {
    private let connection: Connection

    init(_ connection: Connection, _ isCancelled: @escaping @Sendable () -> Bool) {
        self.connection = connection
        connection.stop(when: isCancelled)
    }

    /// What SQLite's own check says first; nil if it says nothing.
    func fault() throws -> String? {
        // A rule of today for rows of yesterday is no damage.
        try connection.execute("PRAGMA ignore_check_constraints = ON")
        do {
            return try connection.sync { _ in
                let line = try connection.prepare("PRAGMA main.quick_check(\(Int32.max))")
                while try line.step() {
                    let text = line.text(0)
                    if text != "ok", !text.contains(" value in ") {
                        // A heading stands above what is wrong with pages.
                        let lines = text.split(separator: "\n").filter { !$0.hasPrefix("***") }
                        return "it is damaged (\(lines.first ?? "SQLite doesn't say how"))"
                    }
                }
                return nil
            }
        } catch let failure as Failure where failure.code == .system {
            // An expression may name a function that only the application has. Whatever is damaged then
            // is found as it is read. Any other failure is the disk's.
            return failure.message.hasSuffix("(SQLite error \(SQLITE_ERROR))")
                ? nil : failure.message
        }
    }
}
