/// A number of bytes for people: `312 B`, `4 kB`, `12 MB`, `1.5 GB`.
package func byteWords(_ bytes: UInt64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    var (value, unit) = (Double(bytes), 0)
    while value >= 999.5, unit + 1 < units.count {
        value /= 1000
        unit += 1
    }
    let tenths = Int((value * 10).rounded())
    let isExact = unit == 0 || tenths >= 100 || tenths % 10 == 0
    return (isExact ? "\(Int(value.rounded()))" : "\(tenths / 10).\(tenths % 10)")
        + " \(units[unit])"
}
