import Bytes
import Repository

/// Whether the backups at the location are those of the database: continuing another one's would give
/// points that nobody could tell from the right ones.
struct Ownership: Sendable {
    /// To be recorded before something is added; nil if it is known already.
    var toAccept: KnownDatabase?
    /// What the user should know.
    var note: String?
    /// Why nothing may be added: it can't be told whose backups they are.
    var refusal: Failure?

    /// - Parameters:
    ///   - database: nil if there is none now: then nothing can be added either.
    ///   - isBeside: the location is the one that belongs to the database's name.
    ///   - adopts: the user says that they belong together.
    /// - Throws: `.denied` if they are another database's.
    init(
        _ database: KnownDatabase?, _ repository: Repository, isBeside: Bool, adopts: Bool
    ) throws {
        guard let database else { return }
        let damage = repository.databaseDamage()
        let known = (try? repository.knownDatabases()) ?? []
        if known.contains(database) { return }
        toAccept = database
        if let damage, !known.contains(where: { $0.isSame(as: database) }) {
            let what = "\(damage.message): nobody says whose backups these are"
            if adopts || isBeside {
                note = "\(what); they are taken for those of \(database.path)"
            } else {
                refusal = Failure(
                    damage.code,
                    "\(what): ydbfs repair --from COPY mends it, --adopt takes them for those of "
                        + "\(database.path)")
            }
            return
        }
        if known.isEmpty || known.contains(where: { $0.isSame(as: database) }) { return }
        let other = known[known.count - 1].path
        if adopts {
            note =
                "the backups at \(repository.storage.location) were those of \(other): they are "
                + "taken over for \(database.path)"
        } else if isBeside {
            note =
                "the backups at \(repository.storage.location) were made of \(other): they lie "
                + "beside \(database.path), so they are taken for its own"
        } else {
            throw Failure(
                .denied,
                "\(repository.storage.location) holds the backups of \(other), not of "
                    + "\(database.path): name another --repository, or say --adopt if they belong "
                    + "together")
        }
    }
}

extension Engine {
    /// Asks once whose backups they are. Throws if they are another database's.
    func checkOwnership(_ repository: Repository) throws {
        let ownership = try Ownership(
            database?.identity(), repository, isBeside: options.isBesideDatabase,
            adopts: options.adopts)
        state.update { $0.ownership = ownership }
        if let note = ownership.note { errors.add("\(location)", message: note) }
    }

    /// Records whose backups they are, before the first is added.
    func acceptDatabase(_ repository: Repository) throws {
        if let refusal = state.withLock({ $0.ownership?.refusal }) { throw refusal }
        guard let database = state.withLock({ $0.ownership?.toAccept }) else { return }
        try repository.accept(database)
        state.update { $0.ownership?.toAccept = nil }
    }

    /// What tells the database from others now; nil if there is none.
    package var databaseIdentity: KnownDatabase? { database?.identity() }

    /// What the user should know of whose backups they are.
    package var ownershipNote: String? { state.withLock { $0.ownership?.note } }
}
