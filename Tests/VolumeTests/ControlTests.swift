import Bytes
import Engine
import Foundation
import Tables
import Testing
import Volume

/// Statements through control files: what starts, what is refused, and how a shell learns of it.
@Suite struct ControlTests {
    private func points(_ tree: any Tree) throws -> [String] {
        try tree.list("shop").filter { $0.hasPrefix("20") }
    }

    /// Waits for all that was started; answers the kinds of the points that there are then.
    private func kinds(_ tree: any Tree) throws -> [String] {
        _ = try tree.text("operations/latest/wait")
        return try points(tree).map { String($0.split(separator: "_").last!) }
    }

    // MARK: Refusals

    private struct Refused {
        var file = "control"
        var text: String
        var errno: Int32
        /// Part of what `errors` says of it.
        var says: String
        /// The line below the text, if the text is at fault.
        var caret: String?
    }

    private static let refusals = [
        Refused(text: "BACKUPP shop\n", errno: EINVAL, says: "BACKUPP", caret: "^"),
        Refused(text: "BACKUP\n;", errno: EINVAL, says: "2:1", caret: "^"),
        Refused(text: "BACKUP nothing\n", errno: ENOENT, says: "no collection nothing; there are:"),
        Refused(
            text: "BACKUP shop\n  INCREMENTALLY;\n", errno: EINVAL, says: "2:3",
            caret: "      ^"),
        Refused(
            text: "BACKUP plain INCREMENTAL\n", errno: EOPNOTSUPP, says: "not enabled on plain"),
        Refused(text: "BACKUP shop INCREMENTAL\n", errno: ENODATA, says: "no full backup yet"),
        Refused(
            file: "shop/control", text: "incremental\n", errno: ENODATA, says: "no full backup"),
        Refused(file: "shop/control", text: "BACKUP plain\n", errno: EINVAL, says: "shop"),
        Refused(text: Shop.create, errno: EEXIST, says: "collection shop exists already"),
        Refused(
            text: "CREATE BACKUP COLLECTION x ( TABLE ordres ) WITH ( STORAGE = 'cluster' )\n",
            errno: ENOENT, says: "no table ordres; there are: orders, sub/products"),
        Refused(
            text: "CREATE BACKUP COLLECTION x ( TABLE Orders ) WITH ( STORAGE = 'cluster' )\n",
            errno: ENOENT, says: "did you mean orders?"),
        Refused(
            text:
                "CREATE BACKUP COLLECTION x ( TABLE orders ) WITH ( STORAGE = 'cluster', A = 1 )\n",
            errno: EINVAL, says: "A", caret: "^"),
        Refused(text: "RESTORE shop\n", errno: ENOENT, says: "shop has no backup point yet"),
        Refused(
            file: "shop/control", text: "RESTORE AT 'monday'\n", errno: ENOENT,
            says: "shop has no backup point monday, and it is no time"),
        Refused(
            text: "VERIFY shop AT 'x'\n", errno: ENOENT,
            says: "shop has no backup point x, and it is no time"),
        Refused(text: "COMPACT shop\n", errno: ENODATA, says: "no point to compact"),
        Refused(text: "PRUNE shop\n", errno: EINVAL, says: "shop has no KEEP_ setting"),
        Refused(text: "DROP BACKUP COLLECTION nothing\n", errno: ENOENT, says: "nothing"),
        Refused(text: "BACKUP `/Root/other/shop`\n", errno: EINVAL, says: "shop"),
        Refused(text: "BACKUP shop \0\n", errno: EINVAL, says: "NUL"),
    ]

    @Test(arguments: Way.allCases)
    func `a refusal has its errno, and control and errors say why`(way: Way) throws {
        let shop = try Shop(rows: 3)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION plain ( TABLE orders ) WITH ( STORAGE = 'cluster' );")
            for refused in Self.refusals {
                let name = refused.text.prefix(60)
                let before = try tree.text("errors")
                #expect(
                    errno(of: { try tree.write(refused.file, refused.text) }) == refused.errno,
                    "\(name)")
                let errors = try tree.text("errors")
                let news = errors.dropFirst(errors.hasPrefix(before) ? before.count : 0)
                #expect(news.contains(refused.says), "\(name): \(news.prefix(2000))")
                if let caret = refused.caret {
                    #expect(news.contains(caret), "\(name): \(news)")
                    #expect(
                        news.split(separator: "\n").contains { $0.allSatisfy { " ^".contains($0) } }
                    )
                }
                let control = try tree.text(refused.file)
                #expect(control.hasPrefix("Last refusal or failure:\n"), "\(name)")
                #expect(control.contains(refused.says), "\(name)")
            }
            #expect(try tree.readLink("operations/latest") == "2")
            #expect(try points(tree) == [])
        }
    }

    @Test(arguments: Way.allCases)
    func `text without end is refused with EMSGSIZE, and the next statement is fresh`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 3)
        try withTree(way, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            let piece = Array(String(repeating: "x", count: 1 << 16).utf8)
            let pieces = [Array("-- ".utf8)] + (0..<20).map { _ in piece }
            #expect(errno(of: { try tree.write("control", pieces: pieces) }) == EMSGSIZE)
            let errors = try tree.text("errors")
            #expect(errors.contains("1 MiB"), "\(errors.suffix(300))")
            _ = try tree.backup("full", of: "shop")
        }
    }

    @Test(arguments: Way.allCases)
    func `a uid makes one backup, however often it is written, and after a restart too`(
        way: Way
    ) throws {
        let shop = try Shop(rows: 3)
        for round in 0..<2 {
            try withTree(way, Product(shop.database)) { tree in
                if round == 0 {
                    try tree.write("control", Shop.create)
                    _ = try tree.backup("BACKUP shop WITH (uid = 'nightly')", of: "shop")
                }
                for text in [
                    "BACKUP shop WITH (uid = 'nightly')", "BACKUP INCREMENTAL WITH (uid='nightly')",
                ] {
                    #expect(errno(of: { try tree.write("shop/control", text + "\n") }) == EEXIST)
                }
                #expect(try points(tree).count == 1)
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `a mount with -o ro refuses statements with EROFS and reads`(way: Way) throws {
        let shop = try Shop(rows: 3)
        try withTree(.direct, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
        }
        var settings = Settings()
        settings.isReadOnly = true
        try withTree(way, Product(shop.database, settings)) { tree in
            #expect(errno(of: { try tree.write("shop/control", "full\n") }) == EROFS)
            let products = try tree.read("shop/latest/sub/products.csv")
            #expect(try products == shop.products)
        }
    }

    // MARK: Pieces

    @Test func `a statement cut in two anywhere is one statement`() throws {
        let shop = try Shop(rows: 3)
        try withTree(.direct, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            var count = 0
            for end in [";", ";\n", "\n", ""] {
                let text = Array("BACKUP /* ü; */ shop\nWITH (uid = 'token-00')\(end)".utf8)
                let digits = text.firstIndex(of: 0x30)!
                for offset in 1..<text.count {
                    var statement = text
                    statement[digits] = UInt8(97 + count / 26)
                    statement[digits + 1] = UInt8(97 + count % 26)
                    count += 1
                    try tree.write(
                        "control",
                        pieces: [Array(statement[..<offset]), Array(statement[offset...])])
                    let state = try tree.text("operations/latest/wait")
                    #expect(state.hasPrefix("done point="), "\(offset): \(state)")
                    let said = Array(try tree.text("operations/latest/statement").utf8)
                    #expect(
                        said.contains(statement[digits]) && said.contains(statement[digits + 1]))
                    #expect(try tree.readLink("operations/latest") == "\(count + 1)")
                }
            }
            #expect(try points(tree).count == count)
        }
    }

    @Test func `a statement cut in two anywhere is one statement through the kernel too`() throws {
        let shop = try Shop(rows: 3)
        try withTree(.mounted, Product(shop.database)) { tree in
            try tree.write("control", Shop.create)
            let text = Array("BACKUP shop\n;".utf8)
            for (index, offset) in [1, 6, 7, 11, 12].enumerated() {
                try tree.write(
                    "control", pieces: [Array(text[..<offset]), Array(text[offset...])])
                #expect(try kinds(tree).count == index + 1)
            }
        }
    }

    // MARK: Shells

    private struct Written {
        var script: String
        /// The points that it makes.
        var kinds: [String]
        var shells = ["bash", "dash"]
    }

    private static let scripts = [
        Written(script: "echo full > \"$C\"", kinds: ["full"]),
        Written(script: "echo BACKUP INCREMENTAL >> \"$C\"", kinds: ["incremental"]),
        Written(script: "/bin/echo full > \"$C\"", kinds: ["full"]),
        Written(script: "echo 'BACKUP shop\n  INCREMENTAL\n' > \"$C\"", kinds: ["incremental"]),
        Written(script: "echo 'full;\nincremental' > \"$C\"", kinds: ["full", "incremental"]),
        Written(script: "printf 'full;incremental' > \"$C\"", kinds: ["full", "incremental"]),
        Written(script: "printf 'BACKUP\\nshop\\n' > \"$C\"", kinds: ["full"]),
        Written(script: "/usr/bin/printf '%s;\\n' full full > \"$C\"", kinds: ["full", "full"]),
        Written(script: "echo incremental | tee \"$C\" > /dev/null", kinds: ["incremental"]),
        Written(script: "echo full > \"$D/f\"; cp \"$D/f\" \"$C\"", kinds: ["full"]),
        Written(script: "echo full > \"$D/f\"; cat < \"$D/f\" > \"$C\"", kinds: ["full"]),
        Written(
            script: "cat > \"$C\" <<EOF\n-- every night\nBACKUP shop\n  INCREMENTAL;\n\nfull\nEOF",
            kinds: ["incremental", "full"]),
        Written(
            script: "{ echo BACKUP shop; echo INCREMENTAL; } > \"$C\"", kinds: ["incremental"],
            shells: ["dash"]),
        Written(
            script: "exec 3> \"$C\"; echo 'full;' >&3; echo 'incremental;' >&3; exec 3>&-",
            kinds: ["full", "incremental"]),
        Written(script: "( sleep 0.01; echo full ) > \"$C\"", kinds: ["full"]),
        Written(script: "(exit 0) > \"$C\"; : > \"$C\"; echo > \"$C\"", kinds: []),
        Written(script: "timeout 5 sh -c 'echo full > \"$0\"' \"$C\"", kinds: ["full"]),
    ]

    @Test func `bash and dash write statements as people do`() throws {
        let shop = try Shop(rows: 3)
        try withTree(.mounted, Product(shop.database)) { tree in
            guard let mount = (tree as? MountedTree)?.root else { return }
            try tree.write("control", Shop.create)
            _ = try tree.backup("full", of: "shop")
            var expected = ["full"]
            for written in Self.scripts {
                for name in written.shells {
                    let outcome = try shell(
                        "C=\"$1/shop/control\"; D=$2\n" + written.script, mount, shop.scratch.path,
                        shell: name)
                    #expect(outcome.status == 0, "\(name): \(written.script): \(outcome.errors)")
                    #expect(outcome.errors == "", "\(name): \(written.script)")
                    expected += written.kinds
                    let found = try kinds(tree)
                    #expect(found == expected, "\(name): \(written.script)")
                    expected = found
                }
            }
            let errors = try tree.text("errors")
            #expect(errors == "")
        }
    }

    @Test func `shells see a refusal as it happens`() throws {
        let shop = try Shop(rows: 3)
        try withTree(.mounted, Product(shop.database)) { tree in
            guard let mount = (tree as? MountedTree)?.root else { return }
            try tree.write("control", Shop.create)
            let scripts: [(shell: String, script: String, says: String)] = [
                ("bash", "echo nonsense > \"$1\"", "Invalid argument"),
                ("dash", "echo nonsense > \"$1\"", "I/O error"),
                ("bash", "/bin/echo incremental > \"$1\"", "No data available"),
                (
                    "bash", "echo nonsense | tee \"$1\" > /dev/null; exit ${PIPESTATUS[1]}",
                    "Invalid"
                ),
                ("bash", "cp <(echo nonsense) \"$1\"", "Invalid argument"),
                ("bash", "cat > \"$1\" <<< 'PULL shop'", "Operation not supported"),
                (
                    "bash", "/usr/bin/printf 'full;\\nnonsense\\n' | cat > \"$1\"",
                    "Invalid argument"
                ),
                // What isn't complete shows when the writer closes it.
                ("bash", "/bin/echo -n 'BACKUP shop (' > \"$1\"", "Invalid argument"),
            ]
            for (name, script, says) in scripts {
                let outcome = try shell(script, mount + "/shop/control", shell: name)
                #expect(outcome.status != 0, "\(name): \(script)")
                #expect(outcome.errors.contains(says), "\(name): \(script): \(outcome.errors)")
                #expect(try tree.text("shop/control").hasPrefix("Last refusal or failure:\n"))
            }
            #expect(try points(tree) == [])
            // bash ignores what close says; `errors` has it.
            _ = try shell("echo -n 'BACKUP shop WITH (' > \"$1\"", mount + "/shop/control")
            #expect(
                eventually { (try? tree.text("errors").contains("BACKUP shop WITH (")) == true })
        }
    }
}
