import Glibc
import Synchronization

/// How long requests of the kernel took to be answered, in a histogram for each kind.
package final class RequestTimes: Sendable {
    package enum Kind: Int, CaseIterable, Sendable {
        case lookup, getattr, readlink, opendir, readdir, open, read, write, other

        var name: String {
            switch self {
            case .lookup: "lookup"
            case .getattr: "getattr"
            case .readlink: "readlink"
            case .opendir: "opendir"
            case .readdir: "readdir"
            case .open: "open"
            case .read: "read"
            case .write: "write"
            case .other: "other"
            }
        }
    }

    struct Histogram: Sendable {
        /// By bound, and beyond the last one.
        var counts = [UInt64](repeating: 0, count: RequestTimes.bounds.count + 1)
        var nanoseconds: UInt64 = 0
    }

    /// Upper ends in nanoseconds, and as Prometheus writes seconds.
    static let bounds: [(nanoseconds: UInt64, seconds: String)] = [
        (10_000, "0.00001"), (100_000, "0.0001"), (1_000_000, "0.001"), (10_000_000, "0.01"),
        (100_000_000, "0.1"), (1_000_000_000, "1"), (10_000_000_000, "10"),
    ]

    /// When the newest one was answered.
    private let newest = Atomic<UInt64>(RequestTimes.now)
    private let histograms = Mutex([Histogram](repeating: Histogram(), count: Kind.allCases.count))

    package init() {}

    /// The monotonic clock, in nanoseconds.
    package static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// A request that came at `start` was answered, or handed to where it waits.
    package func add(_ kind: Kind, since start: UInt64) {
        let now = Self.now
        let nanoseconds = now - start
        newest.store(now, ordering: .relaxed)
        let bucket =
            Self.bounds.firstIndex { nanoseconds <= $0.nanoseconds } ?? Self.bounds.count
        histograms.withLock {
            $0[kind.rawValue].counts[bucket] += 1
            $0[kind.rawValue].nanoseconds += nanoseconds
        }
    }

    var last: UInt64 { newest.load(ordering: .relaxed) }

    subscript(kind: Kind) -> Histogram {
        histograms.withLock { $0[kind.rawValue] }
    }
}
