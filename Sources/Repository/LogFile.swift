import Bytes
import Crypto

/// One file of a collection's log:
/// ```
/// {"format":1,"number":42,"previous":"…","time":…,"attempt":"…","kind":"point","point":{…},"sha256":"…"}
/// ```
/// `sha256` is over all bytes before the comma in front of it; `previous` is that of the entry
/// before, so that no entry can be lost, swapped or brought in from elsewhere unnoticed. `attempt`
/// is random, so that no two writers ever make the same bytes.
struct LogFile: Sendable {
    static let format = 1
    /// An entry of a full backup of 100,000 wide tables stays below it.
    static let limitBytes = 1 << 30

    var number: UInt64
    /// Nil in the first entry.
    var previous: String?
    /// Microseconds since 1970 of the attempt: from then on what is dropped or condemned waits.
    var time: Int64
    var entry: LogEntry
    /// The file's own `sha256`.
    var hash = ""

    static func name(_ number: UInt64) -> String { paddedName(number) + ".json" }

    /// The number in a file name that `name` made of one that there can be; nil for any other.
    static func number(_ name: String) -> UInt64? {
        guard name.hasSuffix(".json"), let number = UInt64(name.dropLast(5)),
            number <= Bounds.number, Self.name(number) == name
        else { return nil }
        return number
    }

    // MARK: Bytes

    /// Throws `.unsupported` if nobody could read the entry.
    func encoded() throws(Failure) -> (bytes: [UInt8], hash: String) {
        var json = JSONWriter()
        json.object { json in
            json.member("format", Self.format)
            json.member("number", number)
            json.member("previous", previous)
            json.member("time", time)
            json.member("attempt", randomHex())
            switch entry {
            case .define(let definition): json.action("define", definition)
            case .point(let record): json.action("point", record)
            case .drop: json.member("kind", "drop")
            case .dropPoints(let points): json.action("dropPoints", points)
            case .undropPoints(let points): json.action("undropPoints", points)
            case .pinPoints(let points): json.action("pinPoints", points)
            case .unpinPoints(let points): json.action("unpinPoints", points)
            case .condemn(let condemned): json.action("condemn", condemned)
            case .catalog(let reference): json.action("catalog", reference)
            case .lost(let lost): json.action("lost", lost)
            }
        }
        guard json.bytes.count < Self.limitBytes - Trailer.count else {
            throw Failure(
                .unsupported,
                "an entry of \(json.bytes.count) bytes is longer than entries can be: put the tables "
                    + "into several collections")
        }
        return Trailer.sealed(json.bytes)
    }

    /// Throws `.corrupt`, or `.unsupported` for what a newer version has written.
    init(_ bytes: [UInt8], shared: SharedValues) throws {
        hash = try Trailer.check(bytes)
        var format: Int?
        var number: UInt64?
        var previous: String?
        var time: Int64?
        var kind: String?
        var definition: CollectionDefinition?
        var point: PointRecord?
        var points: [UInt64]?
        var condemned: Condemnation?
        var catalog: CatalogReference?
        var lost: LostEntry?
        var json = JSONReader(bytes[...], shared: shared)
        try json.object { key, json in
            switch key {
            case "format":
                format = try json.integer(Int.self)
                if format != Self.format { throw Self.newer("format \(format ?? 0)") }
            case "number": number = try json.integer(UInt64.self)
            case "previous": previous = try json.string()
            case "time": time = try json.integer(Int64.self)
            case "kind": kind = try json.string()
            case "define": definition = try CollectionDefinition(json: &json)
            case "point": point = try PointRecord(json: &json)
            case "dropPoints", "undropPoints", "pinPoints", "unpinPoints":
                points = try json.array(of: UInt64.self)
            case "condemn": condemned = try Condemnation(json: &json)
            case "catalog": catalog = try CatalogReference(json: &json)
            case "lost": lost = try LostEntry(json: &json)
            default: try json.skip()
            }
        }
        try json.expectEnd()
        _ = try json.required(format, key: "format")
        self.number = try json.required(number, key: "number")
        self.previous = previous
        self.time = try json.required(time, key: "time")
        switch try json.required(kind, key: "kind") {
        case "define": entry = .define(try json.required(definition, key: "define"))
        case "point": entry = .point(try json.required(point, key: "point"))
        case "drop": entry = .drop
        case "dropPoints": entry = .dropPoints(try json.required(points, key: "dropPoints"))
        case "undropPoints": entry = .undropPoints(try json.required(points, key: "undropPoints"))
        case "pinPoints": entry = .pinPoints(try json.required(points, key: "pinPoints"))
        case "unpinPoints": entry = .unpinPoints(try json.required(points, key: "unpinPoints"))
        case "condemn": entry = .condemn(try json.required(condemned, key: "condemn"))
        case "catalog": entry = .catalog(try json.required(catalog, key: "catalog"))
        case "lost": entry = .lost(try json.required(lost, key: "lost"))
        // An entry that can't be acted on must not be passed over.
        case let unknown: throw Self.newer("an entry of kind \(Bounds.quoted(unknown))")
        }
    }

    init(number: UInt64, previous: String?, time: Int64, entry: LogEntry) {
        self.number = number
        self.previous = previous
        self.time = time
        self.entry = entry
    }

    private static func newer(_ what: String) -> Failure {
        Failure(.unsupported, "\(what) is of a newer version of ydbfs: use that one")
    }
}

extension JSONWriter {
    fileprivate mutating func action(_ kind: String, _ value: some JSONValue) {
        member("kind", kind)
        member(kind, value)
    }
}

/// The last 77 bytes of a small object: `,"sha256":"…"}`, the hash of all before them.
enum Trailer {
    static let count = 77

    static func ending(_ hash: String) -> [UInt8] {
        Array(",\"sha256\":\"\(hash)\"}".utf8)
    }

    /// An object's JSON with the trailer in place of its closing brace.
    static func sealed(_ object: [UInt8]) -> (bytes: [UInt8], hash: String) {
        let body = object.dropLast()
        let hash = sha256(body)
        return (Array(body) + ending(hash), hash)
    }

    /// Returns the hash, or throws `.corrupt`.
    static func check(_ bytes: [UInt8]) throws -> String {
        guard bytes.count > count else { throw Failure(.corrupt, "it is cut off") }
        let body = bytes.dropLast(count)
        let hash = sha256(body)
        guard bytes.suffix(count).elementsEqual(ending(hash)) else {
            throw Failure(.corrupt, "it is cut off or changed: its SHA-256 doesn't match")
        }
        return hash
    }

    private static func sha256(_ bytes: ArraySlice<UInt8>) -> String {
        var hasher = SHA256()
        bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        return hexText(hasher.finalize())
    }
}

/// Lower-case hexadecimal digits of bytes.
func hexText(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// At least ten digits: names that sort as their numbers do.
func paddedName(_ number: UInt64) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 10 - digits.count)) + digits
}
