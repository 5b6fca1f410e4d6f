/// Consecutive rows of one of several vectors of a column.
package struct RowPiece: Sendable, Hashable {
    package let source: Int
    package let rows: Range<Int>

    package init(source: Int, rows: Range<Int>) {
        self.source = source
        self.rows = rows
    }
}

extension PageCodec {
    /// Appends the PLAIN page body of an optional column whose rows lie, piece by piece, in several
    /// vectors of one layout; they are copied once.
    package static func encode(
        _ sources: [ColumnVector], _ pieces: [RowPiece], into output: ByteBuffer
    ) throws(Failure) {
        if pieces.count == 1, pieces[0].rows == 0..<sources[pieces[0].source].count {
            encode(sources[pieces[0].source], optional: true, into: output)
            return
        }
        var hasNulls = false
        for piece in pieces {
            let source = sources[piece.source]
            precondition(piece.rows.lowerBound >= 0 && piece.rows.upperBound <= source.count)
            // Pages of runs have them for deleted rows, which nobody shows.
            if source.nullCount > 0 {
                hasNulls = hasNulls || piece.rows.contains { source.isNull($0) }
            }
        }
        if hasNulls || sources[0].layout == .fixed(1) {
            // Levels and bits don't lie at whole bytes.
            let merged = ColumnVector(sources[0].layout)
            for piece in pieces {
                let source = sources[piece.source]
                guard merged.byteCount + source.byteCount < ColumnVector.maxBytes else {
                    throw Failure(.corrupt, "edits show more bytes than a page can have")
                }
                merged.append(source, rows: piece.rows)
            }
            encode(merged, optional: true, into: output)
            return
        }
        encodeLevels(
            of: pieces.reduce(0) { $0 + $1.rows.count }, present: true, into: output)
        switch sources[0].layout {
        case .fixed(let width): copy(sources, pieces, width: width, into: output)
        case .variable: copyVariable(sources, pieces, into: output)
        }
    }

    private static func copy(
        _ sources: [ColumnVector], _ pieces: [RowPiece], width: Int, into output: ByteBuffer
    ) {
        let bytes = pieces.reduce(0) { $0 + $1.rows.count } * width
        output.append(room: bytes) { room in
            guard var target = room.baseAddress else { return 0 }
            sources.withAddresses { addresses in
                for piece in pieces {
                    let source = addresses[piece.source] + piece.rows.lowerBound * width
                    let count = piece.rows.count * width
                    if count == 8 {
                        target.storeBytes(
                            of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
                    } else {
                        target.copyMemory(from: source, byteCount: count)
                    }
                    target += count
                }
            }
            return bytes
        }
    }

    private static func copyVariable(
        _ sources: [ColumnVector], _ pieces: [RowPiece], into output: ByteBuffer
    ) {
        sources.withAddresses { addresses in
            let starts = sources.map { UnsafeRawPointer($0.marks.base) }
            for piece in pieces where !piece.rows.isEmpty {
                // Values lie one after another, each behind its length.
                func start(_ row: Int) -> Int {
                    Int(starts[piece.source].load(fromByteOffset: row * 4, as: UInt32.self))
                }
                let values = addresses[piece.source]
                let first = start(piece.rows.lowerBound) - 4
                let last = start(piece.rows.upperBound - 1)
                let length = Int((values + last - 4).loadUnaligned(as: UInt32.self))
                output.append(
                    UnsafeRawBufferPointer(start: values + first, count: last + length - first))
            }
        }
    }
}

extension [ColumnVector] {
    /// Where the values of each lie, valid during the call.
    fileprivate func withAddresses<R>(_ body: ([UnsafeRawPointer]) -> R) -> R {
        withExtendedLifetime(self) { body(map(\.address)) }
    }
}
