import Bytes
import FoundationEssentials

/// What a point's entry keeps about the database as a whole.
struct DatabaseState: Codable {
    var file: FileIdentity
    var pageSize: Int64
    var schemaVersion: Int64
    /// Of the database's `_ydbfs_meta`, and of the cut; nil if nothing was written for this cut.
    var uuid: String?
    var nonce: String?
}

/// What a point's entry keeps about a captured table.
struct TableState: Codable {
    /// Number of the log.
    var log: Int
    /// The log's own random id: another log may get the same number.
    var epoch: String
    /// The last key of the log inside the snapshot: later ones are changes since.
    var seq: Int64
    /// Hash of the statements that define the table.
    var definition: String
}

/// The table `_ydbfs_meta(k, v)` of a database with change capture:
/// ```
/// uuid               32 hexadecimal digits, new with the table
/// log/N              {"table":…,"epoch":…}
/// collection/NAME    {"logs":[N,…],"attempt":{"nonce":…,"seqs":{"N":…}},"committed":{…}}
/// ```
struct CaptureMeta {
    struct Log: Codable {
        var table: String
        var epoch: String
    }

    /// The markers that a cut wrote to its logs.
    struct Mark: Codable {
        var nonce: String
        var seqs: [String: Int64]
    }

    struct Interest: Codable {
        var logs: [Int]
        /// The latest cut, of which it isn't known whether it became a point.
        var attempt: Mark?
        /// The cut of the newest point.
        var committed: Mark?
    }

    static let create =
        "CREATE TABLE _ydbfs_meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) WITHOUT ROWID"

    var uuid: String
    var logs: [Int: Log] = [:]
    var collections: [String: Interest] = [:]

    /// nil if the database has no capture.
    init?(_ connection: Connection) throws {
        let exists = """
            SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_ydbfs_meta'
            """
        guard try connection.integer(exists) != nil else { return nil }
        uuid = ""
        for (key, value) in try connection.rows(
            "SELECT k, v FROM main._ydbfs_meta", { ($0.text(0), $0.text(1)) })
        {
            if key == "uuid" {
                uuid = value
            } else if key.hasPrefix("log/"), let number = Int(key.dropFirst(4)) {
                logs[number] = try? fromJSON(value)
            } else if key.hasPrefix("collection/") {
                collections[String(key.dropFirst(11))] = try? fromJSON(value)
            }
        }
    }

    init(uuid: String) { self.uuid = uuid }

    func number(of table: String) -> Int? {
        logs.filter { $0.value.table.utf8.elementsEqual(table.utf8) }.keys.min()
    }

    /// Writes everything anew, within the caller's transaction.
    func write(to connection: Connection) throws {
        var rows = [("uuid", uuid)]
        for (number, log) in logs { rows.append(("log/\(number)", try toJSON(log))) }
        for (name, interest) in collections {
            rows.append(("collection/\(name)", try toJSON(interest)))
        }
        try connection.execute("DELETE FROM main._ydbfs_meta")
        try connection.sync { _ in
            let insert = try connection.prepare("INSERT INTO main._ydbfs_meta VALUES(?1, ?2)")
            for (key, value) in rows {
                insert.bind(1, key)
                insert.bind(2, value)
                _ = try insert.step()
                insert.reset()
            }
        }
    }

    /// Forgets markers that aren't in the log any more, before a new one may get the number of one of
    /// them: somebody emptied the log, and the collections that counted on it will scan.
    mutating func giveUpLostMarkers(of log: Int, _ connection: Connection) throws {
        let name = CapturePlan.logName(log)
        for collection in collections.keys {
            for part in [\Interest.attempt, \Interest.committed] {
                guard let seq = collections[collection]?[keyPath: part]?.seqs["\(log)"] else {
                    continue
                }
                let sql = "SELECT 1 FROM main.\(name) WHERE seq = \(seq) AND k1 IS NULL"
                if try connection.integer(sql) == nil {
                    collections[collection]?[keyPath: part]?.seqs["\(log)"] = nil
                }
            }
        }
    }

    /// Below this, no collection needs the log any more.
    ///
    /// - Parameter limit: markers that lie further back than this many keys are given up: the
    ///   collection, which took no backup for long, will scan.
    mutating func lowestMarker(of log: Int, limit: Int64) -> Int64? {
        func marks(_ interest: Interest) -> [Int64] {
            [interest.attempt, interest.committed].compactMap { $0?.seqs["\(log)"] }
        }
        guard let newest = collections.values.flatMap(marks).max() else { return nil }
        for name in collections.keys {
            for part in [\Interest.attempt, \Interest.committed] {
                if let seq = collections[name]?[keyPath: part]?.seqs["\(log)"], seq < newest - limit
                {
                    collections[name]?[keyPath: part]?.seqs["\(log)"] = nil
                }
            }
        }
        return collections.values.flatMap(marks).min()
    }
}

func toJSON(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}

func fromJSON<T: Decodable>(_ text: String) throws -> T {
    try JSONDecoder().decode(T.self, from: Data(text.utf8))
}

/// 128 random bits in hexadecimal digits.
func randomID() -> String {
    [UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max)].map {
        let digits = String($0, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
}
