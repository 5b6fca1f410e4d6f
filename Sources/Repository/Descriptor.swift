import Bytes
import Crypto

/// What `repository.json` says, written once when the repository is made:
/// ```
/// {"format":2,"id":"…","nameSecret":"…","sha256":"…"}
/// ```
/// `sha256` closes it as it closes an entry of a log. `nameSecret` is optional.
struct Descriptor: Sendable, Equatable {
    static let name = "repository.json"
    /// Format 1 was a draft: without checksum, and with row files among the indexes.
    static let format = 2

    /// 32 hexadecimal digits, random.
    var id: String
    /// 64 hexadecimal digits, random: what the ids of collections are keyed by, so that whoever sees
    /// only names of objects can't try names of collections. Nil: they are keyed by `id`.
    var nameSecret: String?

    /// What to do where there is none, or a damaged one.
    static let wayOut =
        "ydbfs repair --from COPY puts it back from a copy of the repository; without a copy, ydbfs "
        + "repair --new-identity makes another one"

    init() { id = randomHex() }

    func encoded() -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.member("format", Self.format)
            json.member("id", id)
            json.member("nameSecret", nameSecret)
        }
        return Trailer.sealed(json.bytes).bytes
    }

    /// Throws `.corrupt`, or `.unsupported` for what another version has written.
    init(_ bytes: [UInt8]) throws {
        do {
            _ = try Trailer.check(bytes)
        } catch let failure as Failure {
            if Self.isDraft(bytes) { throw Self.draft }
            throw Failure(
                .corrupt,
                "\(failure.message): \(Self.wayOut)")
        }
        var json = JSONReader(bytes[...])
        let member = try json.members()
        switch try member("format") as Int {
        case Self.format: break
        case ..<Self.format: throw Self.draft
        case let newer:
            throw Failure(
                .unsupported, "format \(newer) is of a newer version of ydbfs: use that one")
        }
        id = try member("id")
        guard isHex(id, count: 32) else { throw Failure(.corrupt, "it has no right id") }
        nameSecret = try member.optional("nameSecret")
        if let nameSecret, !isHex(nameSecret, count: 64) {
            throw Failure(.corrupt, "it has no right nameSecret")
        }
    }

    private static func isDraft(_ bytes: [UInt8]) -> Bool {
        var json = JSONReader(bytes[...])
        guard let member = try? json.members(), (try? json.expectEnd()) != nil else { return false }
        return (try? member("format") as Int) == 1 && (try? member("id") as String) != nil
    }

    private static var draft: Failure {
        Failure(
            .unsupported,
            "format 1 was a draft, which this version of ydbfs doesn't read: restore from it with "
                + "the version that made it; to go on, move the repository away and make a full "
                + "backup")
    }

    /// 128 bits in hexadecimal digits: user names never reach the storage.
    func collectionID(_ name: String) -> String {
        let key = SymmetricKey(data: Array((nameSecret ?? id).utf8))
        var code = HMAC<SHA256>(key: key)
        code.update(data: Array(name.utf8))
        return hexText(code.finalize().prefix(16))
    }
}
