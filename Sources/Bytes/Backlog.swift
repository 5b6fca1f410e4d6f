/// What waits to be done one by one, by a thread that is there only while something waits: nobody who adds
/// something waits for it.
package final class Backlog<Item: Sendable>: Sendable {
    private struct State {
        var items: [Item] = []
        /// How many had no room, and nobody was told.
        var lost = 0
        var isWorking = false
    }

    private let state = Monitor(State())
    private let limit: Int
    private let told: (@Sendable (_ lost: Int) -> Item)?
    private let work: @Sendable (Item) -> Void

    /// - Parameters:
    ///   - limit: more don't wait.
    ///   - told: what is done behind them if some had no room.
    package init(
        limit: Int, told: (@Sendable (_ lost: Int) -> Item)? = nil,
        work: @escaping @Sendable (Item) -> Void
    ) {
        self.limit = limit
        self.told = told
        self.work = work
    }

    /// False if it has no room. Throws if there is no thread for it; the next one tries again.
    @discardableResult
    package func add(_ item: Item) throws(Failure) -> Bool {
        let (startsThread, hasRoom) = state.update { state in
            let hasRoom = state.items.count < limit
            if hasRoom { state.items.append(item) } else { state.lost += 1 }
            defer { state.isWorking = true }
            return (!state.isWorking, hasRoom)
        }
        guard startsThread else { return hasRoom }
        do throws(Failure) {
            try WorkerThread.detach { self.run() }
        } catch {
            state.update { $0.isWorking = false }
            throw error
        }
        return hasRoom
    }

    private func run() {
        while let item = next() { work(item) }
    }

    private func next() -> Item? {
        state.update { state in
            if !state.items.isEmpty { return state.items.removeFirst() }
            if state.lost > 0, let told {
                defer { state.lost = 0 }
                return told(state.lost)
            }
            state.isWorking = false
            return nil
        }
    }

    /// What isn't begun is forgotten.
    package func clear() { state.update { $0.items = [] } }

    /// Waits until nothing is left to do; false if something still is.
    package func finish(seconds: Double) -> Bool {
        state.wait(seconds: seconds) { $0.isWorking ? nil : true } == true
    }
}
