import Glibc

/// Paths are any bytes to the kernel, and text to us. A byte that is no text is kept in one of the
/// characters that nobody uses, and is that byte again where the kernel is asked (`FileCalls.swift`).
package enum PathText {
    /// For 0x80 to 0xFF: what is below is always text.
    private static let standIns: ClosedRange<UInt32> = 0x10_FE80...0x10_FEFF
    /// With which the UTF-8 of those begins, and of little else.
    private static let firstByte: UInt8 = 0xF4

    private static func byte(of scalar: Unicode.Scalar) -> UInt8? {
        standIns.contains(scalar.value) ? UInt8(truncatingIfNeeded: scalar.value) : nil
    }

    private static func mayHaveStandIns(_ text: String) -> Bool { text.utf8.contains(firstByte) }

    // MARK: To text and back

    /// A path, a name, or a word of the command line. No two have the same text.
    package static func text(_ bytes: some Collection<UInt8>) -> String {
        if !bytes.contains(firstByte), let text = String(validating: bytes, as: UTF8.self) {
            return text
        }
        var text = String.UnicodeScalarView()
        var rest = bytes[...]
        while !rest.isEmpty {
            let scalar = (1...4).lazy.compactMap { length in
                String(validating: rest.prefix(length), as: UTF8.self)
            }.first?.unicodeScalars.first
            // A stand-in that is really there is four bytes that are none.
            if let scalar, byte(of: scalar) == nil {
                text.append(scalar)
                rest = rest.dropFirst(UTF8.width(scalar))
            } else {
                let width = scalar.map { UTF8.width($0) } ?? 1
                for byte in rest.prefix(width) {
                    text.append(Unicode.Scalar(standIns.lowerBound & ~0xFF | UInt32(byte))!)
                }
                rest = rest.dropFirst(width)
            }
        }
        return String(text)
    }

    /// The text of a name that is data and becomes a file's: it is taken as it is.
    package static func text(ofName name: String) -> String {
        mayHaveStandIns(name) ? text(Array(name.utf8)) : name
    }

    package static func text(_ words: UnsafePointer<CChar>) -> String {
        text(UnsafeRawBufferPointer(start: words, count: strlen(words)))
    }

    package static func bytes(_ text: String) -> [UInt8] {
        guard mayHaveStandIns(text) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            byte(of: scalar).map { [$0] } ?? Array(UTF8.encode(scalar)!)
        }
    }

    package static func withCString<R>(
        _ path: String, _ body: (UnsafePointer<CChar>) throws -> R
    ) rethrows -> R {
        guard mayHaveStandIns(path) else { return try path.withCString(body) }
        return try cString(path).withUnsafeBufferPointer { try body($0.baseAddress!) }
    }

    /// With the zero at its end.
    package static func cString(_ path: String) -> [CChar] {
        (bytes(path) + [0]).map { CChar(bitPattern: $0) }
    }

    /// Whether the text stands for bytes that are no text.
    package static func isOdd(_ text: String) -> Bool {
        mayHaveStandIns(text) && text.unicodeScalars.contains { byte(of: $0) != nil }
    }

    // MARK: For people

    /// What is no text as `\xe9`.
    package static func shown(_ text: String) -> String { shown(text, backslash: "\\") }

    /// The same in a JSON text.
    package static func shown(json text: String) -> String { shown(text, backslash: "\\\\") }

    private static func shown(_ text: String, backslash: String) -> String {
        guard isOdd(text) else { return text }
        var shown = ""
        for scalar in text.unicodeScalars {
            if let byte = byte(of: scalar) {
                shown += backslash + "x" + String(byte, radix: 16)
            } else {
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    /// For pasting into a shell; what can't be shown as bash and zsh take it.
    package static func shellWord(_ text: String) -> String {
        let plain = text.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                || Array("/._-+,:@%".utf8).contains($0)
        }
        if plain, !text.isEmpty { return text }
        guard isOdd(text) || text.unicodeScalars.contains(where: \.isUnprintable) else {
            return "'" + text.replacingBytes("'", with: "'\\''") + "'"
        }
        let quoted = text.unicodeScalars.map { scalar in
            if scalar == "'" || scalar == "\\" { return "\\\(scalar)" }
            if !scalar.isUnprintable, !isOdd(String(scalar)) { return String(scalar) }
            return bytes(String(scalar)).map { "\\x" + String(hex: [$0]) }.joined()
        }
        return "$'" + quoted.joined() + "'"
    }

    // MARK: Parts

    /// The names in a path. To Swift, a slash before a combining mark is another character.
    package static func names(_ path: some StringProtocol) -> [String] {
        path.unicodeScalars.split(separator: "/").map { String(String.UnicodeScalarView($0)) }
    }

    package static func lastName(_ path: String) -> String { names(path).last ?? "/" }

    /// The directory that the path's last name is in, without a slash at the end: `.` for a mere name.
    package static func parent(_ path: String) -> String {
        guard let end = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return end == path.startIndex ? "/" : String(path[..<end])
    }

    // MARK: What the system says

    /// Without symlinks; nil, and `errno`, if there is no such file.
    package static func resolved(_ path: String) -> String? {
        withCString(path) { path in
            guard let resolved = realpath(path, nil) else { return nil }
            defer { free(resolved) }
            return text(resolved)
        }
    }

    /// Of a directory's entry.
    package static func name(_ entry: UnsafeMutablePointer<dirent>) -> String {
        withUnsafePointer(to: &entry.pointee.d_name) { name in
            name.withMemoryRebound(to: CChar.self, capacity: 256) { text($0) }
        }
    }

    /// What a directory holds, in no order, without `.` and `..`.
    package static func names(inDirectory path: String) throws(Failure) -> [String] {
        guard let stream = opendir(path) else { throw Failure("can't open \(path)") }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = name(entry)
            if name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw Failure("can't read \(path)") }
        return names
    }

    package static func environment(_ name: String) -> String? { getenv(name).map { text($0) } }

    /// This process's words, the program's name first.
    package static var arguments: [String] {
        (0..<Int(CommandLine.argc)).compactMap { CommandLine.unsafeArgv[$0] }.map { text($0) }
    }
}
