import Bytes
import Glibc

/// The little that is asked of the file system, with errors that name the file.
enum DumpFiles {
    struct Status {
        var isDirectory: Bool
        var isFile: Bool
        var bytes: Int64
        /// Nanoseconds since 1970, wrapped where they are too many.
        var modified: Int64
    }

    /// Symlinks are followed; nil if nothing is there.
    static func status(_ path: String) throws(Failure) -> Status? {
        var found = stat()
        if Bytes.stat(path, &found) != 0 {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw Failure("can't look at \(path)")
        }
        let kind = found.st_mode & S_IFMT
        return Status(
            isDirectory: kind == S_IFDIR, isFile: kind == S_IFREG, bytes: Int64(found.st_size),
            modified: Int64(found.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(found.st_mtim.tv_nsec))
    }

    static func exists(_ path: String) throws(Failure) -> Bool { try status(path) != nil }

    /// What a directory holds, in byte order, without `.` and `..`.
    static func names(in directory: String) throws(Failure) -> [String] {
        let names = try PathText.names(inDirectory: directory)
        if let odd = names.first(where: PathText.isOdd) {
            throw Failure(.corrupt, "\(directory) holds a name that is no UTF-8: \(odd)")
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

/// The lines of a table's data files, one after another.
final class DumpLines {
    private var files: ArraySlice<DumpFile>
    private var input: (any ByteInput)?
    /// The file and the number of the present line.
    private(set) var file = ""
    private(set) var line = 0
    /// Holds the present line.
    private(set) var bytes: [UInt8] = []
    /// Where the line behind the present one begins.
    private var next = 0

    private static let readBytes = 1 << 18
    /// A row has at most 8 MB in YDB, its text three times that.
    private static let maxLineBytes = 128 << 20

    init(_ files: [DumpFile]) { self.files = files[...] }

    var place: String { "\(file):\(line)" }

    /// Where in `bytes` the next line lies, without its LF; nil at the end.
    func nextLine() throws(Failure) -> Range<Int>? {
        var searched = next
        while true {
            if let end = end(from: searched) {
                defer { next = end + 1 }
                line += 1
                return next..<end
            }
            searched = bytes.count
            if let input {
                if next > 0 {
                    searched -= next
                    bytes.removeFirst(next)
                    next = 0
                }
                guard bytes.count <= Self.maxLineBytes else {
                    throw Failure(.corrupt, "\(file):\(line + 1): the line is too long")
                }
                if try input.read(into: &bytes, atMost: Self.readBytes) { continue }
                guard bytes.isEmpty else {
                    throw Failure(
                        .corrupt, "\(file):\(line + 1): the file ends within a line: it is cut off")
                }
            }
            guard let next = files.popFirst() else {
                input = nil
                return nil
            }
            input = try next.open()
            (file, line, self.next, searched) = (next.path, 0, 0, 0)
            bytes.reserveCapacity(2 * Self.readBytes)
        }
    }

    private func end(from start: Int) -> Int? {
        let bytes = bytes
        let span = bytes.span
        var place = start
        while place < span.count {
            if span[place] == UInt8(ascii: "\n") { return place }
            place += 1
        }
        return nil
    }
}
