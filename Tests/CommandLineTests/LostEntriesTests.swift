import Foundation
import Testing

/// Logs that lost entries, at their end or at their beginning, copies that say too much, and what is built
/// on damage.
@Suite struct LostEntriesTests: RepairedShop {
    let sandbox: Sandbox

    init() throws { sandbox = try Self.makeSandbox() }

    private func refused(_ statements: String) throws -> String {
        let result = try sandbox.ydbfs("run", "database.db", statements)
        #expect(result.status != 0, "\(result)")
        return result.errors
    }

    // MARK: Ends of logs

    @Test func `An alteration that is gone from the log's end is missed, and put back`() throws {
        try run("ALTER BACKUP COLLECTION shop SET (MAX_CHAIN = '9')")
        try shell("rm -r copy; cp -a database.db.backups copy; rm \(Self.log)/0000000005.json")
        for result in [try status(), try verify()] {
            #expect(result.status == 1, "\(result)")
            #expect(result.output.contains("0000000005.json is missing"), "\(result)")
        }
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }

    @Test func `What a copy did by itself is none of the log's`() throws {
        let made = try sandbox.ydbfs(
            "run", "database.db", "--repository", "copy", "--adopt", "BACKUP shop INCREMENTAL")
        #expect(made.status == 0, "\(made)")
        let healthy = try repair("--from", "copy")
        #expect(healthy.status == 0 && healthy.output.contains("nothing to mend"), "\(healthy)")
        try change(12)
        try shell("rm \(Self.log)/0000000005.json")
        let mended = try repair("--from", "copy")
        #expect(mended.output.contains("its loss is recorded"), "\(mended)")
        #expect(try status().output.contains("LOST 20"))
    }

    @Test func `A collection that is gone is missed beside another one`() throws {
        let other = Sandbox.create.replacing("shop", with: "other")
        try run(other + "BACKUP other")
        try shell("rm -r copy; cp -a database.db.backups copy")
        try shell(
            """
            cd database.db.backups; c=$(ls -t collections | head -1)
            rm -r collections/$c tables/$c
            """)
        #expect(try status().status == 1)
        #expect(try verify().status == 1)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 4)
    }

    @Test(arguments: ["collections", "collections/*", "collections/*/log", "tables/*"])
    func `A link in a folder's place gives way to what a copy has`(_ folder: String) throws {
        try shell("cd database.db.backups; f=$(echo \(folder)); mv $f ../x; ln -s $PWD/../x $f")
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0, "\(mended)")
        try expectWhole(points: 3)
    }

    @Test func `A pipe in the newest entry's place hides no other`() throws {
        try shell("cd \(Self.log); rm 0000000004.json; mkfifo 0000000004.json")
        #expect(try pointCount == 2)
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }

    // MARK: Beginnings of logs

    @Test func `A lost definition takes no full backup behind it`() throws {
        try run("BACKUP shop")
        try shell("rm \(Self.log)/0000000001.json")
        // Its name is known from the journal.
        #expect(try pointCount == 4)
        #expect(try status().output.contains("0000000001.json is missing"))
        let exported = try sandbox.ydbfs("export", "database.db", "shop/latest", "out")
        #expect(exported.status == 0, "\(exported)")
        let mended = try repair()
        #expect(mended.status == 0, "\(mended)")
        #expect(try pointCount == 4)
        #expect(try status().output.contains("its definition is lost: CREATE BACKUP COLLECTION"))
        #expect(try status().status == 1)
        #expect(try refused("BACKUP shop").contains("the definition of shop is lost"))
        try run(Sandbox.create)
        try change(12)
        #expect(try pointCount == 5)
        #expect(try repair("--forget-lost").status == 0)
        try expectWhole(points: 5)
    }

    @Test func `A collection whose log is lost is spoken of as damaged by every verb`() throws {
        try shell("rm \(Self.log)/*")
        for words in [
            ["export", "database.db", "shop/latest", "out"], ["show", "database.db", "shop"],
            ["history", "database.db", "shop", "orders", "1"],
            ["find", "database.db", "shop", "orders.item = 'tea'"],
            ["status", "database.db", "shop"],
        ] {
            let result = try sandbox.run(Sandbox.binary, words)
            let said = result.output + result.errors
            #expect(result.status == 1, "\(words): \(result)")
            #expect(said.contains("0000000001.json is missing"), "\(words): \(said)")
        }
    }

    // MARK: After a recorded loss

    @Test func `A mount commits nothing over a damaged entry also after a recorded loss`() throws {
        try shell("rm \(Self.log)/0000000003.json")
        try #require(try repair().status == 0)
        try run("BACKUP shop")
        try change(12)
        try change(13)
        try #require(try sandbox.ydbfs("database.db", "m").status == 0)
        defer { _ = try? sandbox.ydbfs("unmount", "m", "--now") }
        try shell("printf x | dd of=$(ls \(Self.log)/0000000006.json) bs=1 seek=40 conv=notrunc")
        try sandbox.sql("INSERT INTO orders VALUES (14, 'tea')")
        try shell("echo incremental > m/shop/control")
        #expect(try sandbox.text("m/shop/operation/wait").hasPrefix("refused"))
        #expect(try shell("ls \(Self.log)/0000000008.json").status != 0)
    }

    @Test func `What was given up is no reason for repair to fail`() throws {
        try shell("rm \(Self.log)/0000000003.json")
        #expect(try repair().status == 0)
        #expect(try repair("--forget-lost").status == 0)
        let again = try repair("--from", "copy")
        #expect(again.status == 0, "\(again)")
        #expect(again.errors.contains("/0000000003.json was given up, and "), "\(again)")
        #expect(again.errors.contains(" has it: read its points there\n"), "\(again)")
        #expect(try status().status == 0)
    }

    // MARK: What is built on damage

    @Test func `No incremental is built on what a verification found damaged`() throws {
        try shell(
            """
            f=$(ls -t database.db.backups/tables/*/*/*.parquet | head -1)
            dd if=/dev/urandom of=$f bs=$(stat -c %s $f) count=1 conv=notrunc
            """)
        #expect(try verify().status == 1)
        try sandbox.sql("INSERT INTO orders VALUES (12, 'tea')")
        #expect(try refused("BACKUP shop INCREMENTAL").contains("full"))
        try run("BACKUP shop")
        #expect(try sandbox.ydbfs("export", "database.db", "shop/latest", "out").status == 0)
        // Once the copy has healed it, it is said so, and incrementals go on.
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0 && mended.output.contains("files are right now"), "\(mended)")
        #expect(try status().status == 0)
        try change(13)
        try expectWhole(points: 5)
    }

    @Test func `A dry run of a healing changes nothing`() throws {
        try shell("f=$(ls -t database.db.backups/tables/*/*/*.parquet | head -1); echo x >> $f")
        #expect(try verify().status == 1)
        try shell("cp -a copy/tables database.db.backups")
        let before = try shell("find database.db.backups -printf '%p %s %T@\\n' | sort").output
        let said = try repair("--dry-run")
        #expect(said.status == 1 && said.output.contains("would mend"), "\(said)")
        #expect(
            try shell("find database.db.backups -printf '%p %s %T@\\n' | sort").output == before)
    }

    // MARK: Whose they are

    @Test func `No database continues backups of which nobody says whose they are`() throws {
        try shell("rm -r database.db.backups/databases; cp database.db b.db")
        #expect(try status().status == 1)
        let other = try sandbox.ydbfs(
            "run", "b.db", "--repository", "database.db.backups", "BACKUP shop INCREMENTAL")
        #expect(other.status == 1 && other.errors.contains("--adopt"), "\(other)")
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
        try shell("rm -r database.db.backups/databases")
        // The database that they lie beside is taken for theirs.
        let mended = try repair()
        #expect(mended.status == 0 && mended.output.contains("recorded anew"), "\(mended)")
        try change(12)
        try expectWhole(points: 4)
    }

    // MARK: Copies

    @Test func `The repository under another name is no copy of it`() throws {
        try shell(
            """
            mkdir bound; mount --bind database.db.backups bound
            rm \(Self.log)/0000000003.json
            """)
        defer { _ = try? shell("umount bound") }
        let refused = try repair("--from", "bound")
        #expect(refused.status == 1 && refused.errors.contains("the repository itself"))
        #expect(try repair("--from", "copy").status == 0)
        try expectWhole(points: 3)
    }

    @Test func `A copy's odd file is one that it hasn't got`() throws {
        try shell(
            """
            a=$(cd copy; ls tables/*/*/*.parquet | head -1)
            b=$(cd copy; ls tables/*/*/*.parquet | tail -1)
            rm database.db.backups/$a database.db.backups/$b copy/$a; mkfifo copy/$a
            """)
        let mended = try repair("--from", "copy")
        #expect(mended.status == 1 && mended.output.contains("is put back from"), "\(mended)")
        #expect(mended.errors.contains("no copy has it"), "\(mended)")
    }

    @Test func `A stray file behind the end of a log is moved aside, whatever its number`() throws {
        try shell("echo x > $(echo \(Self.log))/0000000009.json")
        #expect(try status().status == 1)
        let mended = try repair("--from", "copy")
        #expect(mended.status == 0 && !mended.output.contains("loss"), "\(mended)")
        try expectWhole(points: 3)
        try change(12)
        try expectWhole(points: 4)
    }

    @Test(arguments: ["cp 0000000004.json", "mkfifo", "mkdir"])
    func `What never was an entry isn't recorded as a lost one`(_ odd: String) throws {
        try shell("cd $(echo \(Self.log)); \(odd) 0000000005.json")
        #expect(try status().status == 1)
        let mended = try repair()
        #expect(mended.status == 0 && mended.output.contains("is no entry"), "\(mended)")
        try expectWhole(points: 3)
        try change(12)
        try expectWhole(points: 4)
    }

    @Test func `A file of a dropped collection is mended, as it may be had back`() throws {
        let json = try sandbox.ydbfs("status", "database.db", "--json").output
        let names = try sandbox.python(
            "' '.join(p['name'] for p in j['collections'][0]['points'])", json: json
        ).split(whereSeparator: \.isWhitespace)
        #expect(names.count == 3)
        try run("DROP BACKUP COLLECTION shop")
        try shell("rm $(ls database.db.backups/tables/*/*/*.parquet | head -1)")
        let mended = try repair("--from", "copy")
        #expect(mended.output.contains("is put back from"), "\(mended)")
        let undrops = names.map { "UNDROP BACKUP '\($0)'" }.joined(separator: ", ")
        try run(Sandbox.create + "ALTER BACKUP COLLECTION shop \(undrops)")
        try expectWhole(points: 3)
    }
}
