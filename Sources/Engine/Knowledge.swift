import Bytes
import Repository
import Tables

/// What a source knows of the newest point's cut, and how far the next cut trusts it.
struct Knowledge {
    /// Nil if everything is to be compared.
    let known: CaptureFile?
    /// Whether what this cut knows is kept for the next one.
    let isKept: Bool
    /// Whether everything is compared all the same, to see that what is known is right.
    let isAudit: Bool
    /// How many cuts, this one included, have trusted what was known since everything was last
    /// compared.
    let uses: UInt32
    /// Whether a cut without changes makes no point.
    let skipsUnchanged: Bool

    /// - Parameters:
    ///   - looks: how many cuts have trusted what is known, and made no point.
    ///   - auditInterval: so many cuts may trust what is known; then one doesn't.
    init(
        _ lock: WriterLock, _ settings: CollectionSettings, isIncremental: Bool, looks: UInt32?,
        auditInterval: Int
    ) {
        skipsUnchanged = settings.skipsUnchanged
        isKept = settings.isIncrementalBackupEnabled && settings.capture == .auto
        known = isKept && isIncremental ? lock.capture() : nil
        let next = known.map { Int($0.uses) + Int(looks ?? 0) + 1 } ?? 0
        isAudit = next >= settings.auditEvery ?? auditInterval && known != nil
        uses = isAudit ? 0 : UInt32(clamping: next)
    }
}

extension TableRecord {
    /// Rows that a point carries of the table, be it whole or as what changed.
    var carried: UInt64 { isReset && !isRenumbered ? rows : changes }
}
