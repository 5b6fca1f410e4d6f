import Bytes

/// Takes from a Parquet footer what is needed to find pages.
struct FooterParser {
    var groups: [RowFile.RowGroup] = []
    var names: [String] = []
    var fieldIDs: [Int?] = []
    var optional: [Bool] = []
    var metadata: [String: String] = [:]

    mutating func parse(_ footer: ByteBuffer) throws(Failure) {
        var reader = ThriftReader(footer)
        var parser = self
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 2: try reader.list { (reader) throws(Failure) in try parser.element(&reader) }
            case 4: try reader.list { (reader) throws(Failure) in try parser.rowGroup(&reader) }
            case 5: try reader.list { (reader) throws(Failure) in try parser.pair(&reader) }
            default: return false
            }
            return true
        }
        guard !parser.names.isEmpty else { throw Failure(.corrupt, "it has no schema") }
        parser.names.removeFirst()
        parser.fieldIDs.removeFirst()
        parser.optional.removeFirst()
        guard !parser.names.isEmpty,
            parser.groups.allSatisfy({ $0.chunks.count == parser.names.count && $0.rows > 0 })
        else { throw Failure(.corrupt, "its row groups don't fit its schema") }
        self = parser
    }

    private mutating func element(_ reader: inout ThriftReader) throws(Failure) {
        var name = ""
        var fieldID: Int?
        var isOptional = false
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 3: isOptional = try reader.size() == 1
            case 4: name = try reader.text()
            case 9: fieldID = try reader.size()
            default: return false
            }
            return true
        }
        names.append(name)
        fieldIDs.append(fieldID)
        optional.append(isOptional)
    }

    private mutating func pair(_ reader: inout ThriftReader) throws(Failure) {
        var (key, value) = ("", "")
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 1: key = try reader.text()
            case 2: value = try reader.text()
            default: return false
            }
            return true
        }
        metadata[key] = value
    }

    private mutating func rowGroup(_ reader: inout ThriftReader) throws(Failure) {
        var group = RowFile.RowGroup()
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 1:
                try reader.list { (reader) throws(Failure) in
                    group.chunks.append(try Self.chunk(&reader))
                }
            case 3: group.rows = try reader.size()
            default: return false
            }
            return true
        }
        guard group.rows < 1 << 40, groups.count < 1 << 20 else {
            throw Failure(.corrupt, "it has more rows than can be")
        }
        group.firstRow = groups.last.map { $0.firstRow + $0.rows } ?? 0
        groups.append(group)
    }

    private static func chunk(_ reader: inout ThriftReader) throws(Failure) -> RowFile.Chunk {
        var chunk = RowFile.Chunk()
        try reader.structure { (reader, id, _) throws(Failure) in
            switch id {
            case 3:
                try reader.structure { (reader, id, _) throws(Failure) in
                    guard id == 4 else { return false }
                    chunk.codec = try reader.size()
                    return true
                }
            case 4: chunk.indexOffset = try reader.size()
            case 5: chunk.indexLength = try reader.size()
            default: return false
            }
            return true
        }
        return chunk
    }
}
