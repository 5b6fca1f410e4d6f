/// The one of `words` that was probably meant by `word`: a letter is wrong, missing, too many, or two have
/// changed places, one such mistake for each three letters. Case doesn't count. Nil if none is that near.
package func nearestWord(to word: String, among words: [String]) -> String? {
    let mistaken = Array(word.lowercased().unicodeScalars.prefix(64))
    let candidates = words.map { known in
        (known, mistakes(mistaken, Array(known.lowercased().unicodeScalars)))
    }
    let allowed = max(1, mistaken.count / 3)
    guard let best = candidates.min(by: { $0.1 < $1.1 }), best.1 <= allowed else { return nil }
    return best.0
}

/// The edit distance of Damerau and Levenshtein, in its restricted form.
private func mistakes(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var (twoBefore, before) = ([Int](), Array(0...b.count))
    for (i, left) in a.enumerated() {
        var row = [i + 1]
        for (j, right) in b.enumerated() {
            var least = min(before[j + 1] + 1, row[j] + 1, before[j] + (left == right ? 0 : 1))
            if i > 0, j > 0, left == b[j - 1], a[i - 1] == right {
                least = min(least, twoBefore[j - 1] + 1)
            }
            row.append(least)
        }
        (twoBefore, before) = (before, row)
    }
    return before[b.count]
}
