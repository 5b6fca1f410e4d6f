import Bytes
import Crypto

/// Mending data files by a copy of the repository.
extension Repository {
    /// What there is to do about data files that are missing or aren't what the log says.
    ///
    /// - Parameter progress: hears of the bytes that were read; may throw.
    package func repairFiles(
        of state: CollectionState, from copy: (any Storage)?, progress: (Int) throws -> Void
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        for reference in state.presentFiles {
            do {
                try file(reference, of: state).verify(progress: progress)
            } catch let failure as Failure where failure.code == .corrupt {
                let object = FilePlace.object(reference.place, of: state.id)
                if let copy, try Self.has(copy, object, reference) {
                    plan.steps.append(
                        RepairStep("\(failure.fault): it is put back from \(copy.location)") {
                            try self.putBack(object, from: copy)
                        })
                } else {
                    plan.hopeless.append(
                        "\(failure.fault), and no copy has it: ydbfs verify names the points that it "
                            + "harms; a full backup of \(state.name) needs nothing older")
                }
            }
        }
        return plan
    }

    private static let pieceBytes = 1 << 20

    /// Whether the copy has the very bytes that the log tells of.
    private static func has(
        _ copy: any Storage, _ name: String, _ reference: FileReference
    ) throws -> Bool {
        do {
            guard let object = try copy.open(name), try object.sizeBytes == reference.bytes else {
                return false
            }
            var hasher = SHA256()
            try forEachPiece(of: object) { hasher.update(bufferPointer: $0) }
            return hexText(hasher.finalize()) == reference.sha256
        } catch let failure as Failure where failure.code == .corrupt {
            // Something else lies there.
            return false
        }
    }

    private func putBack(_ name: String, from copy: any Storage) throws {
        guard let object = try copy.open(name) else {
            throw Failure(.notFound, "\(copy.location)/\(name) is gone")
        }
        // Beside it first: what is damaged may still have rows that read, and the disk may be full.
        let beside = name + ".copied"
        try storage.remove(beside)
        do {
            let batch = storage.beginBatch()
            let writer = try batch.create(beside)
            try Self.forEachPiece(of: object) { try writer.append($0) }
            try writer.finish()
            try batch.settle()
        } catch {
            try? storage.remove(beside)
            throw error
        }
        if try storage.isTaken(name) { _ = try storage.setAside(name) }
        try storage.move(beside, to: name)
    }

    private static func forEachPiece(
        of object: any StoredObject, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
        defer { buffer.deallocate() }
        var offset: UInt64 = 0
        while true {
            let count = try object.read(at: offset, into: buffer)
            if count == 0 { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += UInt64(count)
        }
    }
}
