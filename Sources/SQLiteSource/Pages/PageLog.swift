import Bytes
import Glibc

/// What is kept of each page while a database is looked at: records that are appended once and then
/// read at their offsets, in memory at first, behind a limit in a mapped temporary file without a name.
///
/// A database of 3 million rows of 90 bytes needs 16 MiB (5 bytes a row), and 4 bytes a page for
/// where the page's record begins. However large it is, `memoryBytes` of them are the process's own,
/// and of the file only what was touched last stays mapped in (`relax`).
final class PageLog {
    /// Records don't cross the end of a chunk.
    static let chunkBytes = 1 << 20
    static let maxRecordBytes = chunkBytes
    /// Records begin at multiples of this.
    private static let alignment = 8

    private let memoryChunks: Int
    private var chunks: [UnsafeMutableRawPointer] = []
    private var mapped: MappedFile?
    /// Bytes used of the last chunk.
    private var used = PageLog.chunkBytes
    /// Of each page, where its record begins, in units of `alignment`, plus one; 0: nowhere.
    private let places: PlaceTable

    /// - Parameter memoryBytes: beyond them, chunks lie in the file.
    init(pages: Int, memoryBytes: Int = 8 << 20) throws {
        memoryChunks = max(1, memoryBytes / Self.chunkBytes)
        places = try PlaceTable(count: pages + 1, isMapped: pages * 4 > memoryBytes)
    }

    deinit {
        for chunk in chunks.prefix(memoryChunks) { munmap(chunk, Self.chunkBytes) }
    }

    /// Room for a record of at most so many bytes, the same until `end` is called.
    func begin(_ maxBytes: Int) throws -> UnsafeMutableRawPointer {
        guard maxBytes <= Self.maxRecordBytes else {
            throw Failure(.unsupported, "a page holds more than can be kept of it")
        }
        if used + maxBytes > Self.chunkBytes { try addChunk() }
        return chunks[chunks.count - 1] + used
    }

    /// The record that was begun is complete, and is the page's.
    func end(_ bytes: Int, page: Int) throws {
        let place = ((chunks.count - 1) * Self.chunkBytes + used) / Self.alignment + 1
        guard let place = UInt32(exactly: place) else {
            throw Failure(.unsupported, "the database has more pages than can be kept in mind")
        }
        places[page] = place
        used = (used + bytes + Self.alignment - 1) / Self.alignment * Self.alignment
    }

    /// The page's record; nil if there is none.
    @inline(__always)
    func record(ofPage page: UInt32) -> UnsafeRawPointer? {
        guard page < places.count, places[Int(page)] > 0 else { return nil }
        let offset = Int(places[Int(page)] - 1) * Self.alignment
        return UnsafeRawPointer(chunks[offset / Self.chunkBytes] + offset % Self.chunkBytes)
    }

    /// Lets the system have the memory of what lies in the file; it comes back when it is touched.
    func relax() { mapped?.relax() }

    private func addChunk() throws {
        if chunks.count < memoryChunks {
            let chunk = mmap(
                nil, Self.chunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let chunk, chunk != MAP_FAILED else { throw Failure("can't keep pages in mind") }
            chunks.append(chunk)
        } else {
            let file = try mapped ?? MappedFile()
            mapped = file
            chunks.append(try file.add(Self.chunkBytes))
            // The chunks before are complete.
            if chunks.count % 8 == 0 { file.relax() }
        }
        used = 0
    }

    /// 4 bytes for every page.
    private struct PlaceTable {
        let count: Int
        private let base: UnsafeMutablePointer<UInt32>
        private let memory: ByteBuffer?
        private let file: MappedFile?

        init(count: Int, isMapped: Bool) throws {
            self.count = count
            let bytes = count * MemoryLayout<UInt32>.stride
            if isMapped {
                let file = try MappedFile()
                base = try file.add(bytes).assumingMemoryBound(to: UInt32.self)
                (memory, self.file) = (nil, file)
            } else {
                let memory = ByteBuffer(capacity: bytes)
                memory.append(byte: 0, repeated: bytes)
                base = memory.base.assumingMemoryBound(to: UInt32.self)
                (self.memory, file) = (memory, nil)
            }
        }

        subscript(page: Int) -> UInt32 {
            get { base[page] }
            nonmutating set {
                precondition(page >= 0 && page < count)
                base[page] = newValue
            }
        }
    }
}

/// Pieces of a temporary file without a name, mapped into memory.
private final class MappedFile {
    private let descriptor: Int32
    private var pieces: [(start: UnsafeMutableRawPointer, bytes: Int)] = []
    private var size = 0

    init() throws {
        descriptor = try SpillFile.openNameless(in: SpillFile.defaultDirectory)
    }

    deinit {
        for piece in pieces { munmap(piece.start, piece.bytes) }
        close(descriptor)
    }

    /// A new piece, all zero.
    func add(_ bytes: Int) throws -> UnsafeMutableRawPointer {
        // Room is taken now: without, a full disk would be a signal at the first touch.
        let code = posix_fallocate(descriptor, off_t(size), off_t(bytes))
        guard code == 0 else {
            throw Failure(
                "can't keep pages in mind in \(SpillFile.defaultDirectory)",
                errno: Errno(rawValue: code))
        }
        let piece = mmap(
            nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, off_t(size))
        guard let piece, piece != MAP_FAILED else { throw Failure("can't keep pages in mind") }
        size += (bytes + 65535) / 65536 * 65536
        pieces.append((piece, bytes))
        return piece
    }

    func relax() { for piece in pieces { madvise(piece.start, piece.bytes, MADV_DONTNEED) } }
}
