import Bytes
import Foundation
import Fuse
import FuseFixture
import Synchronization
import Testing

/// From mount to end in one process: unmounting by us and by others, idle and busy.
@Suite(.serialized) struct LifeTests {
    @Test func `an idle mount ends at once`() throws {
        try withMount { path, _, mount in
            mount.unmount()
            #expect(mount.waitUntilUnmounted() == .requested)
            #expect(mount.waitUntilEnded() == .requested)
            try #expect(Mounts.at(path) == nil)
            try #expect(check("ls -A \"$1\"", path) == "")
            mount.unmount()
            mount.unmount(now: true)
        }
    }

    @Test func `a busy mount disappears at once and is served until it is closed`() throws {
        try withMount { path, tree, mount in
            let file = try #require(FileHandle(forReadingAtPath: path + "/data/big"))
            mount.unmount()
            #expect(mount.waitUntilUnmounted() == .requested)
            try #expect(Mounts.at(path) == nil)
            let bytes = try file.readToEnd()
            #expect(bytes?.count == 5_242_883)
            #expect(tree.counters.released == 0)
            try file.close()
            #expect(mount.waitUntilEnded() == .requested)
            #expect(tree.counters.released == 1)
        }
    }

    @Test func `what stays open is given up when the time is over`() throws {
        let options = Mount.Options(location: "/nowhere", graceSeconds: 1)
        try withMount(options) { path, tree, mount in
            let file = try #require(FileHandle(forReadingAtPath: path + "/text"))
            let reader = Process()
            reader.executableURL = URL(fileURLWithPath: "/bin/cat")
            reader.arguments = [path + "/blocking"]
            reader.standardError = FileHandle.nullDevice
            try reader.run()
            #expect(eventually { tree.counters.waiting == 1 })
            let start = ContinuousClock.now
            mount.unmount()
            #expect(mount.waitUntilEnded() == .requested)
            let duration = ContinuousClock.now - start
            #expect(duration > .milliseconds(900) && duration < .seconds(3), "\(duration)")
            reader.waitUntilExit()
            #expect(tree.counters.waiting == 0)
            #expect(tree.counters.released == tree.counters.opened)
            #expect(throws: (any Error).self) { try file.readToEnd() }
        }
    }

    @Test func `now ends at once, whatever is open and waiting`() throws {
        try withMount { path, tree, mount in
            let file = try #require(FileHandle(forReadingAtPath: path + "/text"))
            let start = ContinuousClock.now
            mount.unmount()
            #expect(mount.waitUntilUnmounted() == .requested)
            mount.unmount(now: true)
            #expect(mount.waitUntilEnded() == .requested)
            #expect(ContinuousClock.now - start < .seconds(1))
            #expect(tree.counters.released == 1)
            _ = file
        }
    }

    @Test(arguments: ["umount", "umount -l", "fusermount3 -u"])
    func `somebody else's unmount is noticed`(command: String) throws {
        try withMount { path, _, mount in
            _ = try check("\(command) \"$1\"", path)
            #expect(mount.waitUntilUnmounted() == .external)
            #expect(mount.waitUntilEnded() == .external)
        }
    }

    @Test func `somebody else's detaching of a busy mount starts the clock`() throws {
        let options = Mount.Options(location: "/nowhere", graceSeconds: 1)
        try withMount(options) { path, _, mount in
            let file = try #require(FileHandle(forReadingAtPath: path + "/text"))
            let start = ContinuousClock.now
            _ = try check("umount -l \"$1\"", path)
            #expect(mount.waitUntilUnmounted() == .external)
            #expect(ContinuousClock.now - start < .milliseconds(900))
            #expect(mount.waitUntilEnded() == .external)
            #expect(ContinuousClock.now - start < .seconds(3))
            _ = file
        }
    }

    @Test func `Mounts unmounts idle and busy mounts of other processes`() throws {
        for now in [false, true] {
            try withMount { path, _, mount in
                let file = try #require(FileHandle(forReadingAtPath: path + "/text"))
                try Mounts.unmount(try #require(try Mounts.at(path)), now: now)
                #expect(mount.waitUntilUnmounted() == .external)
                if !now { try file.close() }
                #expect(mount.waitUntilEnded() == .external)
            }
        }
    }

    @Test func `a mount over ours is not ours to unmount`() throws {
        try withMount { path, _, mount in
            _ = try check("mount -t tmpfs over \"$1\"", path)
            try #expect(Mounts.at(path) == nil)
            _ = try check("umount \"$1\"", path)
            try #expect(Mounts.at(path) != nil)
            mount.unmount()
            _ = mount.waitUntilEnded()
            _ = try check("mount -t tmpfs other \"$1\"", path)
            mount.unmount(now: true)
            try #expect(check("findmnt -no SOURCE \"$1\"; umount \"$1\"", path) == "other\n")
        }
    }

    @Test func `unknown options are refused with their name`() throws {
        let scratch = try scratchDirectory()
        defer { rmdir(scratch) }
        let failure = #expect(throws: Failure.self) {
            try Mount(
                SampleFileSystem(), at: scratch,
                options: Mount.Options(location: "/nowhere", others: ["nonsense=1"]))
        }
        #expect(failure?.code == .invalid)
        #expect(failure?.message.contains("nonsense=1") == true)
        let missing = #expect(throws: Failure.self) {
            try Mount(
                SampleFileSystem(), at: scratch + "/missing", options: Mount.Options(location: "x"))
        }
        #expect(missing?.message.contains("No such file or directory") == true)
    }
}
