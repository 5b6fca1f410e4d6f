import Glibc

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
        for versions in versions(shownBy: all) {
            for version in versions {
                let owner: Owner =
                    version.points.count == 1
                    ? .one(all[version.points.lowerBound].sequence) : .several
                for file in version.record.files {
                    owners[file.number, default: .nobody].add(owner)
                }
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

/// See `Repository.Options.pause`.
@Sendable package func pauseMonotonically(seconds: Double, checkpoint: () throws -> Void) throws {
    let end = ContinuousClock.now + .seconds(seconds)
    let stepMicroseconds: UInt32 = 50_000
    while ContinuousClock.now < end {
        try checkpoint()
        usleep(stepMicroseconds)
    }
}
