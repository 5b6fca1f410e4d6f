import Bytes
import Crypto
import Foundation
import Repository
import Tables
import TestSupport
import Testing

/// What is read of a log that was damaged, doctored, or written by a newer version.
@Suite struct LogTests {
    let disk = SimulatedDisk()
    let repository: Repository
    let log: String

    /// Two collections; `shop` with a definition, a full and an incremental.
    init() throws {
        repository = try Repository.create(DirectoryStorage("/r", calls: disk))
        for name in ["other", "shop"] {
            let lock = try repository.lock(collection: name)
            try lock.append(.define(definition(name)))
            try lock.append(.point(try nextPoint(lock)))
            try lock.append(.point(try nextPoint(lock, paths: ["orders"])))
        }
        log = "/r/collections/\(repository.collectionID("shop"))/log"
    }

    func path(_ number: Int) -> String { log + "/000000000\(number).json" }

    func open() throws -> Repository { try Repository.open(DirectoryStorage("/r", calls: disk)) }

    /// The entry is refused, by name; what is before it and beside it stays readable.
    func expectRefused(
        _ number: Int, _ what: Comment, _ code: Failure.Code = .corrupt
    ) throws {
        let found = try open()
        #expect(found.failures.count == 1, what)
        #expect(found.failures.first?.code == code, what)
        #expect(found.failures.first?.message.hasPrefix(path(number)) == true, what)
        #expect(found.collection("other")?.points.count == 2, what)
        #expect(found.collection("shop")?.points.count ?? 0 == max(0, number - 2), what)
        if number > 2 {
            let before = repository.collection("shop")!
            #expect(found.collection("shop")?.tables(at: 1) == before.tables(at: 1), what)
        }
        #expect(found.collection("shop")?.damage == (number > 1 ? found.failures[0] : nil), what)
        #expect(throws: found.failures[0], what) { try found.lock(collection: "shop") }
    }

    /// JSON of an entry with a right trailer, made without the code under test.
    static func seal(_ json: String) -> [UInt8] {
        let body = json.dropLast()
        let hash = SHA256.hash(data: Data(body.utf8)).map { String(format: "%02x", $0) }.joined()
        return Array("\(body),\"sha256\":\"\(hash)\"}".utf8)
    }

    /// An entry without its trailer.
    func json(_ number: Int) -> String {
        String(decoding: disk.files()[path(number)]!.dropLast(77), as: UTF8.self) + "}"
    }

    @Test(arguments: [1, 2, 3])
    func `An entry cut off at any byte is refused`(_ number: Int) throws {
        let bytes = disk.files()[path(number)]!
        for length in 0..<bytes.count {
            disk.put(path(number), Array(bytes.prefix(length)))
            try expectRefused(number, "cut off at \(length)")
        }
        disk.put(path(number), bytes)
        #expect(try open().failures == [])
    }

    @Test func `An entry with any byte changed is refused`() throws {
        let bytes = disk.files()[path(2)]!
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1 << UInt8(index % 8)
            disk.put(path(2), changed)
            try expectRefused(2, "changed at \(index)")
        }
        disk.put(path(2), bytes + [10])
        try expectRefused(2, "one byte more")
    }

    @Test func `Random JSON with a right trailer never traps`() throws {
        let source = json(2)
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "d83d", "-", "1e9", "null", "true",
            "99999999999999999999", "\u{7f}", "\u{1}",
        ]
        for _ in 0..<1000 {
            var bytes = Array(source.utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                let end = min(bytes.count, at + Int.random(in: 0...4, using: &random))
                bytes.replaceSubrange(at..<end, with: pieces.randomElement(using: &random)!.utf8)
            }
            if bytes.elementsEqual(source.utf8) { continue }
            disk.put(path(2), Self.seal(String(decoding: bytes, as: UTF8.self) + "}"))
            let found = try open()
            #expect(found.collection("other")?.points.count == 2, "seed \(seed)")
            // Changed in a way that is right by itself, it still isn't what its child expects.
            #expect(found.failures.count == 1, "seed \(seed)")
        }
    }

    @Test func `An entry that is missing, swapped or brought in is refused`() throws {
        let files = disk.files()
        disk.put(path(2), nil)
        #expect(try open().failures.map(\.message) == [path(2) + " is missing"])
        disk.put(path(2), files[path(3)]!)
        try expectRefused(2, "a later entry")
        let other = path(2).replacing(
            repository.collectionID("shop"), with: repository.collectionID("other"))
        disk.put(path(2), files[other]!)
        try expectRefused(2, "another collection's")
        disk.put(path(2), files[path(2)]!)
        disk.put(path(1), files[other.replacing("0002.json", with: "0001.json")]!)
        try expectRefused(1, "another collection's definition")
    }

    @Test func `A damaged entry that is mended is read by the next refresh`() throws {
        let bytes = disk.files()[path(3)]!
        disk.put(path(3), Array(bytes.dropLast()))
        let found = try open()
        #expect(found.collection("shop")?.points.count == 1)
        disk.put(path(3), bytes)
        #expect(try found.refresh() == ["shop"])
        #expect(found.collection("shop")?.points.count == 2)
        #expect(found.failures == [])
        #expect(try found.refresh() == [])
    }

    @Test func `Unknown fields are ignored`() throws {
        let extra = #""new":{"a":[1,{"b":"]}\""}],"c":null},"#
        var text = json(3)
        for place in ["\"format\"", "\"sequence\"", "\"number\":2,\"name\"", "\"id\"", "\"file\""] {
            let range = try #require(text.range(of: place))
            text.replaceSubrange(range, with: extra + place)
        }
        disk.put(path(3), Self.seal(text))
        let found = try open()
        #expect(found.failures == [])
        #expect(
            found.collection("shop")?.tables(at: 2) == repository.collection("shop")?.tables(at: 2))
    }

    @Test func `A newer format and an unknown kind of entry are refused`() throws {
        let text = json(3)
        disk.put(path(3), Self.seal(text.replacing("{\"format\":1", with: "{\"format\":2")))
        try expectRefused(3, "format 2", .unsupported)
        disk.put(path(3), Self.seal(text.replacing("\"kind\":\"point\"", with: "\"kind\":\"pin\"")))
        try expectRefused(3, "unknown kind", .unsupported)
    }

    @Test(arguments: [
        ("\"parent\":1", "\"parent\":2"), ("\"sequence\":2", "\"sequence\":1"),
        ("\"parentHash\":\"", "\"parentHash\":\"0"), ("\"file\":2", "\"file\":3"),
        ("\"number\":2,\"name\"", "\"number\":1,\"name\""), ("\"length\":3", "\"length\":4"),
        ("\"kind\":\"incremental\"", "\"kind\":\"full\""), (".idx", ".exe"),
        ("\"tables\":", "\"removed\":[9],\"tables\":"), ("\"id\":1", "\"id\":2"),
        ("\"number\":3,\"previous\":\"", "\"number\":3,\"previous\":\"0"),
        ("Z_incremental", "Z_incremental\\ud800"), ("\"key\":[5]", "\"key\":[6]"),
        ("\"type\":\"Int64\"", "\"type\":\"Int65\""), ("\"rows\":2,", "\"rows\":-2,"),
        ("\"isReset\":false", "\"isReset\":0"),
        ("\"bytes\":3", "\"bytes\":9007199254740993"), ("\"rows\":2,", "\"rows\":\(UInt64.max),"),
        ("\"updated\":2", "\"updated\":\(UInt64.max)"), ("\"csv\":200", "\"csv\":\(UInt64.max)"),
        ("\"operation\":17", "\"operation\":\(UInt64.max)"), ("\"cut\":1", "\"cut\":991"),
        ("\"sequence\":2", "\"sequence\":\(UInt64.max)"), ("\"csv\":1", "\"csv\":-1"),
        ("\"number\":2,\"name\"", "\"number\":\(UInt64.max),\"name\""),
        ("\"time\":1", "\"time\":991"),
        ("\"nextColumnID\":7", "\"nextColumnID\":\(UInt32.max)"),
        ("Z_incremental", "Z/incremental"), ("Z_incremental", "\\u0007"),
        (
            "\"tables\":",
            "\"later\":\(String(repeating: "[", count: 100))\(String(repeating: "]", count: 100)),\"tables\":"
        ),
    ])
    func `An entry that can't be true is refused`(_ old: String, _ new: String) throws {
        let text = json(3)
        let range = try #require(text.range(of: old))
        disk.put(path(3), Self.seal(text.replacingCharacters(in: range, with: new)))
        try expectRefused(3, "\(new)")
    }

    @Test func `Entries are JSON that others read`() throws {
        struct Entry: Decodable {
            struct Point: Decodable {
                struct Table: Decodable {
                    var path: String
                    var sql: String
                    var sizes: [String: UInt64]
                }
                var tables: [Table]
            }
            var point: Point
            var sha256: String
        }
        let bytes = disk.files()[path(2)]!
        let entry = try JSONDecoder().decode(Entry.self, from: Data(bytes))
        let record = repository.collection("shop")!.tables(at: 1)[0]
        #expect(entry.point.tables[0].sql == record.sql)
        #expect(entry.point.tables[0].sizes == record.sizes)
        #expect(entry.sha256 == repository.collection("shop")!.points[0].hash)
        let own = """
            {"columns": [{"id": 1, "name": "id", "type": "Int64", "isLiteral": false},
            {"id": 2, "name": "price", "type": "Double", "isLiteral": false},
            {"id": 4, "name": "näme \\"q\\" \\u0001\\n\\\\", "type": "Utf8", "isLiteral": true},
            {"id": 5, "name": "d", "type": "Decimal(22,9)", "isLiteral": false},
            {"id": 6, "name": "new", "type": "Uint8", "isLiteral": false, "standIn": "0x01000000"},
            {"id": 1000003, "name": "__ydbfs_rowid", "type": "Int64", "isLiteral": false,
            "isHidden": true}], "key": [5], "primaryKey": [0, 1]}
            """
        let all = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        let point = all?["point"] as? [String: Any]
        let stored = (point?["tables"] as? [[String: Any]])?[0]["schema"]
        let expected = try JSONSerialization.jsonObject(with: Data(own.utf8)) as? NSDictionary
        #expect(try #require(stored as? NSDictionary) == #require(expected))
    }

    @Test func `A repository of another format, or garbled, is refused`() throws {
        let path = "/r/repository.json"
        let sealed = disk.files()[path]!
        let text = String(decoding: sealed.dropLast(77), as: UTF8.self) + "}"
        func with(_ old: String, _ new: String) -> [UInt8] {
            Self.seal(text.replacing(old, with: new))
        }
        // Format 1 had no checksum.
        let draft = "{\"format\":1,\"id\":\"\(repository.id)\"}"
        var bad: [([UInt8], Failure.Code, String)] = [
            ([], .corrupt, "cut off"), (Array("{}".utf8), .corrupt, "cut off"),
            (with("\"format\":2", "\"format\":3"), .unsupported, "newer version"),
            (Array(draft.utf8), .unsupported, "draft"),
            (with("\"format\":2", "\"format\":1"), .unsupported, "draft"),
            (with(repository.id, "../../etc"), .corrupt, "id"),
            (with("{", "{\"nameSecret\":\"\(repository.id)\","), .corrupt, "nameSecret"),
        ]
        for length in 0..<sealed.count {
            bad.append((Array(sealed.prefix(length)), .corrupt, "cut"))
        }
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1 << UInt8(index % 8)
            bad.append((changed, .corrupt, "changed"))
        }
        for (bytes, code, words) in bad {
            disk.put(path, bytes)
            let failure = #expect(throws: Failure.self, "\(bytes)") { try open() }
            #expect(failure?.code == code, "\(bytes)")
            #expect(failure?.message.hasPrefix(path) == true && failure!.message.contains(words))
            // Never taken for one that isn't there yet.
            #expect(throws: Failure.self, "\(bytes)") {
                try Repository.create(DirectoryStorage("/r", calls: disk))
            }
        }
        disk.put(path, with("{", "{\"later\":[true],"))
        #expect(try open().id == repository.id)
        disk.put(path, nil)
        let missing = #expect(throws: Failure.self) { try open() }
        #expect(missing?.code == .corrupt && missing?.message.contains("is missing") == true)
        #expect(throws: missing!) { try Repository.create(DirectoryStorage("/r", calls: disk)) }
        let none = #expect(throws: Failure.self) {
            try Repository.open(DirectoryStorage("/nowhere", calls: disk))
        }
        #expect(none?.code == .notFound)
    }

    @Test func `A name secret is what collections' names are hashed with`() throws {
        let secret = String(repeating: "5a", count: 32)
        let id = repository.id
        let text = "{\"format\":2,\"id\":\"\(id)\",\"nameSecret\":\"\(secret)\"}"
        disk.put("/r/repository.json", Self.seal(text))
        for name in disk.files().keys where name.contains("/log/") { disk.put(name, nil) }
        let code = HMAC<SHA256>.authenticationCode(
            for: Data("shop".utf8), using: SymmetricKey(data: Data(secret.utf8)))
        let own = code.prefix(16).map { String(format: "%02x", $0) }.joined()
        #expect(try open().collectionID("shop") == own)
        #expect(own != repository.collectionID("shop"))
    }
}
