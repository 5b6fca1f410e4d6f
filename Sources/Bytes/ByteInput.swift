import Glibc

/// Bytes that are read from the beginning to the end.
package protocol ByteInput: AnyObject {
    /// Appends what comes next, at most so many bytes; false at the end.
    func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool
}

/// A file as it is stored.
package final class FileInput: ByteInput {
    private let path: String
    private let descriptor: Int32

    /// - Parameters:
    ///   - descriptor: of the file, open for reading; closed with this.
    ///   - path: for messages.
    package init(_ descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { close(descriptor) }

    package func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        var result = 0
        let part = [UInt8](unsafeUninitializedCapacity: count) { room, initialized in
            repeat {
                result = Glibc.read(descriptor, room.baseAddress, count)
            } while result < 0 && errno == EINTR
            initialized = max(result, 0)
        }
        guard result >= 0 else { throw Failure("can't read \(path)") }
        bytes += part
        return result > 0
    }
}

/// Undoes a compression of parts that come piece by piece, one behind the other, as they lie in files of
/// others.
package protocol UnpackingStream: AnyObject {
    /// What the parts are called: `zstd frame`.
    var part: String { get }
    /// A part has begun and hasn't ended yet.
    var isWithinPart: Bool { get }
    /// There is more to give out without any more input.
    var hasMore: Bool { get }

    /// Appends at most `count` bytes; answers how many bytes of the input were used up. The input may
    /// only be empty if there is more.
    ///
    /// - Throws: what is wrong with parts that are damaged.
    func unpack(
        _ input: UnsafeRawBufferPointer, into output: inout [UInt8], atMost count: Int
    ) throws(Failure) -> Int
}

/// What compressed parts hold, one behind the other.
package final class UnpackedInput: ByteInput {
    private let input: any ByteInput
    private let path: String
    private let stream: any UnpackingStream
    /// Nothing at all is no part, unless this says that it is right.
    private let mayBeEmpty: Bool
    private var piece: [UInt8] = []
    private var used = 0
    /// Bytes of the input before `piece`.
    private var offset = 0

    private static let pieceBytes = 1 << 17

    package init(
        _ input: any ByteInput, _ path: String, _ stream: any UnpackingStream,
        mayBeEmpty: Bool = false
    ) {
        self.input = input
        self.path = path
        self.stream = stream
        self.mayBeEmpty = mayBeEmpty
    }

    package func read(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Bool {
        let before = bytes.count
        while bytes.count == before {
            if used == piece.count, !stream.hasMore {
                offset += used
                piece.removeAll(keepingCapacity: true)
                used = 0
                guard try input.read(into: &piece, atMost: Self.pieceBytes) else {
                    if offset == 0, !mayBeEmpty {
                        throw Failure(
                            .corrupt, "\(path) is empty: there is no \(stream.part) in it")
                    }
                    if !stream.isWithinPart { return false }
                    throw Failure(
                        .corrupt,
                        "\(path): the file ends within a \(stream.part), after \(offset) bytes: it is "
                            + "cut off")
                }
            }
            used += try unpack(into: &bytes, atMost: count)
        }
        return true
    }

    private func unpack(into bytes: inout [UInt8], atMost count: Int) throws(Failure) -> Int {
        do {
            return try piece.withUnsafeBytes { piece in
                try stream.unpack(
                    UnsafeRawBufferPointer(rebasing: piece[used...]), into: &bytes, atMost: count)
            }
        } catch {
            throw Failure(
                .corrupt, "\(path): byte \(offset + used): the \(stream.part) is damaged: \(error)")
        }
    }
}
