/// What CREATE and ALTER have made of a collection: stored in its log, shown as `collection.sql`.
package struct CollectionSpecification: Sendable, Hashable, Codable {
    package enum Members: Sendable, Hashable {
        /// Every ordinary table that exists at each cut.
        case database
        case tables([String])
    }

    package var name: String
    package var members: Members
    package var settings: CollectionSettings

    package init(name: String, members: Members, settings: CollectionSettings) {
        self.name = name
        self.members = members
        self.settings = settings
        self.settings.fillInStorage()
    }

    package init(name: String, _ create: Statement.Create) {
        let members: Members =
            switch create.members {
            case .database: .database
            case .tables(let tables): .tables(tables.map(\.value))
            }
        self.init(name: name, members: members, settings: create.settings.values)
    }

    /// The statement that defines it, in several lines and with a final newline. YDB takes it as
    /// long as the settings are YDB's.
    package var sql: String {
        var text = "CREATE BACKUP COLLECTION \(quotedName(name))\n"
        switch members {
        case .database: text += "    DATABASE\n"
        case .tables(let tables):
            let list = tables.map { "TABLE \(quotedName($0))" }.joined(separator: "\n    , ")
            text += "    ( \(list)\n    )\n"
        }
        let list = settings.keys.map { key in
            "\(key.keyword) = \(quotedValue(settings.text(of: key) ?? ""))"
        }
        return text + "WITH\n    ( \(list.joined(separator: "\n    , "))\n    );\n"
    }

    private enum CodingKeys: String, CodingKey { case name, database, tables, settings }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        switch members {
        case .database: try container.encode(true, forKey: .database)
        case .tables(let tables): try container.encode(tables, forKey: .tables)
        }
        try container.encode(settings, forKey: .settings)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let isDatabase = try container.decodeIfPresent(Bool.self, forKey: .database) ?? false
        self.init(
            name: try container.decode(String.self, forKey: .name),
            members: isDatabase
                ? .database : .tables(try container.decode([String].self, forKey: .tables)),
            settings: try container.decode(CollectionSettings.self, forKey: .settings))
    }
}

/// `text` as a name in statements: always in back-quotes, since any word may be a keyword of YQL.
package func quotedName(_ text: String) -> String { quoted(text, by: "`") }

/// `text` as a value in statements.
package func quotedValue(_ text: String) -> String { quoted(text, by: "'") }

private func quoted(_ text: String, by quote: Unicode.Scalar) -> String {
    var result = String.UnicodeScalarView()
    result.append(quote)
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n": result.append(contentsOf: "\\n".unicodeScalars)
        case "\r": result.append(contentsOf: "\\r".unicodeScalars)
        case "\t": result.append(contentsOf: "\\t".unicodeScalars)
        case "\\", quote:
            result.append("\\")
            result.append(scalar)
        case _ where scalar.value < 0x20 || scalar.value == 0x7F:
            let digits = String(scalar.value, radix: 16)
            let padded = String(repeating: "0", count: 2 - digits.utf8.count) + digits
            result.append(contentsOf: "\\x\(padded)".unicodeScalars)
        default: result.append(scalar)
        }
    }
    result.append(quote)
    return String(result)
}
