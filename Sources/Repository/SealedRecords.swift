import Bytes

/// Small records: JSON that its own hash closes (`Trailer`), so that what is cut off or changed is told
/// from what was written.
extension JSONValue {
    var sealed: [UInt8] {
        var json = JSONWriter()
        write(json: &json)
        return Trailer.sealed(json.bytes).bytes
    }

    /// Throws `.corrupt`.
    init(sealed bytes: [UInt8]) throws {
        _ = try Trailer.check(bytes)
        var json = JSONReader(bytes[...])
        try self.init(json: &json)
    }
}

extension Storage {
    /// Nil if there is none; what is wrong with one names it.
    func record<T: JSONValue>(_ name: String, limit: Int) throws -> T? {
        guard let bytes = try read(name, limit: limit) else { return nil }
        do {
            return try T(sealed: bytes)
        } catch let failure as Failure {
            throw Failure(failure.code, "\(location)/\(name): \(failure.message)")
        }
    }

    /// Puts a record in the place of the one of this name: one that may be lost at any time.
    func replace(_ name: String, with record: some JSONValue) throws {
        let writer = try replace(name)
        try record.sealed.withUnsafeBytes { try writer.append($0) }
        try writer.finish()
    }

    /// Numbers of the records in a directory, in order. Files of strangers have none.
    func numbers(in directory: String) throws -> [UInt64] {
        try list(directory).compactMap(LogFile.number).sorted()
    }

    /// Adds a record under a number behind all that are there, those included that can't be read.
    @discardableResult
    func add(_ record: some JSONValue, to directory: String) throws -> UInt64 {
        let bytes = record.sealed
        var number = (try numbers(in: directory).last ?? 0) + 1
        while try !publish(bytes, as: "\(directory)/\(LogFile.name(number))") { number += 1 }
        return number
    }
}
