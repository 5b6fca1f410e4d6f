/// Values as text: the byte-level part of rendering, free of any format's rules but CSV's quoting.
extension ByteBuffer {
    package func append(decimal value: Int64) {
        reserve(21)
        put(signed: value)
    }

    package func append(decimal value: UInt64) {
        reserve(20)
        put(decimal: value)
    }

    /// `value` with at least `width` digits, zeros in front.
    package func append(decimal value: UInt64, width: Int) {
        var power: UInt64 = 1
        for _ in 1..<width {
            power *= 10
            if value < power {
                append(byte: UInt8(ascii: "0"), repeated: width - String(value).utf8.count)
                break
            }
        }
        append(decimal: value)
    }

    private static let hexDigits = [UInt8]("0123456789abcdef".utf8)

    package func append(hex bytes: UnsafeRawBufferPointer) {
        reserve(bytes.count * 2)
        for byte in bytes {
            append(byte: Self.hexDigits[Int(byte >> 4)])
            append(byte: Self.hexDigits[Int(byte & 15)])
        }
    }

    // MARK: Floating point

    /// The shortest decimal that reads back as the same number, in the form of Python's `repr`:
    /// `5.0`, `1e+16`, `1e-05`, `-0.0`, `inf`, `nan`.
    package func append(python value: Double) {
        let size = value.magnitude
        if size < 1e15 && (size >= 1e-4 || size == 0) {
            append(value.description)
        } else {
            append(pythonForm: value.description)
        }
    }

    package func append(python value: Float) {
        let size = value.magnitude
        if size < 1e6 && (size >= 1e-4 || size == 0) {
            append(value.description)
        } else {
            append(pythonForm: value.description)
        }
    }

    /// Swift's shortest digits, put into Python's form: an exponent from 10¹⁶ and below 10⁻⁴.
    private func append(pythonForm text: String) {
        var digits: [UInt8] = []
        var exponent = 0
        var fraction = false
        var scanner = text.utf8[...]
        if scanner.first == UInt8(ascii: "-") {
            append(byte: UInt8(ascii: "-"))
            scanner = scanner.dropFirst()
        }
        guard let first = scanner.first, (48...57).contains(first) else {
            append(String(scanner)!)
            return
        }
        while let character = scanner.popFirst(), character != UInt8(ascii: "e") {
            if character == UInt8(ascii: ".") {
                fraction = true
            } else {
                digits.append(character)
                if fraction { exponent -= 1 }
            }
        }
        exponent += Int(String(scanner)!) ?? 0
        while digits.count > 1, digits.first == 48 { digits.removeFirst() }
        while digits.count > 1, digits.last == 48 {
            digits.removeLast()
            exponent += 1
        }
        append(digits: digits, exponent: exponent)
    }

    /// `digits` × 10^`exponent`, no zeros at either end of the digits.
    private func append(digits: [UInt8], exponent: Int) {
        let point = digits.count + exponent
        if point > 16 || point < -3 {
            append(byte: digits[0])
            if digits.count > 1 {
                append(byte: UInt8(ascii: "."))
                append(Array(digits.dropFirst()))
            }
            append(point > 0 ? "e+" : "e-")
            append(decimal: UInt64((point - 1).magnitude), width: 2)
        } else if point <= 0 {
            append("0.")
            append(byte: 48, repeated: -point)
            append(digits)
        } else if exponent >= 0 {
            append(digits)
            append(byte: 48, repeated: exponent)
            append(".0")
        } else {
            append(Array(digits[..<point]))
            append(byte: UInt8(ascii: "."))
            append(Array(digits[point...]))
        }
    }

    // MARK: Time

    /// `2026-11-21`, from days since 1970 in the proleptic Gregorian calendar.
    package func append(days: Int64) {
        // Howard Hinnant's civil_from_days, in eras of 400 years that begin in March.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0)
        if year < 0 { append(byte: UInt8(ascii: "-")) }
        append(decimal: year.magnitude, width: 4)
        append(byte: UInt8(ascii: "-"))
        append(decimal: UInt64(month < 10 ? month + 3 : month - 9), width: 2)
        append(byte: UInt8(ascii: "-"))
        append(decimal: UInt64(day), width: 2)
    }

    /// `2026-11-21T10:00:00`, from seconds since 1970.
    package func append(seconds: Int64) {
        let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
        let rest = seconds - days * 86_400
        append(days: days)
        append(byte: UInt8(ascii: "T"))
        append(decimal: UInt64(rest / 3600), width: 2)
        append(byte: UInt8(ascii: ":"))
        append(decimal: UInt64(rest / 60 % 60), width: 2)
        append(byte: UInt8(ascii: ":"))
        append(decimal: UInt64(rest % 60), width: 2)
    }

    /// `2026-11-21T10:00:00.000000`, from microseconds since 1970.
    package func append(microseconds: Int64) {
        let seconds =
            microseconds >= 0 ? microseconds / 1_000_000 : (microseconds - 999_999) / 1_000_000
        append(seconds: seconds)
        append(byte: UInt8(ascii: "."))
        append(decimal: UInt64(microseconds - seconds * 1_000_000), width: 6)
    }

    // MARK: CSV

    /// A CSV field as RFC 4180 has it, quoted only where it must be, or where it is empty, or
    /// where it begins or ends with a space.
    package func append(csvField bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else {
            append("\"\"")
            return
        }
        let space = UInt8(ascii: " ")
        if bytes[0] == space || bytes[bytes.count - 1] == space || Self.needsQuotes(bytes) {
            appendQuoted(bytes)
        } else {
            reserve(bytes.count)
            (base + count).copyMemory(from: source, byteCount: bytes.count)
            count += bytes.count
        }
    }

    /// Looks for a comma, a quote, CR or LF, eight bytes at a time.
    private static func needsQuotes(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if hasSpecial(word) { return true }
            index += 8
        }
        if index == bytes.count { return false }
        if bytes.count >= 8 {
            return hasSpecial(
                bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self))
        }
        while index < bytes.count {
            switch bytes[index] {
            case 0x22, 0x2C, 0x0A, 0x0D: return true
            default: index += 1
            }
        }
        return false
    }

    @inline(__always)
    private static func hasSpecial(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ 0x2222_2222_2222_2222
        let comma = word ^ 0x2C2C_2C2C_2C2C_2C2C
        let lineFeed = word ^ 0x0A0A_0A0A_0A0A_0A0A
        let carriageReturn = word ^ 0x0D0D_0D0D_0D0D_0D0D
        let zeros =
            ((quote &- ones) & ~quote) | ((comma &- ones) & ~comma)
            | ((lineFeed &- ones) & ~lineFeed) | ((carriageReturn &- ones) & ~carriageReturn)
        return zeros & 0x8080_8080_8080_8080 != 0
    }

    private func appendQuoted(_ bytes: UnsafeRawBufferPointer) {
        let quote = UInt8(ascii: "\"")
        reserve(bytes.count + 2)
        append(byte: quote)
        for byte in bytes {
            if byte == quote { append(byte: quote) }
            append(byte: byte)
        }
        append(byte: quote)
    }

    /// Bytes as a CSV field: as they are if they are UTF-8 and don't begin with `\x`, else `\x` and
    /// hexadecimal digits.
    package func append(csvBinary bytes: UnsafeRawBufferPointer) {
        let looksEscaped = bytes.count >= 2 && bytes[0] == 0x5C && bytes[1] == 0x78
        if looksEscaped || !UTF8Check.isValid(bytes) {
            append("\\x")
            append(hex: bytes)
        } else {
            append(csvField: bytes)
        }
    }
}

package enum UTF8Check {
    /// True if the bytes are well-formed UTF-8. ASCII passes eight bytes at a time.
    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if word & 0x8080_8080_8080_8080 != 0 { break }
            index += 8
        }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[index...])
        if rest.allSatisfy({ $0 < 0x80 }) { return true }
        return String(validating: rest, as: UTF8.self) != nil
    }
}
