import Foundation
import Fuse
import FuseFixture
import TestSupport
import Testing

/// Reading the mounted tree with the tools that people use.
@Suite(.serialized) struct ReadingTests {
    /// The sample's data files as they should be, made without the mount.
    private func writeExpected(to directory: String) throws {
        for file in SampleFileSystem.sizes {
            let bytes = (0..<file.bytes).map(SampleFileSystem.patternByte)
            try Data(bytes).write(to: URL(fileURLWithPath: directory + "/" + file.name))
        }
    }

    @Test func `data files have their exact size and bytes for cp, cat, dd and tar`() throws {
        let expected = try scratchDirectory()
        defer { try? FileManager.default.removeItem(atPath: expected) }
        try writeExpected(to: expected)
        try withMount { path, tree, _ in
            let script = """
                cd "$1"; E=\(expected); T=$(mktemp -d)
                diff -r data $E && diff -r latest $E
                cp -r data $T/cp && diff -r $T/cp $E
                cat data/big | cmp - $E/big
                for i in 1 2; do dd if=data/big bs=4093 skip=511 count=700 status=none \
                  | cmp - <(dd if=$E/big bs=4093 skip=511 count=700 status=none); done
                dd if=data/big bs=64K iflag=direct status=none | cmp - $E/big
                tail -c 5 data/big | cmp - <(tail -c 5 $E/big)
                tar cf - data | tar xf - -C $T && diff -r $T/data $E
                python3 -c 'import mmap; f = open("data/big", "rb")
                assert mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)[:] == f.read()'
                stat -c '%s %b %h %a %F' data/big data/one
                rm -r $T
                """
            let blocks = (5 * 1024 * 1024 + 3 + 511) / 512
            try #expect(
                check(script, path) == """
                    5242883 \(blocks) 1 644 regular file
                    1 1 1 644 regular file

                    """)
            #expect(eventually { tree.counters.opened == tree.counters.released })
            #expect(tree.counters.flushed == 0, "closing cached data needn't ask")
        }
    }

    @Test func `a second read of cached data comes from the page cache`() throws {
        try withMount { path, tree, mount in
            _ = try check("cat \"$1\"/data/big > /dev/null", path)
            // Reads that come to us now would need the loop; a stopped process can't be tested
            // in itself, so the kernel's own count of cached pages is asked.
            let cached = try check("fincore -nbo PAGES \"$1\"/data/big", path)
            #expect(Int(cached.trimmingCharacters(in: .whitespacesAndNewlines)) == 1281)
            _ = try check("exec 3< \"$1\"/data/big", path)
            try #expect(check("fincore -nbo PAGES \"$1\"/data/big", path) == cached)
        }
    }

    @Test func `virtual text reads whole, from its end and in tar`() throws {
        try withMount { path, _, _ in
            let text = SampleFileSystem.sampleText
            try #expect(check("cat \"$1\"/text", path) == text)
            try #expect(check("tail -c 10 \"$1\"/text", path) == "last line\n")
            try #expect(check("tar cf - -C \"$1\" text | tar xOf -", path) == text)
            try #expect(check("head -n 2 \"$1\"/text | tail -n 1", path) == "second line\n")
        }
    }

    @Test func `20,000 entries are listed once each, with their attributes`() throws {
        try withMount { path, _, _ in
            let listing = try check("ls -lR --time-style=+%s \"$1\"/many | tail -n +3", path)
            let lines = listing.split(separator: "\n")
            #expect(lines.count == SampleFileSystem.manyCount)
            for (number, line) in lines.enumerated() {
                let fields = line.split(separator: " ")
                let name = "file-" + String(format: "%05d", number)
                guard fields.count == 7, fields[4] == "\(number)", fields[6] == name,
                    fields[5] == "1700000000"
                else {
                    Issue.record("line \(number) of ls -lR is \(line)")
                    break
                }
            }
            try #expect(check("ls -U \"$1\"/many | sort | uniq | wc -l", path) == "20000\n")
            try #expect(check("find \"$1\"/many -type f -printf x | wc -c", path) == "20000\n")
            try #expect(check("ls -a \"$1\" | sort | tr '\\n' ' '", path).hasPrefix(". .. "))
        }
    }

    @Test func `telldir, seekdir and rewinddir find every entry again`() throws {
        try withMount { path, _, _ in
            let directory = try #require(opendir(path + "/many"))
            defer { closedir(directory) }
            func next() -> String? {
                guard let entry = readdir(directory) else { return nil }
                return withUnsafePointer(to: entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
            }
            var places: [(position: Int, name: String)] = []
            var position = telldir(directory)
            while let name = next() {
                places.append((position, name))
                position = telldir(directory)
            }
            #expect(places.count == SampleFileSystem.manyCount + 2)
            #expect(places.prefix(2).map(\.name) == [".", ".."])
            let seed = UInt64.random(in: 0...UInt64.max)
            var random = SeededGenerator(seed: seed)
            for _ in 0..<500 {
                let place = try #require(places.randomElement(using: &random))
                seekdir(directory, place.position)
                #expect(next() == place.name, "seed \(seed)")
            }
            rewinddir(directory)
            #expect(next() == ".")
            var count = 1
            while next() != nil { count += 1 }
            #expect(count == places.count)
        }
    }

    @Test func `df shows statistics, mountinfo type and source, and read-ahead is raised`() throws {
        let location = "/nowhere/a b,c\\d.backups"
        try withMount(Mount.Options(location: location)) { path, _, _ in
            try #expect(
                check("df --output=size,used,avail,itotal \"$1\" | tail -n 1 | xargs", path)
                    == "4000 1600 2000 20010\n")
            let entry = try #require(try Mounts.at(path))
            #expect(entry.type == "fuse.ydbfs")
            #expect(entry.source == location)
            try #expect(Mounts.showing(source: location) == [entry])
            try #expect(check("cat /sys/class/bdi/\(entry.device)/read_ahead_kb", path) == "1024\n")
        }
    }

    @Test func `names that don't exist or aren't UTF-8 are not found`() throws {
        try withMount { path, _, _ in
            for name in ["nothing", "data/nothing", "many/file-20000", "many/file-1"] {
                let outcome = try run("cat \"$1/$2\"", path, name)
                #expect(outcome.errors.contains("No such file or directory"), "\(name)")
            }
            let outcome = try run("cat \"$1\"/$'\\xff\\xfe'", path)
            #expect(outcome.errors.contains("No such file or directory"))
            // Not remembered: the kernel asks again, so that a new point shows at once.
            try #expect(run("cat \"$1/nothing\"", path).status == 1)
        }
    }
}
