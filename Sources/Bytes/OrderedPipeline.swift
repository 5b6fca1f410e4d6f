/// Transforms a stream of inputs on several threads and hands the outputs on in their order.
///
/// The thread that calls `submit` also consumes, so that only `transform` must be thread-safe. At
/// most `capacity` inputs and outputs are under way, which bounds memory.
///
/// As long as there is one input at a time, the thread that waits for its output makes it too: a
/// backup of thousands of small tables doesn't start threads for each.
package final class OrderedPipeline<Input: Sendable, Output: Sendable> {
    private struct State {
        var inputs: [(index: Int, input: Input)] = []
        var outputs: [Int: Result<Output, any Error>] = [:]
        var isClosed = false
    }

    private let state = Monitor(State())
    private var threads: [WorkerThread] = []
    private let threadCount: Int
    private let capacity: Int
    private var submitted = 0
    private var consumed = 0
    /// The only input there is, as long as no threads were needed.
    private var single: Input?
    private let transform: @Sendable (Input) throws -> Output
    private let consume: (Output) throws -> Void

    /// `transform` runs on any of the threads, or on the caller's; `close` must be called, also after
    /// an error.
    package init(
        threads count: Int, capacity: Int,
        transform: @escaping @Sendable (Input) throws -> Output,
        consume: @escaping (Output) throws -> Void
    ) {
        precondition(count > 0 && capacity >= count)
        threadCount = count
        self.capacity = capacity
        self.transform = transform
        self.consume = consume
    }

    /// As many as can be had, of which there must be one.
    private func startThreads() throws {
        while threads.count < threadCount {
            do {
                threads.append(try startThread())
            } catch {
                if threads.isEmpty { throw error }
                return
            }
        }
    }

    private func startThread() throws(Failure) -> WorkerThread {
        try WorkerThread { [state, transform] in
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

    /// Ends the threads. To be called also after errors.
    package func close() {
        state.update {
            $0.isClosed = true
            $0.inputs = []
        }
        for thread in threads { thread.join() }
        // A thread that was joined is gone, and its handle may be another's by now.
        threads = []
    }

    /// Takes one input; consumes what is ready, or waits for it if too much is under way.
    package func submit(_ input: Input) throws {
        let index = submitted
        submitted += 1
        if threads.isEmpty {
            if index == consumed {
                single = input
                return
            }
            try startThreads()
            let first = single!
            single = nil
            state.update { $0.inputs.append((index - 1, first)) }
        }
        state.update { $0.inputs.append((index, input)) }
        try drain(to: capacity - 1)
    }

    /// Waits for all that was submitted and consumes it.
    package func finish() throws {
        guard let input = single else { return try drain(to: 0) }
        single = nil
        consumed += 1
        try consume(transform(input))
    }

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
