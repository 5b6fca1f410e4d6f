import Bytes
import Foundation
import Fuse
import Testing

/// Which directories may become mount points, and what the mount table says.
@Suite(.serialized) struct MountPointTests {
    private func withScratch(_ body: (String) throws -> Void) throws {
        let scratch = try scratchDirectory()
        defer { _ = try? run("rm -rf --one-file-system \"$1\"", scratch) }
        try body(scratch)
    }

    private func refusal(_ path: String, _ protected: String...) -> String? {
        do {
            try MountPoint(preparing: path, protected: protected).remove()
            return nil
        } catch {
            return error.message
        }
    }

    @Test func `missing directories are created and removed again`() throws {
        try withScratch { scratch in
            let place = try MountPoint(preparing: scratch + "/a/b", protected: [])
            #expect(place.path == scratch + "/a/b")
            try #expect(check("stat -c %a \"$1\"/a/b", scratch) == "755\n")
            place.remove()
            try #expect(check("ls -A \"$1\"", scratch) == "")
            _ = try check("mkdir \"$1\"/mine", scratch)
            let mine = try MountPoint(preparing: scratch + "/mine", protected: [])
            mine.remove()
            try #expect(check("ls -A \"$1\"", scratch) == "mine\n")
            let used = try MountPoint(preparing: scratch + "/c/d", protected: [])
            _ = try check("touch \"$1\"/c/file", scratch)
            used.remove()
            try #expect(check("ls \"$1\"/c", scratch) == "file\n")
        }
    }

    @Test func `files, full directories and dead ends are refused`() throws {
        try withScratch { scratch in
            _ = try check("cd \"$1\"; touch file .x; ln -s nowhere link", scratch)
            #expect(refusal(scratch + "/file")?.contains("no directory") == true)
            #expect(refusal(scratch)?.contains("isn't empty") == true)
            #expect(refusal(scratch + "/file/sub")?.contains("Not a directory") == true)
            #expect(refusal(scratch + "/link") != nil)
            #expect(refusal(scratch + "/none/../../x") != nil)
        }
    }

    @Test func `a place that is, contains or lies in a protected one is refused`() throws {
        try withScratch { scratch in
            _ = try check(
                """
                cd "$1"; mkdir -p store/sub empty other; touch store/database
                ln -s store link; ln -s empty alias
                """, scratch)
            let store = scratch + "/store"
            #expect(refusal(store + "/sub", store)?.contains("lies in") == true)
            #expect(refusal(store + "/new/deep", store)?.contains("lies in") == true)
            #expect(refusal(scratch + "/link/sub", store)?.contains("lies in") == true)
            #expect(refusal(store + "/sub", scratch + "/link")?.contains("lies in") == true)
            #expect(refusal(scratch + "/empty", scratch + "/alias")?.contains("it is ") == true)
            #expect(refusal(scratch, store + "/database")?.contains("contains") == true)
            let later = scratch + "/empty/later"
            #expect(refusal(scratch + "/empty", later)?.contains("contains") == true)
            #expect(refusal(scratch + "/new", scratch + "/new")?.contains("it is ") == true)
            #expect(refusal(scratch + "/new/x", scratch + "/new")?.contains("lies in") == true)
            #expect(refusal(scratch + "/new", scratch + "/new/x")?.contains("contains") == true)
            // Neighbours and names that only begin alike are fine.
            let none = scratch + "/none"
            #expect(refusal(scratch + "/empty", store, store + "/database", none) == nil)
            #expect(refusal(scratch + "/new", scratch + "/newer", scratch + "/ne") == nil)
            #expect(refusal(scratch + "/store-mount", store) == nil)
        }
    }

    @Test func `bind mounts hide no overlap`() throws {
        try withScratch { scratch in
            _ = try check(
                """
                cd "$1"; mkdir -p store/sub/deep whole part
                mount --bind store whole; mount --bind store/sub part
                """, scratch)
            defer { _ = try? run("umount \"$1\"/whole \"$1\"/part", scratch) }
            let store = scratch + "/store"
            #expect(refusal(scratch + "/whole/sub/deep", store)?.contains("lies in") == true)
            #expect(refusal(scratch + "/part/deep", store)?.contains("lies in") == true)
            #expect(refusal(scratch + "/part/new", store)?.contains("lies in") == true)
            #expect(refusal(store + "/sub/deep", scratch + "/part")?.contains("lies in") == true)
            #expect(refusal(scratch + "/part/deep", scratch + "/store/other") == nil)
        }
    }

    @Test func `the mount table is read with its escapes and optional fields`() throws {
        try withScratch { scratch in
            let name = "tab\tspace back\\slash line\nend"
            _ = try check("mkdir \"$1\"", scratch + "/" + name)
            _ = try check("mount -t tmpfs 'so urce' \"$1\"", scratch + "/" + name)
            defer { _ = try? run("umount \"$1\"", scratch + "/" + name) }
            let entry = try Mounts.all().last
            #expect(entry?.mountPoint == scratch + "/" + name)
            #expect(entry?.source == "so urce")
            #expect(entry?.type == "tmpfs")
            #expect(entry?.root == "/")
            let device = try check("mountpoint -d \"$1\"", scratch + "/" + name)
            #expect(device == "\(entry?.device ?? "")\n")
            try #expect(Mounts.all().contains { $0.mountPoint == "/proc" && $0.type == "proc" })
        }
    }
}
