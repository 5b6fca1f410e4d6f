/// Transforms a stream of inputs on several threads and hands the outputs on in their order.
///
/// The thread that calls `submit` also consumes, so that only `transform` must be thread-safe. At
/// most `capacity` inputs and outputs are under way, which bounds memory.
package final class OrderedPipeline<Input: Sendable, Output: Sendable> {
    private struct State {
        var inputs: [(index: Int, input: Input)] = []
        var outputs: [Int: Result<Output, any Error>] = [:]
        var isClosed = false
    }

    private let state: Monitor<State>
    private let threads: [WorkerThread]
    private let capacity: Int
    private var submitted = 0
    private var consumed = 0
    private let consume: (Output) throws -> Void

    /// `transform` runs on any of the threads; `close` must be called, also after an error.
    package init(
        threads count: Int, capacity: Int,
        transform: @escaping @Sendable (Input) throws -> Output,
        consume: @escaping (Output) throws -> Void
    ) {
        precondition(count > 0 && capacity >= count)
        let state = Monitor(State())
        self.state = state
        self.capacity = capacity
        self.consume = consume
        threads = (0..<count).map { _ in
            WorkerThread {
                while true {
                    let next: (index: Int, input: Input)?? = state.wait { state in
                        if !state.inputs.isEmpty { return .some(state.inputs.removeFirst()) }
                        return state.isClosed ? .some(nil) : nil
                    }
                    guard case .some(.some(let (index, input))) = next else { return }
                    let output = Result { try transform(input) }
                    state.update { $0.outputs[index] = output }
                }
            }
        }
    }

    /// Ends the threads. To be called once, also after errors.
    package func close() {
        state.update {
            $0.isClosed = true
            $0.inputs = []
        }
        for thread in threads { thread.join() }
    }

    /// Takes one input; consumes what is ready, or waits for it if too much is under way.
    package func submit(_ input: Input) throws {
        let index = submitted
        submitted += 1
        state.update { $0.inputs.append((index, input)) }
        try drain(to: capacity - 1)
    }

    /// Waits for all that was submitted and consumes it.
    package func finish() throws { try drain(to: 0) }

    private func drain(to allowed: Int) throws {
        while submitted > consumed {
            let index = consumed
            let output: Result<Output, any Error>?
            if submitted - consumed > allowed {
                output = state.wait { $0.outputs.removeValue(forKey: index) }
            } else {
                output = state.withLock { $0.outputs.removeValue(forKey: index) }
            }
            guard let output else { return }
            consumed += 1
            try consume(output.get())
        }
    }
}
