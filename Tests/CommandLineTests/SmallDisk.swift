import Foundation
import Testing

/// A volume of its own in a sandbox, at `disk`, small enough to be filled. Needs root, as mounting does.
final class SmallDisk {
    enum Kind: String, CaseIterable, Sendable { case tmpfs, ext4 }

    let sandbox: Sandbox
    private let path: String

    init(_ kind: Kind, megabytes: Int) throws {
        sandbox = try Sandbox()
        path = sandbox.path + "/disk"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        switch kind {
        case .tmpfs: try shell("mount -t tmpfs -o size=\(megabytes)m tmpfs disk")
        case .ext4:
            try shell(
                "truncate -s \(megabytes)M image && mkfs.ext4 -q -m 0 image && mount -o loop image disk"
            )
        }
    }

    deinit {
        // What the program has mounted holds the disk.
        for name in (try? sandbox.mounts) ?? [] {
            _ = try? sandbox.ydbfs("unmount", name, "--now")
        }
        _ = try? sandbox.run("/bin/umount", ["-l", path])
    }

    @discardableResult
    func shell(_ script: String, _ arguments: String...) throws -> String {
        let ran = try sandbox.run("/bin/bash", ["-c", script, "bash"] + arguments)
        try #require(ran.status == 0, "\(script): \(ran.errors)")
        return ran.output
    }

    /// Takes every block.
    func fill() throws {
        // Writing ends on ext4 while a few blocks are left, which are there for who asks for them.
        try shell(
            """
            cat /dev/zero > disk/fill 2> /dev/null; sync -f disk
            for size in 64 32 16 8 4 2 1; do for n in 1 2 3; do
              fallocate -l ${size}k disk/fill$size.$n 2> /dev/null
            done; done; sync -f disk
            """)
        #expect(try free < 8 << 10)
    }

    /// Gives back what `fill` took.
    func drain() throws { try shell("rm -f disk/fill*; sync -f disk") }

    /// Bytes.
    var free: Int {
        get throws {
            let text = try shell("df --output=avail -B1 disk | tail -1")
            return try #require(Int(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
    }

    /// Bytes of the data files in `disk/r`, catalogs left out.
    var dataBytes: Int {
        get throws {
            let text = try shell(
                "find disk/r -name '*.parquet' -printf '%s\\n' -o -name '*.idx' -printf '%s\\n'")
            return text.split(separator: "\n").reduce(0) { $0 + Int($1)! }
        }
    }

    /// A database `shop.db` outside of the disk whose rows can't be compressed.
    func makeDatabase(kilobytes: Int) throws {
        try sandbox.sql(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, v BLOB);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \(kilobytes))
            INSERT INTO orders SELECT i, randomblob(1000) FROM n;
            """, in: "shop.db")
    }

    static let create = """
        CREATE BACKUP COLLECTION shop DATABASE
        WITH (STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true');
        """

    /// Runs statements on the repository `disk/r`.
    func run(_ words: String...) throws -> Sandbox.Result {
        try sandbox.run(Sandbox.binary, ["run", "shop.db", "--repository", "disk/r"] + words)
    }

    /// Must succeed.
    @discardableResult
    func done(
        _ words: String..., at location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let ran = try sandbox.run(
            Sandbox.binary, ["run", "shop.db", "--repository", "disk/r"] + words)
        #expect(ran.status == 0, "\(words): \(ran.errors)", sourceLocation: location)
        return ran.output
    }

    /// Names, oldest first, and what dropping each would free.
    func points() throws -> [(name: String, frees: Int)] {
        let status = try sandbox.ydbfs("status", "disk/r", "shop", "--json")
        let text = try sandbox.python(
            "'\\n'.join(f\"{p['name']} {p['frees']}\" for p in j['collections'][0]['points'])",
            json: status.output)
        return text.split(separator: "\n").map { line in
            let words = line.split(separator: " ")
            return (String(words[0]), Int(words[1])!)
        }
    }
}
