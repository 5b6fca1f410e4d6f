import Bytes
import Engine
import Repository

/// `COLLECTION` or `COLLECTION/POINT` as the user gave it.
struct PointArgument {
    let collection: String
    let point: String?

    /// A collection's name may hold slashes itself: the longest name that there is counts.
    init(_ text: String, in repository: Repository) throws {
        let names = repository.collections.map(\.name)
        if names.contains(where: { $0.hasSameBytes(as: text) }) {
            (collection, point) = (text, nil)
            return
        }
        let slash = text.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = slash.map { String(text[..<$0]) } ?? text
        guard let slash, names.contains(where: { $0.hasSameBytes(as: name) }) else {
            // One whose log can't be read at all is still known by its name.
            if repository.damage(of: text) != nil {
                (collection, point) = (text, nil)
                return
            }
            throw repository.missing(collection: name)
        }
        (collection, point) = (name, String(text[slash...].unicodeScalars.dropFirst()))
    }

    /// Which point is meant; nil if none is named.
    func moment(in repository: Repository) throws -> Moment? {
        try point.map { try Moment($0, of: collection, in: repository) }
    }

    /// The point, which must be there.
    func find(in repository: Repository) throws -> (CollectionState, BackupPoint) {
        guard let state = repository.collection(collection) else {
            throw repository.missing(collection: collection)
        }
        guard let moment = try moment(in: repository) else {
            throw Failure(.invalid, "name a point: \(collection)/latest, or one that status shows")
        }
        return (state, try moment.point(in: state))
    }
}

extension Repository {
    /// There is no such collection; or nobody knows, as its log can't be read.
    func missing(collection name: String) -> Failure {
        if let damage = damage(of: name) { return damage }
        return .noCollection(name, at: storage.location, among: collections.map(\.name))
    }
}

extension Failure {
    static func noCollection(_ name: String, at location: String, among names: [String]) -> Failure
    {
        let others = names.isEmpty ? "none" : names.prefix(10).joined(separator: ", ")
        return Failure(
            .notFound, "there is no collection \(name) at \(location); there are: \(others)")
    }
}
