import Bytes
import Repository

/// What a verification of one collection found.
package struct VerifyReport: Sendable {
    /// Rows of one table that can't be read, or are wrong, and at which points.
    package struct Harm: Sendable, Equatable {
        package var table: String
        package var points: [String]
        /// The rows lie between these keys, as CSV; nil where there is no right row on that side.
        package var after: String?
        package var before: String?
        /// Whether the keys are known; otherwise the whole table is in doubt.
        package var hasKeys = false
    }

    package struct Damage: Sendable {
        /// The file, if one is to blame.
        package var file: String?
        package var message: String
        package var harms: [Harm] = []
        /// The point that is lost by it.
        package var lost: String?
    }

    /// How a table's rows differ from the live database's: no damage, as the database lives on.
    package struct Difference: Sendable {
        package var table: String
        package var message: String
        package var rows: UInt64 = 0
        /// As CSV.
        package var firstKeys: [String] = []
    }

    package struct Point: Sendable {
        package var name: String
        package var sequence: UInt64
        package var tables: Int
        /// Tables of which something is damaged.
        package var harmed: [String] = []
    }

    package var collection: String
    package var level: CheckLevel
    /// Those looked at, in order.
    package var points: [Point] = []
    package var damages: [Damage] = []
    /// Of level `source` alone: against which point the database was held, and what differs.
    package var sourcePoint: String?
    package var differences: [Difference] = []
    /// Tables of the database that aren't in that point, or couldn't be compared.
    package var leftOut: [NotBackedUp] = []
    package var files: UInt64 = 0
    package var bytes: UInt64 = 0
    /// Merged and counted, once for each slice that points have in common.
    package var rows: UInt64 = 0
    /// What the user should know although nothing is damaged.
    package var notes: [String] = []

    package init(collection: String, level: CheckLevel) {
        self.collection = collection
        self.level = level
    }

    package var isRight: Bool { damages.isEmpty && differences.isEmpty }
}

// MARK: Text

extension VerifyReport {
    /// One line.
    package var summary: String {
        let scope =
            "\(points.count) points, \(files) files, \(bytes) bytes"
            + (level >= .content ? ", \(rows) rows merged" : "") + ", level \(level.rawValue)"
        if !damages.isEmpty {
            let others = damages.count > 1 ? " (and \(damages.count - 1) more)" : ""
            let harmed = points.count { !$0.harmed.isEmpty }
            let lost = damages.count { $0.lost != nil }
            return "\(collection) is damaged: \(damages[0].message)\(others); "
                + [
                    lost == 0 ? nil : "\(lost) points are lost",
                    points.isEmpty
                        ? nil
                        : "\(harmed) of \(points.count) \(lost == 0 ? "" : "others ")are harmed",
                ].compactMap(\.self).joined(separator: ", ")
        }
        if let first = differences.first {
            let others = differences.count > 1 ? " (and \(differences.count - 1) more tables)" : ""
            return
                "\(collection) is whole, but the database isn't as \(sourcePoint ?? "") shows it: "
                + "\(first.table): \(first.message)\(others)"
        }
        if !leftOut.isEmpty {
            return "\(collection) is right, but \(leftOut.count) tables of the database aren't "
                + "compared with \(sourcePoint ?? ""): \(scope)"
        }
        return "\(collection) is right: \(scope)"
    }

    /// What there is to say of damage and differences, a line each.
    package var details: [String] {
        var lines: [String] = []
        for damage in damages {
            lines.append("\(damage.lost == nil ? "DAMAGED" : "LOST") \(damage.message)")
            lines += damage.harms.map { "  harms \($0.text)" }
            if damage.harms.isEmpty, damage.lost == nil, damage.file != nil {
                lines.append("  harms no row of any point")
            }
        }
        if !damages.isEmpty { lines += stillReads }
        for difference in differences {
            lines.append("DIFFERS \(difference.table): \(difference.message)")
            if !difference.firstKeys.isEmpty {
                lines.append("  first keys: " + difference.firstKeys.joined(separator: " · "))
            }
        }
        lines += leftOut.map { "left out: \($0.line)" }
        return lines + notes.map(oneLine)
    }

    private var stillReads: [String] {
        let whole = points.filter { $0.harmed.isEmpty }
        var lines: [String] = []
        // What isn't known to be there may have been a point.
        let isLost = damages.contains { $0.lost != nil || $0.file == nil }
        if points.isEmpty { return [] }
        if whole.count == points.count {
            lines.append(isLost ? "every other point still reads" : "every point still reads")
        } else {
            let names = whole.isEmpty ? "none" : Self.names(whole.map(\.name))
            lines.append("points that still read whole: \(names)")
        }
        let partly = points.filter { !$0.harmed.isEmpty && $0.harmed.count < $0.tables }
        for (harmed, points) in Dictionary(grouping: partly, by: \.harmed).sorted(by: {
            $0.value[0].sequence < $1.value[0].sequence
        }) {
            lines.append(
                "all tables but \(Self.names(harmed)) still read whole at "
                    + Self.names(points.map(\.name)))
        }
        return lines
    }

    /// Names, or the first, the last and how many.
    fileprivate static func names(_ names: [String]) -> String {
        let shown = 8
        if names.count <= shown { return names.joined(separator: ", ") }
        return "\(names[0]) … \(names[names.count - 1]) (\(names.count))"
    }
}

extension VerifyReport.Harm {
    fileprivate var text: String {
        let place =
            switch (after, before) {
            case (let after?, let before?): ", keys between \(after) and \(before)"
            case (let after?, nil): ", keys behind \(after)"
            case (nil, let before?): ", keys before \(before)"
            case (nil, nil): hasKeys ? ", all keys" : ""
            }
        return "\(table)\(place) at \(VerifyReport.names(points))"
    }
}

// MARK: JSON

extension VerifyReport: Encodable {
    private enum Keys: String, CodingKey {
        case collection, level, right, points, damages, differences, files, bytes, rows, notes
        case sourcePoint = "source_point"
        case leftOut = "left_out"
    }

    private struct LeftOut: Encodable {
        var path: String
        var reason: String
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(collection, forKey: .collection)
        try container.encode(level.rawValue, forKey: .level)
        try container.encode(isRight, forKey: .right)
        try container.encode(points, forKey: .points)
        try container.encode(damages, forKey: .damages)
        try container.encodeIfPresent(sourcePoint, forKey: .sourcePoint)
        try container.encode(differences, forKey: .differences)
        try container.encode(
            leftOut.map { LeftOut(path: $0.path, reason: $0.reason) }, forKey: .leftOut)
        try container.encode(files, forKey: .files)
        try container.encode(bytes, forKey: .bytes)
        try container.encode(rows, forKey: .rows)
        try container.encode(notes, forKey: .notes)
    }
}

extension VerifyReport.Point: Encodable {
    private enum CodingKeys: String, CodingKey { case name, tables, harmed }
}

extension VerifyReport.Damage: Encodable {}

extension VerifyReport.Harm: Encodable {
    private enum CodingKeys: String, CodingKey { case table, points, after, before }
}

extension VerifyReport.Difference: Encodable {
    private enum CodingKeys: String, CodingKey {
        case table, message, rows
        case firstKeys = "first_keys"
    }
}
