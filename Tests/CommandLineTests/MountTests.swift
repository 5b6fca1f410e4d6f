import Foundation
import Testing

/// Mounts from their start to their end, through the real program and the kernel.
@Suite struct MountTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
    }

    @Test func `A mount says what to do next, works, and leaves no trace`() throws {
        let mounted = try sandbox.ydbfs("database.db", "deep/mnt")
        #expect(mounted.status == 0, "\(mounted.errors)")
        let lines = mounted.output.split(separator: "\n").map(String.init)
        #expect(lines[0].contains("database.db") && lines[0].contains(sandbox.path + "/deep/mnt"))
        #expect(lines[0].contains("0 backup points"))
        #expect(lines[0].contains("ydbfs unmount \(sandbox.path)/deep/mnt"))
        #expect(try sandbox.mounts == ["deep/mnt"])
        #expect(!sandbox.exists("database.db.backups"), "mounting alone writes nothing")

        // The suggestion is a shell command: carry it out as it is.
        let start = try #require(lines.firstIndex { $0.hasPrefix("cat > ") })
        let paste = lines[start...].joined(separator: "\n") + "\n"
        #expect(paste.contains("TABLE `/Root/database/orders`"))
        let pasted = try sandbox.run("/bin/sh", ["-c", paste])
        #expect(pasted.status == 0, "\(pasted.errors)")
        #expect(sandbox.exists("deep/mnt/my_backup_collection/control"))

        let unmounted = try sandbox.ydbfs("unmount", "deep/mnt")
        #expect(unmounted.status == 0)
        #expect(unmounted.output == "\(sandbox.path)/deep/mnt unmounted\n")
        #expect(try sandbox.mounts == [])
        #expect(!sandbox.exists("deep"), "directories made for the mount are removed")
        let again = try sandbox.ydbfs("unmount", "deep/mnt")
        #expect(again.status == 1)
    }

    @Test func `Statements of run go through the live mount`() throws {
        #expect(try sandbox.ydbfs("mount", "database.db", "mnt").status == 0)
        let made = try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop")
        #expect(made.status == 0, "\(made.errors)")
        #expect(made.output.contains("_full rows=3 "))
        let newest = try sandbox.text("mnt/operations/2/statement")
        #expect(newest == "BACKUP shop\n", "the mount did it")
        #expect(try sandbox.text("mnt/shop/latest/orders.csv") == "id,item\n1,tea\n2,coffee\n")

        try sandbox.sql("INSERT INTO orders VALUES (3, 'milk')")
        let json = try sandbox.ydbfs("run", "mnt", "--json", "BACKUP shop INCREMENTAL")
        #expect(json.status == 0, "\(json.errors)")
        #expect(try sandbox.python("j['state'], j['id']", json: json.output) == "done 3")
        #expect(try sandbox.text("mnt/shop/latest/orders.csv").hasSuffix("3,milk\n"))
        for word in ["--adopt", "--trust-fs", "--rate=1M", "--reserve=1M"] {
            let refused = try sandbox.ydbfs("run", "mnt", word, "BACKUP shop")
            #expect(refused.status == 1 && refused.errors.contains("a mount carries"), "\(word)")
        }
        let later = try sandbox.ydbfs("run", "mnt", "--no-wait", "BACKUP shop INCREMENTAL")
        #expect(later.status == 0)
        #expect(later.output.hasPrefix("operation 4 "))

        let status = try sandbox.ydbfs("status", "mnt", "--json")
        #expect(
            try sandbox.python("j['mounts']", json: status.output) == "['\(sandbox.path)/mnt']")
        #expect(try sandbox.ydbfs("status", "database.db").output.contains(sandbox.path + "/mnt"))
    }

    @Test func `A refusal by the mount comes back with its reason and a caret`() throws {
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        let unknown = try sandbox.ydbfs("run", "database.db", "BACKUP   nothing")
        #expect(unknown.status == 1)
        #expect(unknown.errors.contains("there is no collection nothing"), "\(unknown.errors)")
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create).status == 0)
        let early = try sandbox.ydbfs("run", "database.db", "BACKUP shop INCREMENTAL")
        #expect(early.status == 1)
        #expect(early.errors.contains("no full backup"), "\(early.errors)")
    }

    @Test func `A killed mount is healed by the next one`() throws {
        let mountPoint = sandbox.path + "/mnt"
        #expect(try sandbox.ydbfs("database.db", mountPoint).status == 0)
        #expect(try sandbox.ydbfs("run", mountPoint, Sandbox.create, "BACKUP shop").status == 0)
        let servers = try sandbox.servers(of: mountPoint)
        #expect(servers.count == 1)
        for pid in servers { kill(pid, SIGKILL) }
        for _ in 0..<100 where !(try sandbox.servers(of: mountPoint)).isEmpty { usleep(20_000) }

        let dead = try sandbox.ydbfs("status", "mnt")
        #expect(dead.status == 1)
        #expect(dead.errors.contains("unmount"), "\(dead.errors)")
        let healed = try sandbox.ydbfs("database.db", "mnt")
        #expect(healed.status == 0, "\(healed.errors)")
        #expect(healed.output.contains("1 backup point in 1 collection"))
        #expect(try sandbox.mounts == ["mnt"])
        #expect(try sandbox.text("mnt/shop/latest/products.csv") == "id,name\n1,tea\n")
    }

    @Test func `Unmount takes a dead mount away`() throws {
        let mountPoint = sandbox.path + "/mnt"
        #expect(try sandbox.ydbfs("database.db", mountPoint).status == 0)
        for pid in try sandbox.servers(of: mountPoint) { kill(pid, SIGKILL) }
        for _ in 0..<100 where !(try sandbox.servers(of: mountPoint)).isEmpty { usleep(20_000) }
        let result = try sandbox.ydbfs("unmount", "mnt")
        #expect(result.status == 0)
        #expect(result.output.contains("dead"), "\(result.output)")
        #expect(try sandbox.mounts == [])
    }

    @Test(arguments: [
        "database.db", "database.db.backups", "database.db.backups/collections/mnt", ".", "full",
        "cache", "cache/below",
    ])
    func `A mount point that would hide something is refused`(_ place: String) throws {
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create).status == 0)
        for name in ["full/something", "cache"] {
            try FileManager.default.createDirectory(
                atPath: "\(sandbox.path)/\(name)", withIntermediateDirectories: true)
        }
        let result = try sandbox.ydbfs(
            "database.db", place, "-o", "cache_dir=\(sandbox.path)/cache")
        #expect(result.status == 1)
        #expect(result.errors.hasPrefix("ydbfs: can't mount at "), "\(result.errors)")
        #expect(try sandbox.mounts == [])
    }

    @Test func `A mount that looks for news rarely looks at once when its status is read`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create).status == 0)
        for (place, options) in [("rare", "poll=1h"), ("often", "poll=1s"), ("other", "rw")] {
            #expect(try sandbox.ydbfs("database.db", place, "-o", options).status == 0)
        }
        let shell = { try sandbox.run("/bin/bash", ["-c", $0]).output }
        let done = try shell("echo full > other/shop/control; cat other/shop/operation/wait")
        #expect(done.hasPrefix("done "))
        let points = { (place: String) in try shell("ls -d \(place)/shop/20*_full | wc -l") }
        var attempts = 0
        while try points("often") != "1\n", attempts < 100 {
            usleep(100_000)
            attempts += 1
        }
        #expect(try points("often") == "1\n")
        // Sooner or later others have seen it; this one hasn't looked.
        #expect(try points("rare") == "0\n")
        #expect(try shell("cat rare/shop/status").contains("points 1\n"))
        #expect(try points("rare") == "1\n")
    }

    @Test func `Points tell of themselves in extended attributes, if they are asked to`() throws {
        let backups = [Sandbox.create, "BACKUP shop", "BACKUP shop INCREMENTAL", "BACKUP shop"]
        #expect(try sandbox.run(Sandbox.binary, ["run", "database.db"] + backups).status == 0)
        #expect(try sandbox.ydbfs("database.db", "with", "-o", "xattr").status == 0)
        #expect(try sandbox.ydbfs("database.db", "without").status == 0)
        let script = """
            import errno, json, os
            def all(place):
                return {name: os.getxattr(place, name).decode() for name in os.listxattr(place)}
            def error(call, *arguments):
                try: call(*arguments)
                except OSError as error: return errno.errorcode[error.errno]
            shop = "with/shop/"
            points = sorted(name for name in os.listdir(shop) if name.startswith("20"))
            old, middle, new = [all(shop + point) for point in points]
            key = "user.ydbfs."
            ids = {point.pop(key + "backup_id") for point in (old, middle, new)}
            assert len(ids) == 3, ids
            assert old == new == {key + "rows": "3", key + "kind": "full"}, (old, new)
            assert middle == {key + "rows": "3", key + "kind": "incremental", key + "parent": points[0]}, middle
            table = all(shop + points[1] + "/orders.csv")
            assert table[key + "rows"] == "2" and table[key + "parent"] == points[0], table
            assert all(shop) == all(shop + "status") == all(shop + points[0] + "/backup.json") == {}
            assert error(os.getxattr, shop, key + "rows") == "ENODATA"
            assert error(os.getxattr, shop + "latest", key + "other") == "ENODATA"
            assert error(os.setxattr, shop + "latest", key + "rows", b"9") == "EROFS"
            assert error(os.removexattr, shop + "latest", key + "rows") == "EROFS"
            assert error(os.getxattr, "without/shop/latest", key + "rows") == "ENOTSUP"
            """
        let result = try sandbox.run(Sandbox.python, ["-c", script])
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `One mount point shows one mount`() throws {
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        let second = try sandbox.ydbfs("database.db", "mnt")
        #expect(second.status == 1)
        #expect(second.errors.contains("already shows"))
        #expect(try sandbox.mounts == ["mnt"])
    }

    @Test func `Without its database a mount still shows the backups`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop").status == 0)
        let database = sandbox.path + "/database.db"
        try FileManager.default.moveItem(atPath: database, toPath: database + ".aside")
        let mounted = try sandbox.ydbfs("database.db", "mnt")
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(mounted.output.contains("No such file"))
        #expect(try sandbox.text("mnt/shop/latest/products.csv") == "id,name\n1,tea\n")
        let refused = try sandbox.ydbfs("run", "mnt", "BACKUP shop")
        #expect(refused.status == 1)
        #expect(refused.errors.contains("No such file"), "\(refused.errors)")
        #expect(!sandbox.exists("database.db"), "nobody makes a database by looking for it")

        try FileManager.default.moveItem(atPath: database + ".aside", toPath: database)
        let accepted = try sandbox.ydbfs("run", "mnt", "BACKUP shop")
        #expect(accepted.status == 0, "\(accepted.errors)")
    }

    @Test func `A repository alone can be mounted, a garbled database too`() throws {
        #expect(try sandbox.ydbfs("run", "database.db", Sandbox.create, "BACKUP shop").status == 0)
        try sandbox.write(String(repeating: "garbage", count: 1000), to: "database.db")
        #expect(try sandbox.ydbfs("database.db", "one").status == 0)
        #expect(try sandbox.ydbfs("database.db.backups", "two").status == 0)
        for place in ["one", "two"] {
            #expect(try sandbox.text("\(place)/shop/latest/products.csv") == "id,name\n1,tea\n")
        }
        let refused = try sandbox.ydbfs("run", "two", "BACKUP shop")
        #expect(refused.status == 1)
        #expect(try sandbox.text("database.db").hasPrefix("garbage"))
    }

    @Test func `A read-only mount refuses statements`() throws {
        #expect(try sandbox.ydbfs("database.db", "mnt", "-o", "ro").status == 0)
        let result = try sandbox.ydbfs("run", "mnt", Sandbox.create)
        #expect(result.status == 1)
        #expect(result.errors.contains("ead-only"), "\(result.errors)")
        #expect(!sandbox.exists("database.db.backups"))
    }

    @Test func `Owner and permissions are as asked for`() throws {
        let mounted = try sandbox.ydbfs(
            "database.db", "mnt", "-ouid=1234,gid=2345", "-o", "umask=027,control=0640")
        #expect(mounted.status == 0, "\(mounted.errors)")
        let result = try sandbox.run(
            "/usr/bin/stat", ["-c", "%u %g %a", "mnt", "mnt/README", "mnt/control"])
        #expect(result.output == "1234 2345 750\n1234 2345 440\n1234 2345 640\n")
    }

    @Test func `In the foreground it ends with a signal`() throws {
        let running = try sandbox.start(Sandbox.binary, ["database.db", "mnt", "-f"])
        for _ in 0..<500 where (try sandbox.mounts).isEmpty { usleep(10_000) }
        for _ in 0..<500 where !sandbox.exists("mnt/README") { usleep(10_000) }
        usleep(100_000)
        kill(running.process.processIdentifier, SIGTERM)
        let result = try running.end()
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("mounted at"))
        #expect(try sandbox.mounts == [])
        #expect(!sandbox.exists("mnt"))
    }

    @Test func `As mount.ydbfs it serves mount(8)`() throws {
        let helper = sandbox.path + "/mount.ydbfs"
        try FileManager.default.createSymbolicLink(
            atPath: helper, withDestinationPath: Sandbox.binary)
        let fake = try sandbox.run(helper, ["database.db", "mnt", "-f", "-o", "rw"])
        #expect(fake.status == 0, "\(fake.errors)")
        #expect(try sandbox.mounts == [])
        let words = ["database.db", "mnt", "-n", "-o", "ro,nofail,noatime,x-systemd.automount"]
        let mounted = try sandbox.run(helper, words)
        #expect(mounted.status == 0, "\(mounted.errors)")
        #expect(try sandbox.mounts == ["mnt"])
        let line = try #require(
            Sandbox.mountTable.first { $0[1].hasPrefix(sandbox.path + "/") })
        #expect(line[0] == sandbox.path + "/database.db.backups")
        #expect(line[3].contains("ro,") && line[3].contains("noatime"), "\(line)")
    }

    @Test func `What keeps a mount from starting is told once, with an exit status`() throws {
        let missing = try sandbox.ydbfs("nothing.db", "mnt")
        #expect(missing.status == 1)
        #expect(missing.errors.hasPrefix("ydbfs: can't open nothing.db"))
        #expect(missing.errors.split(separator: "\n").count == 1)
        #expect(!sandbox.exists("mnt") && !sandbox.exists("nothing.db"))
        try sandbox.write("garbage, garbage, garbage", to: "bad.db")
        let bad = try sandbox.ydbfs("bad.db", "mnt")
        #expect(bad.status == 1)
        #expect(bad.errors.contains("no SQLite database"), "\(bad.errors)")
        #expect(!sandbox.exists("mnt"))
    }

    @Test func `Open files are served after an unmount until they are closed`() throws {
        #expect(try sandbox.ydbfs("database.db", "mnt").status == 0)
        #expect(try sandbox.ydbfs("run", "mnt", Sandbox.create, "BACKUP shop").status == 0)
        let file = try #require(
            FileHandle(forReadingAtPath: sandbox.path + "/mnt/shop/latest/products.csv"))
        let unmounting = try sandbox.start(Sandbox.binary, ["unmount", "mnt"])
        for _ in 0..<500 where !(try sandbox.mounts).isEmpty { usleep(10_000) }
        #expect(try sandbox.mounts == [])
        let text = try file.readToEnd().map { String(decoding: $0, as: UTF8.self) }
        #expect(text == "id,name\n1,tea\n")
        try file.close()
        let result = try unmounting.end()
        #expect(result.status == 0)
        #expect(result.output.contains("unmounted"), "\(result.output)")
        #expect(!sandbox.exists("mnt"))
    }
}
