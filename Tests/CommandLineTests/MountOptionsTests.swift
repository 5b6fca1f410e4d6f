import Bytes
import Engine
import Tables
import Testing
import Volume
import ydbfs

@Suite struct MountOptionsTests {
    @Test func `Every option is understood`() throws {
        let options = try MountOptions([
            "ro,allow_other,uid=1000,gid=0", "umask=027,control=0640,formats=csv,cache_size=2G",
            "cache_dir=/c,log=l.txt,repository=/a\\,b,reserve=64k,xattr,poll=1m30s",
        ])
        #expect(options.isReadOnly)
        #expect(options.allowsOthers)
        #expect(options.uid == 1000)
        #expect(options.gid == 0)
        #expect(options.umask == 0o027)
        #expect(options.controlMode == 0o640)
        #expect(options.formats == [.csv])
        #expect(options.cacheBytes == 2 << 30)
        #expect(options.cacheDirectory == "/c")
        #expect(options.log == "l.txt")
        #expect(options.repository == "/a,b")
        #expect(options.reserveBytes == 64 << 10)
        #expect(options.hasExtendedAttributes && options.poll?.seconds == 90)
        #expect(options.kernelWords.isEmpty)
    }

    @Test func `Names stand for ids`() throws {
        let options = try MountOptions(["uid=root,gid=root"])
        #expect(options.uid == 0)
        #expect(options.gid == 0)
    }

    @Test func `Without options nothing is read-only and the cache has 128 MiB`() throws {
        let options = try MountOptions([])
        #expect(!options.isReadOnly)
        #expect(options.reserveBytes == nil)
        #expect(try MountOptions(["reserve=0"]).reserveBytes == 0)
        #expect(options.cacheBytes == 128 << 20)
        #expect(options.controlMode == 0o600)
        #expect(options.formats == [.csv, .parquet])
        #expect(try options == MountOptions(["", ",,"]))
    }

    @Test(arguments: [
        ("128M", 128 << 20), ("1048576", 1 << 20), ("3g", 3 << 30), ("2048K", 2 << 20),
        ("64MiB", 64 << 20),
    ])
    func `Sizes have units`(_ text: String, _ bytes: Int) throws {
        #expect(try MountOptions(["cache_size=\(text)"]).cacheBytes == bytes)
    }

    @Test func `The generic words of mount(8) are taken, and those that matter passed on`() throws {
        let options = try MountOptions([
            "rw,nosuid,nodev,noexec,noatime,defaults,_netdev,user=me,nofail,noauto,x-systemd.automount"
                + ",x-gvfs-name=shop,comment=hello,relatime,exec,suid,dev,async,users"
        ])
        #expect(options.kernelWords == ["noexec", "noatime"])
        #expect(try !MountOptions(["ro,rw"]).isReadOnly)
    }

    @Test(arguments: [
        "nonsense", "reserve", "reserve=", "reserve=63K", "reserve=-1", "uid", "uid=",
        "uid=no-such-user-here", "uid=4294967295", "umask=8",
        "umask=1000",
        "umask=", "control=+7", "control=-1", "cache_size=", "cache_size=M", "cache_size=1K",
        "rate=", "rate=fast", "rate=1", "rate",
        "cache_size=-5M", "cache_size=99999999999T", "cache_size=1.5G", "formats=xml", "formats=",
        "cache_dir=", "log", "poll=5", "poll=0s", "poll", "xattr=1", "fsname=x", "nonsense=1",
        "ro=1", "pull", "pull=all",
    ])
    func `Wrong words are usage errors that name them`(_ word: String) {
        let failure = #expect(throws: Failure.self) { try MountOptions([word]) }
        #expect(failure?.code == .invalid)
        #expect(failure?.message.contains(word) == true)
    }

    @Test(arguments: [
        "encrypt", "passphrase_file=/x",
    ])
    func `What isn't built is refused as such`(_ word: String) {
        let failure = #expect(throws: Failure.self) { try MountOptions([word]) }
        #expect(failure?.code == .unsupported)
        #expect(failure?.message.contains("isn't built yet") == true)
    }

    @Test func `A mount takes every word of mount(8), and the kernel those that are its`() throws {
        let sandbox = try Sandbox()
        try sandbox.makeShop()
        // As mount(8) lists them; a label is of use with SELinux alone.
        let words =
            "async,noatime,auto,noauto,defaults,dev,nodev,nodiratime,dirsync,noexec,group,iversion,"
            + "noiversion,mand,nomand,_netdev,nofail,norelatime,strictatime,nostrictatime,lazytime,"
            + "nolazytime,suid,nosuid,silent,loud,owner,rw,sync,user,nouser,users,x-systemd.requires=a,"
            + "X-mount.mkdir,x-gvfs-hide,comment=c,symfollow,atime,diratime,exec,relatime,noexec"
        let mounted = try sandbox.ydbfs("mount", "database.db", "m", "-o", words)
        #expect(mounted.status == 0, "\(mounted.errors)")
        let flags = try sandbox.run(
            "/bin/sh", ["-c", "grep \" $PWD/m \" /proc/mounts | cut -d' ' -f4"])
        for flag in ["noatime", "noexec", "nosuid", "nodev", "sync", "dirsync"] {
            #expect(
                flags.output.split { $0 == "," || $0 == "\n" }.contains { $0 == flag },
                "\(flag): \(flags.output)")
        }
        let label = "context=system_u:object_r:tmp_t:s0"
        #expect(try MountOptions([label]).kernelWords == [label])
        let again = #expect(throws: Failure.self) { try MountOptions(["remount,ro"]) }
        #expect(again?.message.contains("unmount it, and mount it anew") == true)
    }

    @Test func `A sloppy mount ignores unknown words but no wrong values`() throws {
        #expect(try MountOptions(["nonsense,ro"], ignoresUnknown: true).isReadOnly)
        #expect(throws: Failure.self) { try MountOptions(["umask=9"], ignoresUnknown: true) }
    }

    @Test func `Files belong to who mounts, those of root's mount to the database's owner`() throws
    {
        let database = FileOwner(uid: 1000, gid: 1001)
        func owner(_ list: String, _ uid: UInt32, _ database: FileOwner?) throws -> [UInt32] {
            let owner = try MountOptions([list]).owner(
                of: FileOwner(uid: uid, gid: uid), database: database)
            return [owner.uid, owner.gid]
        }
        #expect(try owner("", 0, database) == [1000, 1001])
        #expect(try owner("", 0, nil) == [0, 0])
        #expect(try owner("", 5, database) == [5, 5])
        #expect(try owner("uid=7", 0, database) == [7, 1001])
        #expect(try owner("uid=7,gid=8", 5, nil) == [7, 8])
    }

    @Test(arguments: [
        (["ydbfs", "a.db", "/m", "-f"], ["a.db", "/m", "-f"]),
        (["ydbfs", "-oro,uid=5", "a.db", "/m"], ["-o", "ro,uid=5", "a.db", "/m"]),
        (["/sbin/mount.ydbfs", "a.db", "/m"], ["mount", "a.db", "/m"]),
        (
            ["mount.ydbfs", "a.db", "/m", "-o", "ro,nofail"],
            ["mount", "a.db", "/m", "-o", "ro,nofail"]
        ),
        (["mount.ydbfs", "a.db", "/m", "-snv"], ["mount", "a.db", "/m", "--sloppy"]),
        (["mount.ydbfs", "a.db", "/m", "-f"], ["mount", "a.db", "/m", "--fake"]),
        (["mount.ydbfs", "a.db", "/m", "-t", "ydbfs", "-N", "x"], ["mount", "a.db", "/m"]),
        (["mount.ydbfs", "a.db", "/m", "-r"], ["mount", "a.db", "/m", "-o", "ro"]),
    ])
    func `mount(8) and users call it differently`(_ words: [String], _ expected: [String]) throws {
        #expect(try MountHelper.translate(words) == expected)
    }

    @Test func `mount(8) gets an answer to what nobody knows`() {
        #expect(throws: Failure.self) { try MountHelper.translate(["mount.ydbfs", "a", "-x"]) }
        #expect(throws: Failure.self) { try MountHelper.translate(["mount.ydbfs", "a", "-o"]) }
    }

    @Test(arguments: [
        ("/mnt/shop", "/mnt/shop"), ("/my mnt", "'/my mnt'"), ("it's", "'it'\\''s'"), ("", "''"),
        ("$(rm)", "'$(rm)'"), ("ä", "'ä'"),
    ])
    func `Paths can be pasted into a shell`(_ path: String, _ word: String) throws {
        #expect(PathText.shellWord(path) == word)
        let sandbox = try Sandbox()
        let echoed = try sandbox.run("/bin/sh", ["-c", "printf %s \(PathText.shellWord(path))"])
        #expect(echoed.output == path)
    }
}
