import Bytes
import Tables

/// Backups of YDB that its own tools have written to a directory. Nothing is ever written there.
///
/// Which of these it is, `DumpLayout` tells:
/// ```
/// DIRECTORY/20250821141519Z_full/orders/           scheme.pb data_00.csv … permissions.pb
///           20250821151519Z_incremental/orders/    the same, with change markers
/// DIRECTORY/shop/20250821141519Z_full/…            several collections, a folder each
/// DIRECTORY/orders/ shop/products/                 tables: one point of one collection
/// ```
package struct DumpSource: PointSource {
    package let name: String
    package let kind = "dump"
    package let noun = "a dump"
    package let holdsDatabases = false
    private let key: DumpKey
    private let sortLimits: SortLimits

    /// Looks at nothing yet.
    ///
    /// - Parameter key: of encrypted exports.
    package init(
        directory: String, key: DumpKey = DumpKey(), sortLimits: SortLimits = .init()
    ) {
        name = directory
        self.key = key
        self.sortLimits = sortLimits
    }

    /// Why a directory is no dump; nil if it looks like one.
    package static func refusal(of directory: String) -> String? {
        DumpLayout(directory: directory, key: DumpKey()).refusal
    }

    private var layout: DumpLayout { DumpLayout(directory: name, key: key) }

    package func listCollections() throws -> [SourceCollection] {
        var found: [SourceCollection] = []
        for collection in try layout.collections() {
            var points: [SourcePoint] = []
            for (name, folder) in collection.points { points.append(try point(name, folder)) }
            found.append(SourceCollection(name: collection.name, points: points))
        }
        return found
    }

    /// - Parameter name: nil if it is called by its newest file's time.
    private func point(_ name: String?, _ folder: DumpFolder) throws(Failure) -> SourcePoint {
        let look = try folder.look()
        try folder.requireKey(for: look.encrypted)
        let name = name ?? DumpName.full(at: look.modified)
        let isIncremental = DumpName.isIncremental(name)
        // YDB backs up no empty collection, and other directories have such names too.
        let isEmpty = !isIncremental && !look.hasTables
        return SourcePoint(
            name: name, isIncremental: isIncremental,
            cut: DumpName.time(name) ?? look.modified / 1000, version: look.version,
            refusal: look.incomplete.map { DumpFolder.unfinished($0).message }
                ?? (isEmpty ? "\(folder.path) holds no table: no scheme.pb" : nil))
    }

    package func openPoint(
        _ point: SourcePoint, of collection: String, _ request: CutRequest,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws -> any SourceCut {
        let points = try layout.collections().first { $0.name == collection }?.points ?? []
        guard let folder = points.first(where: { $0.name ?? point.name == point.name })?.folder
        else { throw Failure(.notFound, "\(name) has no backup \(point.name) any more") }
        // The full that it stands on tells what the tables' columns were made of.
        let base = points.last { other in
            guard let name = other.name else { return false }
            return DumpName.isFull(name) && name.utf8.lexicographicallyPrecedes(point.name.utf8)
        }
        return DumpCut(point, folder: folder, base: base?.folder, sortLimits: sortLimits)
    }
}

/// Names of points.
enum DumpName {
    private static let (fullEnding, incrementalEnding) = ("_full", "_incremental")

    static func isPoint(_ name: String) -> Bool { isFull(name) || isIncremental(name) }
    static func isFull(_ name: String) -> Bool { name.hasSuffix(fullEnding) }
    static func isIncremental(_ name: String) -> Bool { name.hasSuffix(incrementalEnding) }

    /// The time that a point's name begins with, `20250821141519Z`, in microseconds since 1970.
    static func time(_ name: String) -> Int64? {
        guard name.utf8.dropFirst(14).first == UInt8(ascii: "Z") else { return nil }
        return time(digits: name.utf8.prefix(14))
    }

    private static func time(digits: some Sequence<UInt8>) -> Int64? {
        let digits = digits.map { Int64($0) - 0x30 }
        guard digits.count == 14, digits.allSatisfy({ (0...9).contains($0) }) else { return nil }
        func number(_ range: Range<Int>) -> Int64 { digits[range].reduce(0) { $0 * 10 + $1 } }
        let (month, day) = (number(4..<6), number(6..<8))
        guard (1...12).contains(month), (1...31).contains(day) else { return nil }
        let time = number(8..<10) * 3600 + number(10..<12) * 60 + number(12..<14)
        return (DumpTime.days(number(0..<4), month, day) * 86_400 + time) * 1_000_000
    }

    /// The name for a tree that is one point, by a time in nanoseconds since 1970.
    static func full(at time: Int64) -> String {
        SourcePoint.name(at: time / 1_000_000_000) + fullEnding
    }

    /// The same for a folder that is called as `ydb tools dump` calls it, `backup_20250821T141519`.
    static func full(folder: String) -> String? {
        let prefix = "backup_"
        let time = folder.dropFirst(prefix.count)
        guard folder.hasPrefix(prefix), time.utf8.count == 15,
            time.utf8.dropFirst(8).first == UInt8(ascii: "T")
        else { return nil }
        let digits = Array(time.utf8.prefix(8) + time.utf8.suffix(6))
        guard Self.time(digits: digits) != nil else { return nil }
        return String(decoding: digits, as: UTF8.self) + "Z" + fullEnding
    }
}
