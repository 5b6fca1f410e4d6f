import Bytes
import Engine
import Foundation
import Repository
import Testing
import ydbfs

@Suite struct SourceArgumentTests {
    private let sandbox: Sandbox

    init() throws { sandbox = try Sandbox() }

    private func makeRepository(_ name: String) throws {
        let path = "\(sandbox.path)/\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let text = #"{"format":1,"id":"0123456789abcdef0123456789abcdef"}"#
        try text.write(toFile: path + "/repository.json", atomically: false, encoding: .utf8)
    }

    @Test func `A file is a database with its backups beside it`() throws {
        try sandbox.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", in: "shop.db")
        let source = try SourceArgument(sandbox.path + "/shop.db")
        #expect(source.kind == .database(file: sandbox.path + "/shop.db"))
        #expect(source.location.description == sandbox.path + "/shop.db.backups")
        #expect(source.databasePath == "/Root/shop")
        #expect(source.problem() == nil)
        #expect(!sandbox.exists("shop.db.backups"))
    }

    @Test(arguments: [
        ("database.db", "/Root/database"), ("a.tar.gz", "/Root/a.tar"), ("plain", "/Root/plain"),
        (".hidden", "/Root/.hidden"), ("dot.", "/Root/dot"), ("Grün.sqlite", "/Root/Grün"),
    ])
    func `The database's path is its name without the extension`(
        _ name: String, _ path: String
    ) throws {
        try sandbox.write("", to: name)
        #expect(try SourceArgument("\(sandbox.path)/\(name)").databasePath == path)
    }

    @Test func `Symlinked directories lead to the same backups`() throws {
        try sandbox.write("", to: "a.db")
        let link = sandbox.path + "/link"
        try FileManager.default.createSymbolicLink(
            atPath: link, withDestinationPath: sandbox.path)
        #expect(
            try SourceArgument(link + "/a.db").location.description == sandbox.path
                + "/a.db.backups")
        #expect(
            try SourceArgument(link + "/./a.db", repository: link + "/./y//z").location.description
                == sandbox.path + "/y/z")
    }

    @Test func `A chosen place for the backups counts`() throws {
        try sandbox.write("", to: "a.db")
        let source = try SourceArgument(
            sandbox.path + "/a.db", repository: sandbox.path + "/new/place/")
        #expect(source.location.description == sandbox.path + "/new/place")
        #expect(source.protected == [sandbox.path + "/a.db", sandbox.path + "/new/place"])
    }

    @Test func `A repository needs no database`() throws {
        try makeRepository("r")
        let source = try SourceArgument(sandbox.path + "/r")
        #expect(source.kind == .repository)
        #expect(source.location.description == sandbox.path + "/r")
        #expect(source.database == nil)
        #expect(source.databasePath == nil)
        #expect(throws: Failure.self) { try SourceArgument("\(source.location)", repository: "/x") }
    }

    @Test func `A missing database counts as long as it has backups`() throws {
        let path = sandbox.path + "/gone.db"
        let failure = #expect(throws: Failure.self) { try SourceArgument(path) }
        #expect(failure?.code == .notFound)
        try makeRepository("gone.db.backups")
        let source = try SourceArgument(path)
        #expect(source.databasePath == "/Root/gone")
        #expect(source.problem()?.code == .notFound)
        #expect(!sandbox.exists("gone.db"))
    }

    @Test func `A damaged database says so and stays as it is`() throws {
        try sandbox.write(String(repeating: "no database at all\n", count: 100), to: "bad.db")
        let source = try SourceArgument(sandbox.path + "/bad.db")
        #expect(source.problem() != nil)
        #expect(try sandbox.text("bad.db").hasPrefix("no database"))
    }

    @Test(arguments: [
        "grpc://localhost:2136/local", "grpcs://host/db", "s3://bucket/prefix", "S3://BUCKET",
    ])
    func `Clusters and S3 are refused as not built`(_ name: String) {
        let failure = #expect(throws: Failure.self) { try SourceArgument(name) }
        #expect(failure?.code == .unsupported)
        #expect(failure?.message.contains("built yet") == true)
    }

    @Test func `Directories that are no repository are told apart`() throws {
        let dump = sandbox.path + "/dump/20250821141425Z_full"
        try FileManager.default.createDirectory(atPath: dump, withIntermediateDirectories: true)
        let source = try SourceArgument(sandbox.path + "/dump/")
        guard case .points(sandbox.path + "/dump", let kind) = source.kind else {
            Issue.record("\(source.kind)")
            return
        }
        #expect(kind.words == "dump of YDB")
        #expect(source.location.description == sandbox.path + "/dump.backups")
        let inside = #expect(throws: Failure.self) {
            try SourceArgument(sandbox.path + "/dump", repository: sandbox.path + "/dump/r")
        }
        #expect(inside?.code == .invalid)
        let empty = sandbox.path + "/dump/20250821141425Z_full"
        let other = #expect(throws: Failure.self) { try SourceArgument(empty) }
        #expect(other?.code == .invalid)
        let device = #expect(throws: Failure.self) { try SourceArgument("/dev/null") }
        #expect(device?.code == .invalid)
        #expect(throws: Failure.self) { try SourceArgument("") }
    }
}
