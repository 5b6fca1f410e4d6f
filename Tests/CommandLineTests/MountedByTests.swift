import Foundation
import Testing

/// Who carries a statement out: a mount only if it is of this database and repository, of the same user or
/// root, alive and writable; else the process itself.
@Suite struct MountedByTests {
    private let sandbox: Sandbox

    init() throws {
        sandbox = try Sandbox()
        try sandbox.makeShop()
        try #require(
            sandbox.ydbfs("run", "database.db", Sandbox.create + "BACKUP shop").status == 0)
    }

    /// A mount has no word for another rate, so that asking for one tells who would do it.
    private func goesThroughMount(_ source: String, _ arguments: String...) throws -> Bool {
        let result = try sandbox.run(
            Sandbox.binary, ["run", source, "--rate=100M", "BACKUP shop"] + arguments)
        if result.status != 0 { #expect(result.errors.contains("a mount carries"), "\(result)") }
        return result.status != 0
    }

    private func shell(_ script: String) throws -> Sandbox.Result {
        try sandbox.run("/bin/bash", ["-c", script], environment: ["Y": Sandbox.binary])
    }

    @Test func `Under another name of the same file the mount still does it`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        _ = try shell("ln -s . here")
        #expect(try goesThroughMount("database.db"))
        #expect(try goesThroughMount("here/database.db"))
        #expect(try goesThroughMount("m"))
    }

    @Test func `A mount of another database with this repository isn't asked`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        try sandbox.sql("CREATE TABLE products (id INTEGER PRIMARY KEY)", in: "other.db")
        let result = try sandbox.ydbfs(
            "run", "other.db", "--repository", "database.db.backups",
            "RESTORE shop (TABLE orders AS orders_before)")
        #expect(result.status == 1 && result.errors.contains("not of"), "\(result.errors)")
        let tables = try sandbox.run("/usr/bin/sqlite3", ["database.db", ".tables"])
        #expect(!tables.output.contains("before"))
        // The file in the database's place is another database.
        _ = try shell("mv database.db old.db; cp old.db database.db")
        #expect(try goesThroughMount("database.db"))
        #expect(!(try goesThroughMount("old.db", "--repository", "database.db.backups")))
    }

    @Test(arguments: [["database.db", "m", "-o", "ro"], ["database.db.backups", "m"]])
    func `Beside a mount that takes no statements it is done all the same`(
        _ mount: [String]
    ) throws {
        #expect(try sandbox.run(Sandbox.binary, mount).status == 0)
        #expect(!(try goesThroughMount("database.db")))
        let named = try sandbox.ydbfs("run", "m", "BACKUP shop")
        #expect(named.status == 1, "\(named.output)")
    }

    @Test func `A mount under another one isn't asked`() throws {
        #expect(try sandbox.ydbfs("database.db", "m").status == 0)
        let script = """
            unshare -m --propagation private bash -c '
                mount -t tmpfs none m; $Y run database.db --rate=100M "BACKUP shop"'
            """
        let result = try shell(script)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test func `Statements take turns, and after a refusal the others are cancelled`() throws {
        let alter = "ALTER BACKUP COLLECTION shop SET (KEEP_LAST = '30')"
        let both = try sandbox.ydbfs("run", "database.db", "BACKUP shop; \(alter); BACKUP shop")
        #expect(both.status == 0, "\(both.errors)")
        #expect(both.output.split(separator: "\n").count == 3)
        for mounted in [false, true] {
            if mounted { #expect(try sandbox.ydbfs("database.db", "m").status == 0) }
            let result = try sandbox.ydbfs(
                "run", "database.db", "BACKUP shop; BACKUP nothing; \(alter)")
            #expect(result.status == 1)
            #expect(result.output.contains("Z_full rows=3 "), "\(result.output)")
            #expect(result.errors.contains("no collection nothing"), "\(result.errors)")
            #expect(result.errors.contains("cancelled: statement 2 failed"), "\(result.errors)")
        }
    }

    // MARK: A second user

    /// Carries `script` out in a mount namespace where everybody may open /dev/fuse, as on most
    /// systems; `$U` makes a command a second user's, who has a directory `u` and the database.
    private func withUser(_ script: String) throws -> Sandbox.Result {
        try shell(
            """
            chmod 755 .; mknod fuse c 10 229; chmod 666 fuse; mkdir u
            chown -R 65534:65534 database.db database.db.backups u
            export U="setpriv --reuid=65534 --regid=65534 --clear-groups"
            unshare -m --propagation private bash -c 'mount --bind fuse /dev/fuse
            \(script)'
            """)
    }

    @Test func `Root's statements go to no other user's mount, which may never answer`() throws {
        let result = try withUser(
            """
            $U $Y database.db u -f > /dev/null & S=$!
            until grep -q " $PWD/u fuse.ydbfs" /proc/self/mounts; do sleep 0.05; done
            $U $Y run database.db --rate=100M "BACKUP shop"; echo user $?
            kill -STOP $S
            timeout 30 $Y run database.db "BACKUP shop" > /dev/null; echo root $?
            timeout 30 $Y status database.db | grep -c mounted
            timeout 30 $Y run u "BACKUP shop"; echo named $?
            $Y unmount u --now > /dev/null; echo unmount $?
            kill -KILL $S; kill -CONT $S
            """)
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(lines == ["user 1", "root 0", "0", "named 1", "unmount 0"], "\(result)")
        #expect(result.errors.contains("a mount carries"))
        #expect(result.errors.contains("is user 65534's, neither yours nor root's"))
        let owners = try shell("find database.db.backups -not -user 65534 | wc -l")
        #expect(owners.output == "0\n", "what root made is the user's to use")
    }

    @Test func `A user's statements go through root's mount only where they are let in`() throws {
        let result = try withUser(
            """
            for o in rw allow_other,control=600 allow_other,control=666; do
                $Y database.db m -o $o > /dev/null
                $U $Y run database.db --rate=100M "BACKUP shop" > /dev/null; echo $?
                $Y unmount m > /dev/null
            done
            """)
        // The files of root's mount are the database's owner's.
        #expect(result.output == "0\n1\n1\n", "\(result)")
    }
}
