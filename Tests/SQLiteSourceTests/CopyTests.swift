import Bytes
import Foundation
import Glibc
import SQLiteSource
import Tables
import Testing

/// Copies of databases: what their names tell, and how they are opened.
@Suite struct CopyTests {
    let bench: Workbench

    init() throws { bench = try Workbench() }

    private func make(_ name: String, _ bytes: [UInt8]) throws {
        let place = bench.path("copies/" + name)
        let folder = URL(filePath: place).deletingLastPathComponent()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(filePath: place))
        var times = [timespec(), timespec()]
        times[0].tv_sec = 1_700_000_000
        times[1].tv_sec = 1_700_000_000
        #expect(utimensat(AT_FDCWD, place, times, 0) == 0)
    }

    private static let header = Array("SQLite format 3\0".utf8) + [UInt8](repeating: 0, count: 84)

    private func listed() throws -> [SourceCollection] {
        try CopiesSource(directory: bench.path("copies")).listCollections()
    }

    @Test(arguments: [
        ("app-2026-11-01.db", "app", "20261101000000Z"),
        ("app_20261101T030000.sqlite3", "app", "20261101030000Z"),
        ("app_20261101T030000Z.SQLite", "app", "20261101030000Z"),
        ("app.db.2026-11-01-0300", "app", "20261101030000Z"),
        ("2026-11-01 03:04:05 app.db", "app", "20261101030405Z"),
        ("2026-11-01_03-04 app.db3", "app", "20261101030400Z"),
        ("app-202611010304.db.bak", "app", "20261101030400Z"),
        ("my-app-2026.11.01-prod.db", "my-app-prod", "20261101000000Z"),
        ("app-20261101-1.db", "app-1", "20261101000000Z"),
        ("2026-11-01.db", "copies", "20261101000000Z"),
        ("2026-11-01/app.db", "app", "20261101000000Z"),
        ("2026-11-01/app-2026-11-02.db", "app", "20261102000000Z"),
        // No date that there is only one way to read, or no day that there is.
        ("app-01-11-2026.db", "app-01-11-2026", "20231114221320Z"),
        ("app-2026-13-01.db", "app-2026-13-01", "20231114221320Z"),
        ("app-2026-11-31.db", "app-2026-11-31", "20231114221320Z"),
        ("app-120261101.db", "app-120261101", "20231114221320Z"),
        ("app-2026-11-01-2561.db", "app-2561", "20261101000000Z"),
        // By the file's time.
        ("app.db.1", "app", "20231114221320Z"),
        ("app.2024.db", "app.2024", "20231114221320Z"),
        ("é.db", "é", "20231114221320Z"),
        ("without ending", "without ending", "20231114221320Z"),
    ])
    func `A file's name tells the database and the date`(
        _ file: String, _ name: String, _ point: String
    ) throws {
        try make(file, Self.header)
        let found = try listed()
        let points = found.flatMap(\.points)
        #expect(found.map(\.name) == [name])
        #expect(points.map(\.name) == [point])
        #expect(points.map(\.file) == [file])
        #expect(found.flatMap(\.leftOut) == [])
    }

    @Test func `Two copies of one second: the first by name counts, the other is named`() throws {
        try make("app-20261101.db", Self.header)
        try make("app-2026-11-01.db", Self.header)
        try make("app-2026-11-02.db", Self.header)
        try make("app.txt", Array("no copy".utf8))
        let found = try #require(try listed().first)
        #expect(found.points.map(\.file) == ["app-2026-11-01.db", "app-2026-11-02.db"])
        #expect(
            found.leftOut == ["app-20261101.db is left out: it has the time of app-2026-11-01.db"])
    }

    private func open(_ file: String) throws -> any SourceCut {
        let source = CopiesSource(directory: bench.path("copies"))
        let points = try source.listCollections().flatMap(\.points)
        let point = try #require(points.first { $0.file == file })
        return try source.openPoint(point, of: "app", CutRequest()) { false }
    }

    @Test func `A copy that is written to while it is read is none of one instant`() throws {
        try make("app-2026-11-01.db", [])
        try bench.shell(
            "CREATE TABLE t(a); INSERT INTO t VALUES (1)", on: "copies/app-2026-11-01.db")
        let cut = try open("app-2026-11-01.db")
        defer { cut.close() }
        #expect(try cut.listTables().map(\.path) == ["t"])
        #expect(cut.instant == 1_793_491_200_000_000)
        try cut.confirm()
        try bench.shell("INSERT INTO t VALUES (2)", on: "copies/app-2026-11-01.db")
        let failure = #expect(throws: Failure.self) { try cut.confirm() }
        #expect(failure?.code == .busy)
    }

    @Test func `What a killed import has left is removed, what another one holds stays`() throws {
        let copy = "copies/app-2026-11-01.db"
        try make("app-2026-11-01.db", [])
        try bench.shell("PRAGMA journal_mode = wal; CREATE TABLE t(a)", on: copy)
        try bench.python(
            """
            db = sqlite3.connect(P)
            db.execute('INSERT INTO t VALUES (1)')
            db.commit()
            import shutil
            for end in ('', '-wal'): shutil.copy(P + end, P.replace('11-01', '11-02') + end)
            """, on: copy)
        let name = UUID().uuidString.prefix(6)
        let (left, held) = (folder("left\(name)"), folder("held\(name)"))
        for place in [left, held] {
            try FileManager.default.createDirectory(
                atPath: place, withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(filePath: place + "/copy.db"))
        }
        let descriptor = Glibc.open(held, O_RDONLY)
        #expect(flock(descriptor, LOCK_EX) == 0)
        let cut = try open("app-2026-11-02.db")
        #expect(try cut.countRows("t") == 1)
        cut.close()
        #expect(!FileManager.default.fileExists(atPath: left))
        #expect(FileManager.default.fileExists(atPath: held + "/copy.db"))
        close(descriptor)
        try FileManager.default.removeItem(atPath: held)
    }

    private func folder(_ name: String) -> String {
        SpillFile.defaultDirectory + "/ydbfs-copy-\(name)"
    }
}
