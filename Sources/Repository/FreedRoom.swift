/// What dropping a point would give back.
extension CollectionState {
    /// By sequence of each live point: bytes of the files that nobody else, live or dropped, needs.
    ///
    /// By the same reachability as `neededFiles`: a point needs what its tables lie in, and what it
    /// wrote. Each version of a table is looked at once, however many points show it.
    package var freedBytes: [UInt64: UInt64] {
        let all = (points + droppedPoints).sorted { $0.sequence < $1.sequence }
        var owners: [UInt64: Owner] = [:]
        for point in all {
            for file in point.files { owners[file.number, default: .nobody].add(point.sequence) }
        }
        let sequences = all.map(\.sequence)
        for history in histories.values {
            for (index, version) in history.versions.enumerated() {
                let next = index + 1 < history.versions.count ? history.versions[index + 1] : nil
                let shown = Self.firstTwo(of: sequences, from: version.sequence, to: next?.sequence)
                guard let record = version.record, let first = shown.first else { continue }
                let owner: Owner = shown.count == 1 ? .one(first) : .several
                for file in record.files { owners[file.number, default: .nobody].add(owner) }
            }
        }
        var freed = Dictionary(uniqueKeysWithValues: points.map { ($0.sequence, UInt64(0)) })
        for (number, owner) in owners {
            guard case .one(let sequence) = owner, let file = files[number],
                let sum = freed[sequence]
            else { continue }
            freed[sequence] = sum.addingReportingOverflow(file.bytes).partialValue
        }
        return freed
    }

    /// The first two of these sequences, in order, from `start` on and before `end`.
    private static func firstTwo(
        of sequences: [UInt64], from start: UInt64, to end: UInt64?
    ) -> [UInt64] {
        // Sequences begin with 1.
        let before = newestIndex(sequences, at: start - 1, \.self)
        return sequences[(before.map { $0 + 1 } ?? 0)...].prefix(2).filter { $0 < end ?? .max }
    }

    /// Which points need a file.
    private enum Owner: Equatable {
        case nobody
        case one(UInt64)
        case several

        mutating func add(_ sequence: UInt64) { add(.one(sequence)) }

        mutating func add(_ other: Owner) {
            self = self == .nobody || self == other ? other : .several
        }
    }
}

extension Repository {
    /// Bytes of files that were condemned long enough ago to go at once.
    package func dueBytes(of collection: CollectionState) -> UInt64 {
        let due = options.now() - options.removalDelay * 1_000_000
        return collection.condemned.reduce(0) { sum, file in
            guard file.value == 0 || file.value <= due else { return sum }
            let object = FilePlace.object(file.key, of: collection.id)
            return sum + ((try? storage.size(of: object)) ?? 0)
        }
    }
}
