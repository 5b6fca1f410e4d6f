import Bytes

/// A file whose bytes are known by parts before any is made: what readers and prefetching need to know of
/// it, whatever it is made of.
package protocol PartedFile: Sendable {
    /// The part that holds byte `offset`; nil at the end.
    func part(at offset: UInt64) throws -> FilePart?

    /// The bytes of a part: rendered now, or by somebody else just before.
    ///
    /// - Parameter isSequential: whether the parts behind it will be asked for as well.
    func render(_ part: FilePart, isSequential: Bool) throws -> ByteBuffer

    /// The bytes of a long part, piece by piece.
    func open(_ part: FilePart) throws -> any PartStream

    /// A sequential reader is about to read this part.
    func willRead(_ part: FilePart) throws

    /// True if the part is in the cache, or somebody is rendering it.
    func isRendered(_ part: FilePart) -> Bool

    /// Drops a part from the cache.
    func forget(_ part: FilePart)
}

/// A file of a table at a point: parts that follow one another without gaps, each rendered on its
/// own. Where they lie is known without rendering any. Safe for concurrent use.
package protocol RenderedFile: PartedFile {
    var snapshot: Snapshot { get }

    /// Which slice follows the one that a page is of, and which of its columns.
    func next(after page: FilePart) throws -> (slice: SlicePlace, columns: [Column])?

    /// What the cache knows a part by; nil if it isn't kept there.
    func key(_ part: FilePart) -> SharedCache.Key?
}

extension RenderedFile {
    /// Where the part is the first of a slice, all that is
    /// stored of the slice and of the next one is fetched at once; in the middle, what edits show of
    /// the next is gathered, so that nobody waits for it.
    package func willRead(_ part: FilePart) throws {
        guard case .page(let place, let page, let column) = part.place else { return }
        if page == 0, column == 0 {
            for place in [place, try snapshot.place(after: place)] {
                if let place { try snapshot.pool.willNeed(snapshot.bareSlice(place)) }
            }
        }
        guard try page == snapshot.slice(place).slice.pages.count / 2,
            let (place, columns) = try next(after: part)
        else { return }
        let slice = try snapshot.slice(place)
        guard slice.sums.edits > 0, let rows = try snapshot.pool.editedRows(slice) else { return }
        for column in columns { _ = try rows.column(column, snapshot.pool) }
    }

    package func isRendered(_ part: FilePart) -> Bool {
        key(part).map { snapshot.pool.cache.contains($0) } ?? true
    }

    package func forget(_ part: FilePart) {
        if let key = key(part) { snapshot.pool.cache.forget(key) }
    }
}

package struct FilePart: Sendable, Hashable {
    enum Place: Sendable, Hashable {
        case begin
        /// A rendered page of all columns, or of the one given.
        case page(SlicePlace, page: Int, column: Int)
        case end
    }

    var place: Place
    /// Where it lies in the file.
    package var offset: UInt64
    package var bytes: UInt64
}

extension Snapshot {
    /// Exact bytes of the table's files in each format.
    package func sizes() throws -> [String: UInt64] {
        let root = try root()
        return RowFormat.sizes(root.sums, schema, lacking: root.lacking)
    }

    private static var largestPage: UInt64 { 1 << 30 }

    /// Renders a page of `bytes` bytes of a slice with `body`, or waits for who is at it. `room` is
    /// what `body` needs besides.
    func renderedPage(
        _ key: SharedCache.Key, of place: SlicePlace, bytes: UInt64, room: Int = 0,
        _ body: (DecodedSlice, ByteBuffer) throws -> Void
    ) throws -> ByteBuffer {
        try pool.cache.value(key) {
            let decoded = try slice(place)
            // The number may be wrong: more is taken as it is needed.
            let output = ByteBuffer(capacity: Int(min(bytes, Self.largestPage)) + room)
            pool.count { $0.pagesRendered += 1 }
            try body(decoded, output)
            guard UInt64(output.count) == bytes else {
                let file = decoded.slice.file
                let name = file == 0 ? "a run" : try pool.rowFile(file).name
                throw Failure(
                    .corrupt,
                    "\(name): a page has \(output.count) bytes where \(bytes) are recorded")
            }
            return (output, bytes: output.capacity + 256)
        }
    }
}
