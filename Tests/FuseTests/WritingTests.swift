import Foundation
import Fuse
import FuseFixture
import Testing

/// Writing: to control files it arrives as it was written, everywhere else it is refused.
@Suite(.serialized) struct WritingTests {
    @Test(arguments: ["bash", "dash"])
    func `echo, printf, tee, cat and cp reach a control file whole`(shell: String) throws {
        try withMount { path, tree, _ in
            let script = """
                cd "$1"
                echo one > control
                echo two >> control
                printf 'three' > control
                echo four | tee control > /dev/null
                cat > control <<EOF
                five
                EOF
                cp text control
                truncate -s 0 control; touch control; chmod 600 control; chown 0:0 control
                """
            _ = try check(script, path, shell: shell)
            let written = tree.counters.written
            let expected = ["one\n", "two\n", "three", "four\n", "five\n"]
            #expect(written == expected + [SampleFileSystem.sampleText])
            #expect(tree.counters.flushed >= 6)
            #expect(eventually { tree.counters.opened == tree.counters.released })
            try #expect(check("cat \"$1\"/control", path) == written.joined())
        }
    }

    @Test func `a refused write is an error of write`() throws {
        try withMount { path, tree, _ in
            let bash = try run("echo refuse > \"$1\"/control", path)
            #expect(bash.status == 1)
            #expect(bash.errors.contains("Invalid argument"))
            let tool = try run("/bin/echo refuse > \"$1\"/control", path)
            #expect(tool.status == 1 && tool.errors.contains("Invalid argument"))
            let dash = try run("echo refuse > \"$1\"/control", path, shell: "dash")
            #expect(dash.status != 0)
            #expect(tree.counters.written == [])
        }
    }

    @Test func `ENOTCONN is never an answer`() throws {
        try withMount { path, _, _ in
            let outcome = try run("echo notconn > \"$1\"/control", path)
            #expect(outcome.errors.contains("Input/output error"))
        }
    }

    @Test(arguments: [
        "touch new", "mkdir new", "mkdir data/new", "rm data/one", "rmdir data", "mv data/one two",
        "mv data/one data/two", "ln text new", "ln -s text new", "mknod new p",
        "chmod 600 data/one", "touch data/one", "truncate -s 0 data/one", "chown 1:1 data",
        "cp /etc/hostname data/one", "bash -c 'echo x > data/one'", "bash -c 'echo x >> data/one'",
        "bash -c 'echo x > new'", "fallocate -l 10 control",
        "python3 -c 'import os; os.open(\"data/one\", os.O_RDONLY | os.O_TRUNC)'",
        "python3 -c 'import os; os.setxattr(\"data/one\", \"user.a\", b\"b\")'",
        "python3 -c 'import os; os.removexattr(\"data/one\", \"user.a\")'",
    ])
    func `what would change the tree is refused as read-only`(command: String) throws {
        try withMount { path, _, _ in
            let outcome = try run("cd \"$1\" && \(command)", path)
            #expect(outcome.status != 0)
            #expect(outcome.errors.contains("Read-only file system"), "\(outcome.errors)")
            try #expect(check("cat \"$1\"/data/one | wc -c", path) == "1\n")
        }
    }

    @Test func `find -delete and rm -rf change nothing`() throws {
        try withMount { path, _, _ in
            let outcome = try run("{ find \"$1\" -delete; rm -rf \"$1\"/*; } 2> /dev/null", path)
            #expect(outcome.status != 0)
            try #expect(check("find \"$1\" | wc -l", path) == "20015\n")
        }
    }

    @Test func `other users get in only if allowed, and the control file stays closed`() throws {
        let script = """
            chmod 711 "$1"/..; setpriv --reuid nobody --clear-groups sh -c '
            cat text; echo x > control; touch data/new' 2>&1
            """
        for isAllowed in [false, true] {
            let options = Mount.Options(location: "/nowhere", allowOther: isAllowed)
            try withMount(options) { path, tree, _ in
                let outcome = try run("cd \"$1\" && \(script)", path)
                let text =
                    isAllowed ? SampleFileSystem.sampleText : "cat: text: Permission denied\n"
                #expect(outcome.output.hasPrefix(text), "\(outcome.output)")
                #expect(outcome.output.contains("cannot create control: Permission denied"))
                #expect(outcome.status != 0)
                #expect(tree.counters.written == [])
            }
        }
    }

    @Test func `extended attributes are shown only by a mount that is to`() throws {
        let options = Mount.Options(location: "/nowhere", extendedAttributes: true)
        try withMount(options) { path, _, _ in
            let script = """
                import errno, os, sys
                os.chdir(sys.argv[1])
                assert os.listxattr("data") == ["user.sample.a", "user.sample.empty"]
                assert os.getxattr("data", "user.sample.a") == b"b"
                assert os.getxattr("data", "user.sample.empty") == b""
                assert os.listxattr("data/one") == []
                for place, name in ("data", "user.sample.b"), ("data/one", "user.sample.a"), ("data", "security.capability"):
                    try: os.getxattr(place, name)
                    except OSError as error: assert error.errno == errno.ENODATA, (place, name, error)
                    else: assert False, (place, name)
                try: os.setxattr("data", "user.sample.a", b"c")
                except OSError as error: assert error.errno == errno.EROFS, error
                else: assert False
                """
            let outcome = try run("python3 -c \"$2\" \"$1\"", path, script)
            #expect(outcome.status == 0, "\(outcome.errors)")
        }
    }

    @Test func `extended attributes are not asked for twice`() throws {
        try withMount { path, _, _ in
            let script = "import os, sys; os.getxattr(sys.argv[1] + '/data/one', 'user.a')"
            let outcome = try run("python3 -c \"$2\" \"$1\"", path, script)
            #expect(outcome.errors.contains("Operation not supported"))
        }
    }
}
