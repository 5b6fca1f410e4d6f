import Glibc
import Synchronization

/// Paths are any bytes to the kernel, and text to us. Where a directory's path isn't UTF-8 it is kept open,
/// and `/proc/self/fd/N` is a path to it that is text.
package enum PathText {
    private static let opened = Mutex<[(path: [UInt8], descriptor: Int32)]>([])
    private static let slash = UInt8(ascii: "/")

    /// A path that names the same file. What is no directory and has such a name can't be reached.
    package static func usable(_ path: [UInt8]) -> String {
        if let text = String(validating: path, as: UTF8.self) { return text }
        let names = path.split(separator: slash, omittingEmptySubsequences: false)
        let last = names.lastIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
        guard let open = descriptor(of: Array(names[...last].joined(separator: [slash]))) else {
            return String(decoding: path, as: UTF8.self)
        }
        let rest = names[(last + 1)...].map { "/" + String(decoding: $0, as: UTF8.self) }
        return prefix + "\(open)" + rest.joined()
    }

    private static let prefix = "/proc/self/fd/"

    /// Stays open as long as the process lives.
    private static func descriptor(of directory: [UInt8]) -> Int32? {
        guard let path = resolved(directory) else { return nil }
        return opened.withLock { opened in
            if let known = opened.first(where: { $0.path == path }) { return known.descriptor }
            let new = withCString(path) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
            if new < 0 { return nil }
            opened.append((path, new))
            return new
        }
    }

    /// For people, and to know the directory by in another process: what isn't UTF-8 as `\xe9`.
    package static func shown(_ path: String) -> String {
        guard path.hasPrefix(prefix) else { return escaped(Array(path.utf8)) }
        let rest = path.dropFirst(prefix.count)
        let number = rest.prefix { $0 != "/" }
        let known = opened.withLock { $0.first { "\($0.descriptor)" == number } }
        guard let known else { return path }
        return escaped(known.path + Array(rest.dropFirst(number.count).utf8))
    }

    // MARK: Words of a command line

    /// A byte that isn't text is kept in one of the characters that nobody uses.
    private static let firstStandIn: UInt32 = 0x10_FE00

    /// A word as it came, in characters.
    package static func word(_ bytes: [UInt8]) -> String {
        var text = ""
        split(
            bytes, text: { text.unicodeScalars.append($0) },
            other: { text.unicodeScalars.append(Unicode.Scalar(firstStandIn + UInt32($0))!) })
        return text
    }

    /// The path that a word of the command line names.
    package static func path(ofWord word: String) -> String {
        guard word.unicodeScalars.contains(where: { standsFor($0) != nil }) else { return word }
        return usable(
            word.unicodeScalars.flatMap { scalar -> [UInt8] in
                standsFor(scalar).map { [$0] } ?? Array(String(scalar).utf8)
            })
    }

    private static func standsFor(_ scalar: Unicode.Scalar) -> UInt8? {
        scalar.value >= firstStandIn && scalar.value <= firstStandIn + 0xFF
            ? UInt8(scalar.value - firstStandIn) : nil
    }

    private static func escaped(_ path: [UInt8]) -> String {
        var text = ""
        split(
            path,
            text: { scalar in
                if let byte = standsFor(scalar) {
                    text += hex(byte)
                } else {
                    text.unicodeScalars.append(scalar)
                }
            },
            other: { text += hex($0) })
        return text
    }

    private static func hex(_ byte: UInt8) -> String {
        (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16)
    }

    /// Goes over UTF-8 and what isn't.
    private static func split(
        _ bytes: [UInt8], text: (Unicode.Scalar) -> Void, other: (UInt8) -> Void
    ) {
        var rest = bytes[...]
        while let byte = rest.first {
            let scalar = (1...4).lazy.compactMap { length in
                String(validating: rest.prefix(length), as: UTF8.self)
            }.first?.unicodeScalars.first
            if let scalar {
                text(scalar)
                rest = rest.dropFirst(UTF8.width(scalar))
            } else {
                other(byte)
                rest = rest.dropFirst()
            }
        }
    }

    // MARK: The kernel

    /// Without symlinks; nil, and `errno`, if there is no such file.
    package static func resolved(_ path: [UInt8]) -> [UInt8]? {
        withCString(path) { text in
            guard let resolved = realpath(text, nil) else { return nil }
            defer { free(resolved) }
            return (0..<strlen(resolved)).map { UInt8(bitPattern: resolved[$0]) }
        }
    }

    package static func withCString<R>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> R) -> R {
        (path.map(CChar.init(bitPattern:)) + [0]).withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}
