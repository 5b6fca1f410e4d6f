import Foundation
import Testing

/// A shop's repository that things happen to, and its repair.
protocol RepairedShop {
    var sandbox: Sandbox { get }
}

private struct Shop: RepairedShop { let sandbox: Sandbox }

extension RepairedShop {
    static var log: String { "database.db.backups/collections/*/log" }

    /// A full backup and two incrementals, and a copy from then: entries 1 to 4.
    static func makeSandbox() throws -> Sandbox {
        let shop = Shop(sandbox: try Sandbox())
        try shop.sandbox.makeShop()
        try shop.run(Sandbox.create + "BACKUP shop")
        for number in 10...11 { try shop.change(number) }
        try shop.shell("cp -a database.db.backups copy")
        return shop.sandbox
    }

    @discardableResult
    func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script], environment: ["Y": Sandbox.binary])
    }

    func run(_ statements: String) throws {
        let result = try sandbox.ydbfs("run", "database.db", statements)
        try #require(result.status == 0, "\(result.errors)")
    }

    func change(_ number: Int) throws {
        try sandbox.sql("INSERT INTO orders VALUES (\(number), 'tea')")
        try run("BACKUP shop INCREMENTAL")
    }

    /// As many entries of the log.
    func alterations(_ count: Int) -> String {
        (1...count).map { "ALTER BACKUP COLLECTION shop SET (MAX_CHAIN = '\($0)')" }
            .joined(separator: "; ")
    }

    func status() throws -> Sandbox.Result { try sandbox.ydbfs("status", "database.db") }
    func verify() throws -> Sandbox.Result { try sandbox.ydbfs("verify", "database.db") }

    func repair(_ options: String...) throws -> Sandbox.Result {
        try sandbox.run(
            "/usr/bin/timeout", ["60", Sandbox.binary, "repair", "database.db"] + options)
    }

    var pointCount: Int {
        get throws {
            let json = try sandbox.ydbfs("status", "database.db", "--json").output
            return Int(
                try sandbox.python("sum(len(c['points']) for c in j['collections'])", json: json))!
        }
    }

    /// Every file there, but for journal and results of verifications.
    var files: Set<String> {
        get throws {
            let found = try shell("find database.db.backups -type f").output
            return Set(
                found.split(separator: "\n").map(String.init).filter {
                    $0.contains("/data/") || $0.contains("/tables/")
                })
        }
    }

    func expectWhole(points: Int) throws {
        // A verification's result stands until the next one.
        let verified = try verify()
        let status = try status()
        #expect(status.status == 0, "\(status)")
        #expect(verified.status == 0, "\(verified)")
        #expect(try pointCount == points)
    }
}
