import Bytes
import Synchronization

/// One reading of a collection's log, from its newest catalog, or its first entry, to its end.
///
/// An entry that is missing or damaged doesn't take away what stands before it, behind it, and in a
/// catalog: what is behind it is read as far as that is possible without it. Entries are decoded by
/// all processors, some hundred at a time, so that a log of any length takes the same memory.
struct LogScan {
    private let repository: Repository
    private let id: String
    private(set) var state: CollectionState?
    /// What was wrong first.
    private(set) var damage: Failure?
    /// Why the newest catalog couldn't be used.
    private var catalogDamage: Failure?
    /// Behind entries that couldn't be read; a catalog ends it.
    private var isBehindGap = false
    /// Numbers of the entries that couldn't be read, in order.
    private(set) var unread: [ClosedRange<UInt64>] = []
    /// Numbers of the entries that stand for lost ones, of those that were read.
    private(set) var markers: [UInt64] = []
    /// What is wrong with the catalogs in use: the newest says something else than the log, or one can't
    /// be read. Older ones are nobody's concern any more.
    private(set) var catalogFaults: [Failure] = []
    private let checksCatalogs: Bool
    /// By number, what is read instead of what is there.
    private let substitutes: [UInt64: LogFile]
    private let made: MadeEntries
    /// What the journal knows to have been made behind all that could be read.
    private(set) var lostAtEnd: [MadeEntries.Made] = []
    /// What keeps an entry from being read that isn't damaged: nobody knows what it says.
    private(set) var obstacle: Failure?
    /// A catalog has what the entries before this one said, whether they can be read or not.
    private(set) var isKnownBefore: UInt64 = 0

    private typealias Entry = Result<LogFile, Failure>

    /// Entries that are in memory at a time.
    private static let batch = 512

    /// - Parameters:
    ///   - checksCatalogs: reads every entry, from the first one on, and compares with them what the
    ///     newest catalog says.
    ///   - substitutes: entries to be read as if they were there.
    ///   - made: what the journal knows, as far as it was read already.
    init(
        _ repository: Repository, _ id: String, checksCatalogs: Bool = false,
        substitutes: [UInt64: LogFile] = [:], made: MadeEntries? = nil
    ) {
        self.repository = repository
        self.id = id
        self.checksCatalogs = checksCatalogs
        self.substitutes = substitutes
        self.made = made ?? MadeEntries(repository.operations)
    }

    /// Throws what keeps it from looking at all, also that there should be a log and is none.
    mutating func run() throws {
        let listed = try repository.entryNumbers(id)
        guard let last = listed.last else {
            if let lost = try repository.lostLog(id, made) { throw lost }
            return
        }
        let newest = findCatalog(last)
        let begun = state?.lastEntry ?? 0
        if begun > 0, let missing = Self.firstGap(listed, before: begun) {
            damage = repository.missing(missing, id)
            unread.append(missing)
        }
        var expected = begun + 1
        var rest = listed.drop { $0 <= begun }
        while !rest.isEmpty {
            let numbers = Array(rest.prefix(Self.batch))
            rest = rest.dropFirst(Self.batch)
            for (number, entry) in entries(numbers, known: newest) {
                if expected < number { lose(expected...(number - 1)) }
                if try !add(number, entry) { return try finish(isCut: true) }
                expected = number + 1
            }
        }
        try finish(isCut: false)
    }

    private mutating func finish(isCut: Bool) throws {
        if checksCatalogs, let state { checkCatalogsInUse(of: state) }
        if let state, !isCut {
            let lost = made.unknown(to: state)
            if let failure = try repository.lostEnd(state, lost) {
                note(failure)
                lostAtEnd = lost
            }
        }
        if state == nil, damage == nil { damage = repository.missing(1...1, id) }
        state?.catalogDamage = catalogDamage
        state?.damage = damage
        guard let damage, let known = state else { return }
        let newest = known.newest
        let isLater = known.lostPoints.contains { $0.sequence > newest?.sequence ?? 0 }
        let lastUnread = unread.last?.upperBound ?? 0
        if isCut || isLater || !lostAtEnd.isEmpty || lastUnread > newest?.entry ?? 0 {
            state?.endIsUnknown = damage
        }
    }

    // MARK: Entries

    /// False if there is no point in reading on.
    private mutating func add(_ number: UInt64, _ entry: Entry) throws -> Bool {
        switch entry {
        case .success(let file):
            do {
                try apply(file)
            } catch let failure as Failure {
                // Behind a lost definition nothing can be applied: that is no fault of its own.
                if state == nil, isBehindGap { return true }
                note(repository.named(failure, number, id))
                unread.append(number...number)
                isBehindGap = true
                // It can be read; what it says can't be.
                if case .point(let record) = file.entry {
                    state?.lose(record, because: failure.message)
                }
            }
            return true
        case .failure(let failure):
            note(failure)
            unread.append(number...number)
            isBehindGap = true
            // Another version's, or not to be had now: what follows may rest on it.
            if failure.code != .corrupt { obstacle = failure }
            return failure.code == .corrupt
        }
    }

    private mutating func apply(_ file: LogFile) throws {
        switch file.entry {
        case .catalog(let reference): meet(reference, before: file)
        case .lost: markers.append(file.number)
        default: break
        }
        if state == nil {
            state = try begun(by: file)
        } else if isBehindGap {
            state!.goOn(before: file)
            state!.salvage(file)
        } else {
            var next = state!
            try next.follow(file)
            state = next
        }
    }

    /// The state that the first entry that could be read makes. Where the definition before it is lost the
    /// journal may still know whose log it is.
    private func begun(by file: LogFile) throws -> CollectionState {
        if isBehindGap, file.collection == nil, let name = repository.journaledName(id, made) {
            var state = CollectionState(id: id, name: name)
            state.goOn(before: file)
            state.salvage(file)
            return state
        }
        return try CollectionState(first: file, id: id, identify: repository.collectionID)
    }

    /// A catalog that was made before an entry was lost has what that said: from there on nothing is
    /// missing. Any other is compared with what the entries come to.
    private mutating func meet(_ reference: CatalogReference, before file: LogFile) {
        catalogFaults = []
        let lost = state?.lostEntries ?? []
        if isBehindGap || !lost.isEmpty,
            let whole = try? repository.catalog(reference, before: file, id),
            isBehindGap || Set(whole.lostEntries).isStrictSubset(of: lost)
        {
            state = whole
            isBehindGap = false
            isKnownBefore = file.number
        } else if checksCatalogs, let state,
            let fault = repository.checkCatalog(reference, state)
        {
            catalogFaults = [fault]
        }
    }

    private mutating func checkCatalogsInUse(of state: CollectionState) {
        for (_, reference) in state.catalogs {
            if let fault = repository.damage(of: reference, id) { catalogFaults.append(fault) }
        }
    }

    private mutating func lose(_ numbers: ClosedRange<UInt64>) {
        note(repository.missing(numbers, id))
        unread.append(numbers)
        isBehindGap = true
    }

    private mutating func note(_ failure: Failure) { damage = damage ?? failure }

    private static func firstGap(
        _ listed: [UInt64], before end: UInt64
    ) -> ClosedRange<UInt64>? {
        var expected: UInt64 = 1
        for number in listed {
            if number > expected { return expected...(min(number, end) - 1) }
            if number >= end { return nil }
            expected = number + 1
        }
        return nil
    }

    /// Takes the state from the newest catalog, which one of the newest entries names. Answers the
    /// entries that were read on the way.
    private mutating func findCatalog(_ last: UInt64) -> [UInt64: Entry] {
        var newest: [UInt64: Entry] = [:]
        guard repository.options.usesCatalogs, !checksCatalogs else { return newest }
        let window = min(last, 2 * repository.options.catalogInterval)
        let shared = SharedValues()
        for number in stride(from: last, to: last - window, by: -1) {
            let entry = read(number, shared)
            newest[number] = entry
            guard case .success(let file) = entry, case .catalog(let reference) = file.entry else {
                continue
            }
            do {
                state = try repository.catalog(reference, before: file, id)
            } catch {
                catalogDamage = Repository.failure(error)
            }
            break
        }
        return newest
    }

    /// These entries in order: they are independent until they are applied, so all processors decode.
    private func entries(
        _ numbers: [UInt64], known: [UInt64: Entry]
    ) -> [(UInt64, Entry)] {
        let size = 64
        let chunks = (numbers.count + size - 1) / size
        let decoded = Mutex<[Int: [(UInt64, Entry)]]>([:])
        concurrentPerform(iterations: chunks) { chunk in
            let shared = SharedValues()
            let part = numbers.dropFirst(chunk * size).prefix(size).map { number in
                (number, known[number] ?? read(number, shared))
            }
            decoded.withLock { $0[chunk] = part }
        }
        return decoded.withLock { $0.sorted { $0.key < $1.key }.flatMap(\.value) }
    }

    private func read(_ number: UInt64, _ shared: SharedValues) -> Entry {
        if let substitute = substitutes[number] { return .success(substitute) }
        do {
            return .success(try repository.entry(number, id, shared))
        } catch {
            return .failure(Repository.failure(error))
        }
    }
}
