import Repository

/// Which points' times can be believed.
///
/// A point shows the database as it was when it was cut, and says when that was by the clock it had.
/// Points are cut one after another, so the times of two that contradict their order can't both be
/// right. A clock that was ahead does no harm: its point is never given for a time too early. One that
/// was behind would give a state from after the time that was asked for. So of all sets of points whose
/// times agree with their order the largest is believed, and of those as large the one with the later
/// times; and none that lies in the future.
package struct CutOrder {
    /// Sequences of the points, live or dropped, whose times are believed.
    package let reliable: Set<UInt64>

    init(_ state: CollectionState, now: Instant) {
        let all = (state.points + state.droppedPoints).sorted { $0.sequence < $1.sequence }
        self.init(all.map { ($0.sequence, $0.cut) }, now: now)
    }

    /// - Parameter points: in order of sequence; cuts in microseconds since 1970.
    package init(_ points: [(sequence: UInt64, cut: Int64)], now: Instant) {
        let past = points.filter { $0.cut <= now.microseconds }
        // The longest sequence of cuts that never falls, from the last point backwards, so that of
        // equally long ones the later times win: for each length the latest cut that one can begin with.
        var starts: [Int] = []
        var next = [Int?](repeating: nil, count: past.count)
        for index in past.indices.reversed() {
            var (low, high) = (0, starts.count)
            while low < high {
                let middle = (low + high) / 2
                if past[starts[middle]].cut >= past[index].cut {
                    low = middle + 1
                } else {
                    high = middle
                }
            }
            next[index] = low > 0 ? starts[low - 1] : nil
            if low == starts.count { starts.append(index) } else { starts[low] = index }
        }
        var reliable: Set<UInt64> = []
        var at = starts.last
        while let index = at {
            reliable.insert(past[index].sequence)
            at = next[index]
        }
        self.reliable = reliable
    }
}
