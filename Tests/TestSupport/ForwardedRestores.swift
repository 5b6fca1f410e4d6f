import Tables

/// A source that stands before another one, into which it restores.
package protocol ForwardedRestores: RestorableSource {
    var base: any RestorableSource { get }
}

extension ForwardedRestores {
    package var names: any TableNameRules { base.names }

    package func form(of table: RestoredTable) throws -> RestoredForm {
        try base.form(of: table)
    }

    package func obstacles(to restored: RestoredDatabase) throws -> [String] {
        try base.obstacles(to: restored)
    }

    package func openRestore(
        _ restored: RestoredDatabase, attempt: RestoreAttempt
    ) throws -> any TableRestore {
        try base.openRestore(restored, attempt: attempt)
    }

    package func checkTargets(of rows: [RowTarget]) throws { try base.checkTargets(of: rows) }

    package func openRows(
        _ rows: [RowTarget], rules: RowRules, attempt: RestoreAttempt
    ) throws -> any RowRestore {
        try base.openRows(rows, rules: rules, attempt: attempt)
    }

    package func removeLeftovers(isGone: (_ attempt: String) -> Bool) throws {
        try base.removeLeftovers(isGone: isGone)
    }
}
