import Bytes
import Engine
import Repository

/// `COLLECTION/as-of`: `TIME` is a link to the newest point that isn't later.
enum AsOf {
    static func directory(
        _ tree: TreeContext, _ shown: ShownCollection, modified: @escaping TextFile.Time
    ) -> any TreeNode {
        let identity = shown.identity(.asOf)
        let id = shown.state.id
        return LookupDirectory(
            tree, identity, modified: modified, readme: { readme },
            find: { name throws(Errno) in
                let find: @Sendable () throws(Errno) -> String = { () throws(Errno) in
                    do {
                        let time = try Instant(expression: name, now: .now)
                        let state = try tree.collection(id).state
                        return "../" + (try Moment.notAfter(time).point(in: state).name)
                    } catch {
                        throw .noEntry
                    }
                }
                // Only what there is has a name.
                _ = try find()
                return Link(identity.below(.asOfLink, text: name), modified: modified, find)
            })
    }

    private static let readme = """
        as-of/TIME is a link to the newest backup point that isn't later than TIME.

            ls as-of/2026-11-21T10:30:00Z/
            ls as-of/2026-11-21/             the end of that day
            ls as-of/yesterday/
            diff as-of/-2h/orders.csv latest/orders.csv

        Times are UTC unless they carry an offset.

        """
}
