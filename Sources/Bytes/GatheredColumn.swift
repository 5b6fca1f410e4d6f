/// A row to be copied from one vector, and which row of another it becomes.
package struct RowMove: Sendable {
    package let from: UInt32
    package let to: UInt32

    package init(from: Int, to: Int) {
        self.from = UInt32(from)
        self.to = UInt32(to)
    }
}

extension ColumnVector {
    /// A vector of `count` rows that are copied from others of its layout. Rows that no move makes
    /// are zero or empty; none may be made twice.
    package static func gathering(
        _ sources: [(vector: ColumnVector, moves: ArraySlice<RowMove>)], layout: Layout, count: Int
    ) throws(Failure) -> ColumnVector {
        for (vector, moves) in sources {
            precondition(vector.layout == layout)
            precondition(moves.allSatisfy { $0.from < vector.count && $0.to < count })
        }
        switch layout {
        case .fixed(1): return gathering(sources, as: UInt8.self, count)
        case .fixed(4): return gathering(sources, as: UInt32.self, count)
        case .fixed(8): return gathering(sources, as: UInt64.self, count)
        case .fixed(16): return gathering(sources, as: UInt128.self, count)
        case .fixed(let width): preconditionFailure("no values have \(width) bytes")
        case .variable: return try gatheringVariable(sources, count)
        }
    }

    @inline(__always)
    private static func gathering<T: BitwiseCopyable>(
        _ sources: [(vector: ColumnVector, moves: ArraySlice<RowMove>)], as type: T.Type,
        _ count: Int
    ) -> ColumnVector {
        let width = MemoryLayout<T>.size
        let values = ByteBuffer(capacity: max(count * width, 1))
        values.append(byte: 0, repeated: count * width)
        let marks = ByteBuffer()
        var nulls = 0
        for (vector, moves) in sources {
            let source = vector.address
            for move in moves {
                values.base.storeBytes(
                    of: source.loadUnaligned(fromByteOffset: Int(move.from) * width, as: type),
                    toByteOffset: Int(move.to) * width, as: type)
            }
            if vector.nullCount == 0 { continue }
            for move in moves where vector.isNull(Int(move.from)) {
                if nulls == 0 { marks.append(byte: 1, repeated: count) }
                marks.replace(at: Int(move.to), with: UInt8(0))
                nulls += 1
            }
        }
        return ColumnVector(
            .fixed(width), count: count, nullCount: nulls, values: values, origin: 0, marks: marks)
    }

    /// Values come to lie in the order of their rows: lengths first, then places, then bytes.
    private static func gatheringVariable(
        _ sources: [(vector: ColumnVector, moves: ArraySlice<RowMove>)], _ count: Int
    ) throws(Failure) -> ColumnVector {
        let marks = ByteBuffer(capacity: max(count * 4, 1))
        marks.append(byte: 0, repeated: count * 4)
        var bytes = 4 * count
        var nulls = 0
        for (vector, moves) in sources {
            let source = vector.address
            for move in moves {
                let start = vector.marks.base.load(
                    fromByteOffset: Int(move.from) * 4, as: UInt32.self)
                var length = null
                if start == null {
                    nulls += 1
                    bytes -= 4
                } else {
                    length = (source + Int(start) - 4).loadUnaligned(as: UInt32.self)
                    bytes += Int(length)
                }
                marks.base.storeBytes(of: length, toByteOffset: Int(move.to) * 4, as: UInt32.self)
            }
        }
        guard bytes < null else {
            throw Failure(.corrupt, "edits show more bytes than a page can have")
        }
        let values = ByteBuffer(capacity: max(bytes, 1))
        place(marks, count, in: values)
        for (vector, moves) in sources { copy(moves, of: vector, to: values, marks) }
        return ColumnVector(
            .variable, count: count, nullCount: nulls, values: values, origin: 0, marks: marks)
    }

    /// Makes lengths to starts, and writes each length in front of its value's place.
    private static func place(_ marks: ByteBuffer, _ count: Int, in values: ByteBuffer) {
        values.append(room: values.capacity) { room in
            var next = 0
            for row in 0..<count {
                let length = marks.base.load(fromByteOffset: row * 4, as: UInt32.self)
                if length == null { continue }
                room.storeBytes(of: length, toByteOffset: next, as: UInt32.self)
                next += 4
                marks.base.storeBytes(of: UInt32(next), toByteOffset: row * 4, as: UInt32.self)
                next += Int(length)
            }
            return next
        }
    }

    private static func copy(
        _ moves: ArraySlice<RowMove>, of vector: ColumnVector, to values: ByteBuffer,
        _ marks: ByteBuffer
    ) {
        let source = vector.address
        for move in moves {
            let start = vector.marks.base.load(fromByteOffset: Int(move.from) * 4, as: UInt32.self)
            if start == null { continue }
            let value = source + Int(start)
            let target = marks.base.load(fromByteOffset: Int(move.to) * 4, as: UInt32.self)
            (values.base + Int(target)).copyMemory(
                from: value, byteCount: Int((value - 4).loadUnaligned(as: UInt32.self)))
        }
    }
}
