/// Where data files lie below a repository's location: row files in a folder for each table, indexes
/// and catalogs together.
/// ```
/// tables/CID/TID/NAME.parquet
/// collections/CID/data/NAME.idx, NAME.cat
/// ```
/// In a collection a file goes by its *place*, `TID/NAME.parquet` or `NAME.idx`: the log names files
/// that are about to go so.
enum FilePlace {
    /// The kind that a well-formed place says; nil for any other text.
    static func kind(_ place: String) -> DataFileKind? {
        guard let slash = place.firstIndex(of: "/") else {
            return DataFileKind(name: place).flatMap { $0 == .parquet ? nil : $0 }
        }
        guard isHex(place[..<slash], count: 32) else { return nil }
        let kind = DataFileKind(name: String(place[place.index(after: slash)...]))
        return kind == .parquet ? kind : nil
    }

    /// The `tid` of the table that a place is a folder of; nil for other files.
    static func table(_ place: String) -> Substring? {
        place.firstIndex(of: "/").map { place[..<$0] }
    }

    /// The object's name.
    static func object(_ place: String, of collection: String) -> String {
        place.contains("/")
            ? "\(tables(of: collection))/\(place)" : "\(indexes(of: collection))/\(place)"
    }

    /// What collections' folders of tables lie in.
    static let tables = "tables"

    /// Folders of tables.
    static func tables(of collection: String) -> String { "\(tables)/\(collection)" }

    static func indexes(of collection: String) -> String { "collections/\(collection)/data" }
}

extension FileReference {
    /// See `FilePlace`.
    package var place: String { table.map { "\($0)/\(name)" } ?? name }
}
