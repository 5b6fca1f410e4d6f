import Bytes

/// Something else in the place of a folder that logs or data files lie in: a link, a pipe, a device.
/// Nothing behind it can be looked at, so it gives way before the repository is opened.
extension Repository {
    package static func repairFolders(
        _ storage: any Storage, from copy: (any Storage)?
    ) throws -> RepairPlan {
        var plan = RepairPlan()
        /// Names in a folder, of those that are identifiers.
        func look(_ folder: String, hasLog: Bool) throws -> [String] {
            do {
                return try storage.list(folder).filter { isHex($0, count: 32) }.sorted()
            } catch let failure as Failure where failure.code == .corrupt {
                let what = "\(storage.location)/\(folder) is no folder, or a link to one"
                if hasLog, copy == nil {
                    // Its log may be whole where the link leads: that is no reason to record its loss.
                    plan.hopeless.append(
                        "\(what): put back the folder itself, or take it from a copy (--from COPY)")
                } else {
                    plan.steps.append(
                        RepairStep("\(what): it is moved aside") {
                            _ = try storage.setAside(folder)
                        })
                }
                return []
            }
        }
        for id in try look("collections", hasLog: true) {
            let folder = "collections/\(id)"
            let before = plan.faults
            _ = try look(folder, hasLog: true)
            if plan.faults > before { continue }
            _ = try look("\(folder)/log", hasLog: true)
            for name in ["data", "checks"] { _ = try look("\(folder)/\(name)", hasLog: false) }
        }
        for id in try look(FilePlace.tables, hasLog: false) {
            let folder = FilePlace.tables(of: id)
            for table in try look(folder, hasLog: false) {
                _ = try look("\(folder)/\(table)", hasLog: false)
            }
        }
        return plan
    }
}

extension RepairPlan {
    fileprivate var faults: Int { steps.count + hopeless.count }
}
