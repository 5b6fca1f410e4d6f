import Bytes
import Engine
import Repository
import Synchronization
import Tables

/// What all nodes of a tree share: the collections as they are now, and texts made a moment ago.
///
/// What is stored never changes, so only the collections' newest states are held; everything else
/// follows from them and from what a node is.
final class TreeContext: Sendable {
    private struct State {
        /// By id.
        var collections: [String: ShownCollection] = [:]
        /// In the order of file names.
        var listing: [ShownCollection] = []
        /// Texts made at look-up, kept for `textSeconds` so that `open` shows what `stat` measured.
        var texts: [FileIdentity: (text: [UInt8], expires: Instant)] = [:]
        /// The engine's generation that all this shows.
        var generation: UInt64 = .max
    }

    let engine: Engine
    /// What the user named.
    let source: String
    let options: Volume.Options
    let started = Instant.now
    let requests = RequestTimes()
    let digests = Digests()
    let prefetcher = Prefetcher(threads: 2)
    /// For files that are rendered as a whole.
    let spool: Spool
    private let state = Mutex(State())
    /// The listing of a point made last: that of most other points too.
    private let lastListing = Mutex<TableListing<TableFile.Kind>?>(nil)

    private static let textSeconds: Int64 = 1
    private static let keptTexts = 512

    init(engine: Engine, source: String, options: Volume.Options) {
        self.engine = engine
        self.source = source
        self.options = options
        spool = Spool(
            directory: options.spoolDirectory ?? SpillFile.defaultDirectory,
            maxBytes: options.spoolBytes)
    }

    /// The state, with everything that is new taken over: called by every request, so that what an
    /// operation did shows as soon as its end does.
    private func current<R>(_ body: (inout State) -> R) -> R {
        let generation = engine.generation
        return state.withLock { state in
            if state.generation != generation {
                state.generation = generation
                state.texts = [:]
                state.listing = Self.named(engine.collections)
                state.collections = [:]
                for shown in state.listing { state.collections[shown.state.id] = shown }
            }
            return body(&state)
        }
    }

    private static func named(_ collections: [CollectionState]) -> [ShownCollection] {
        var names = Set(RootDirectory.names)
        return collections.map { collection in
            let name = FileName.component(collection.name) { names.contains($0) }
            names.insert(name)
            return ShownCollection(collection, fileName: name)
        }.sorted { $0.fileName.utf8.lexicographicallyPrecedes($1.fileName.utf8) }
    }

    var collections: [ShownCollection] { current(\.listing) }

    func collection(_ id: String) throws(Errno) -> ShownCollection {
        guard let shown = current({ $0.collections[id] }) else { throw .noEntry }
        return shown
    }

    /// The text of a virtual file: made now, or at most a second ago, so that `open` shows what
    /// `stat` has just measured.
    func text(
        _ identity: FileIdentity, _ make: () throws(Errno) -> [UInt8]
    ) throws(Errno) -> [UInt8] {
        let now = Instant.now
        if let kept = current({ $0.texts[identity] }), now < kept.expires { return kept.text }
        let generation = engine.generation
        let text = try make()
        current { state in
            // What changed while the text was made isn't in it.
            guard state.generation == generation else { return }
            if state.texts.count >= Self.keptTexts {
                state.texts = state.texts.filter { now < $0.value.expires }
                if state.texts.count >= Self.keptTexts { state.texts = [:] }
            }
            state.texts[identity] = (text, now + Period(seconds: Self.textSeconds))
        }
        return text
    }

    /// The files of a point.
    func listing(
        _ shown: ShownCollection, _ sequence: UInt64
    ) throws(Errno) -> TableListing<TableFile.Kind> {
        let key = SharedCache.Key(owner: 0, kind: 0, shown.state.idNumber, sequence)
        do {
            return try engine.cache.value(key) {
                let tables = shown.state.paths(at: sequence)
                if let last = lastListing.withLock(\.self), last.shows(tables) {
                    return (last, bytes: 64)
                }
                let listing = TableListing(tables, fixed: PointScope.names) { table in
                    TableFile.Kind.all.filter { kind in
                        guard let format = kind.format else { return true }
                        return options.formats.contains(format)
                            && table.sizes[format.id] != nil
                    }.map { ($0, $0.suffix) }
                }
                lastListing.withLock { $0 = listing }
                return (listing, bytes: 512 + tables.count * 1024)
            }
        } catch {
            throw .io
        }
    }
}

/// A collection as it is shown at some time. An object, which every request gets hold of for less than
/// a copy of the state costs.
final class ShownCollection: Sendable {
    let fileName: String
    let state: CollectionState
    /// For the identities of its files.
    let secret: KeyedHash
    var name: String { state.name }

    init(_ state: CollectionState, fileName: String) {
        self.fileName = fileName
        self.state = state
        secret = KeyedHash(deriving: state.id)
    }

    /// Of a file of the collection itself.
    func identity(_ kind: FileIdentity.Kind, text: String = "") -> FileIdentity {
        FileIdentity(kind, text: text, under: secret)
    }

    /// The newest point, if it is certain which one that is.
    var newest: BackupPoint? { state.endIsUnknown == nil ? state.newest : nil }
}

extension CollectionState {
    /// The first 64 bits of the collection's id, another number for each past.
    fileprivate var idNumber: UInt64 { (UInt64(id.prefix(16), radix: 16) ?? 0) &+ epoch }
}
