import Bytes
import Engine
import Tables
import TestSupport
import Testing

@Suite struct GrammarTests {
    /// The statements of YDB's page "Creating your first backup collection" and of its syntax
    /// reference, as they stand there.
    @Test func theQuickStartOfYDBIsTaken() throws {
        let text = """
            -- Create a collection for related tables
            CREATE BACKUP COLLECTION production_backups
                ( TABLE orders
                , TABLE products
                , TABLE customers
                )
            WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' );
            -- Take initial full backup
            BACKUP production_backups;
            -- Later, take incremental backups
            BACKUP production_backups INCREMENTAL;
            CREATE BACKUP COLLECTION `shop_backups`
                ( TABLE `/Root/shop/orders`, TABLE `/Root/shop/products` )
            WITH ( STORAGE = 'cluster', INCREMENTAL_BACKUP_ENABLED = 'true' );
            DROP BACKUP COLLECTION `shop_backups`;
            RESTORE production_backups;
            """
        let statements = try parse(text)
        #expect(
            statements.map(\.collection.name) == [
                "production_backups", "production_backups", "production_backups", "shop_backups",
                "shop_backups", "production_backups",
            ])
        guard case .create(let create) = statements[0].action,
            case .tables(let tables) = create.members
        else { throw Failure(.system, "no CREATE of tables") }
        #expect(tables.map(\.value) == ["orders", "products", "customers"])
        #expect(tables[1].position.line == 4 && tables[1].position.column == 13)
        #expect(create.settings.values.isIncrementalBackupEnabled)
        #expect(create.settings.values.storage == .cluster)
        guard case .backup(let full) = statements[1].action,
            case .backup(let incremental) = statements[2].action
        else { throw Failure(.system, "no BACKUP") }
        #expect(!full.isIncremental && incremental.isIncremental)
        #expect(statements[1].text == "BACKUP production_backups")
        guard case .restore(let restore) = statements[5].action else {
            throw Failure(.system, "no RESTORE")
        }
        #expect(restore.point == nil && restore.tables == nil)
    }

    @Test func whatIsAskedForMakesNoOperation() throws {
        for (text, question, name) in [
            ("SHOW COLLECTIONS", Statement.Question.collections, ""),
            ("show backups of `a b`;", .backups, "a b"), ("SHOW OPERATIONS", .operations, ""),
        ] {
            let statement = try one(text)
            #expect(statement.isQuestion && statement.action == .show(question))
            #expect(statement.collection.name == name)
        }
        #expect(try one("SHOW BACKUPS", in: "shop").collection.name == "shop")
        #expect(try one("SHOW OPERATIONS", in: "shop").collection.name == "shop")
        #expect(try one("SHOW COLLECTIONS", in: "shop").collection.name == "")
        #expect(try refusal(of: "SHOW BACKUPS OF other", in: "shop").description.contains("other"))
        #expect(try refusal(of: "SHOW BACKUPS").isIncomplete)
        #expect(
            try refusal(of: "SHOW COLECTIONS").description.contains("did you mean COLLECTIONS?"))
        #expect(try !one("BACKUP shop").isQuestion)
    }

    @Test func aDatabaseInParenthesesIsTaken() throws {
        for members in ["DATABASE", "( DATABASE )", "(database)"] {
            let text = "CREATE BACKUP COLLECTION c \(members) WITH (STORAGE = 'cluster')"
            guard case .create(let create) = try one(text).action,
                case .database = create.members
            else { throw Failure(.system, "\(members) is not the database") }
        }
        for members in ["( DATABASE", "( DATABASE, TABLE a )", "( DATABASE a )"] {
            let error = try refusal(
                of: "CREATE BACKUP COLLECTION c \(members) WITH (STORAGE = 'cluster')")
            #expect("\(error)".contains("expected )"), "\(error)")
        }
    }

    @Test func everySampleParses() throws {
        for sample in samples { #expect(try !parse(sample).isEmpty) }
        for sample in scopedSamples { #expect(try !parse(sample, in: "shop").isEmpty) }
    }

    @Test func rowsToPutBackAreTaken() throws {
        let text = """
            RESTORE c AT 'p' (
                TABLE a WHERE KEY IN (42, -7, 'x', ('', "it's"), (x'00fF', NULL), "\\"q"),
                TABLE b AS d CHANGED SINCE yesterday)
            WITH (on_conflict = Replace, dry_run = true, triggers = on, strict = 'true',)
            """
        guard case .restore(let restore) = try one(text).action, let tables = restore.tables,
            case .keys(let keys) = tables[0].rows, case .changed(let since) = tables[1].rows
        else { throw Failure(.system, "no RESTORE of rows") }
        #expect(
            keys.map(\.value) == [
                ["42"], ["-7"], ["x"], ["\"\"", "it's"], ["\\x00ff", ""], ["\"\"\"q\""],
            ])
        #expect(since.value == "yesterday" && tables[1].target?.value == "d")
        #expect(restore.rules.onConflict == .replace && restore.rules.isDryRun)
        #expect(restore.rules.runsTriggers && restore.isStrict)
        for (wrong, words) in [
            ("(TABLE a WHERE KEY IN ())", "expected a value of the key"),
            ("(TABLE a WHERE KEY IN (b))", "a text stands in quotes"),
            ("(TABLE a WHERE KEY IN (x'0'))", "bytes are written"),
            ("(TABLE a WHERE id = 1)", "expected KEY"),
            ("(TABLE a WHERE KEY IN (1), TABLE b)", "statements of their own"),
            ("(TABLE a) WITH (dry_run = true)", "this is said of rows"),
            ("(TABLE a CHANGED SINCE p) WITH (on_conflict = x)", "accepted: skip, replace, fail"),
            ("(TABLE a CHANGED SINCE p) WITH (strict = true, strict = true)", "twice"),
            ("(TABLE a CHANGED SINCE '')", "needs a point or a time"),
        ] {
            let message = try refusal(of: "RESTORE c \(wrong)").message
            #expect(message.contains(words), "\(wrong): \(message)")
        }
    }

    @Test func keywordsStayUsableAsNames() throws {
        for word in ["backup", "INCREMENTAL", "at", "Collection", "table", "set", "with", "full"] {
            #expect(try one("BACKUP \(word)").collection.name == word)
            #expect(try one("BACKUP \(word) INCREMENTAL").collection.name == word)
            #expect(try one("RESTORE \(word) AT '1'").collection.name == word)
            #expect(
                try one("ALTER BACKUP COLLECTION \(word) DROP TABLE drop").collection.name == word)
            let create = "CREATE BACKUP COLLECTION \(word) (TABLE \(word)) WITH (STORAGE=cluster)"
            #expect(try one(create).collection.name == word)
        }
    }

    @Test func inAScopeTheNameMayBeLeftOutAndKeywordsWin() throws {
        func backup(_ text: String, in name: String) throws -> (String, Bool) {
            let statement = try one(text, in: name)
            guard case .backup(let backup) = statement.action else {
                throw Failure(.system, "no backup: \(text)")
            }
            return (statement.collection.name, backup.isIncremental)
        }
        #expect(try backup("full", in: "shop") == ("shop", false))
        #expect(try backup("Incremental", in: "shop") == ("shop", true))
        #expect(try backup("BACKUP", in: "shop") == ("shop", false))
        #expect(try backup("BACKUP INCREMENTAL", in: "shop") == ("shop", true))
        #expect(try backup("BACKUP shop", in: "shop") == ("shop", false))
        #expect(try backup("BACKUP WITH (uid=x)", in: "shop") == ("shop", false))
        #expect(try backup("BACKUP INCREMENTAL WITH (uid=x)", in: "shop") == ("shop", true))
        #expect(try backup("BACKUP incremental", in: "incremental") == ("incremental", true))
        #expect(
            try backup("BACKUP incremental INCREMENTAL", in: "incremental") == ("incremental", true)
        )
        #expect(try backup("BACKUP `incremental`", in: "incremental") == ("incremental", false))
        #expect(try backup("BACKUP with WITH (uid=x)", in: "with") == ("with", false))
        guard case .restore(let restore) = try one("RESTORE AT '2026-01-01'", in: "shop").action
        else { throw Failure(.system, "no restore") }
        #expect(restore.point?.value == "2026-01-01")
        #expect(try one("RESTORE at AT x", in: "at").collection.name == "at")
        #expect(try one("VERIFY", in: "shop").collection.name == "shop")
        #expect(
            try one("ALTER BACKUP COLLECTION drop DROP TABLE x", in: "drop").collection.name
                == "drop")
    }

    @Test func inAScopeOthersAndCreateAreRefused() throws {
        #expect(try refusal(of: "BACKUP other", in: "shop").position.column == 8)
        #expect(try refusal(of: "DROP BACKUP COLLECTION other", in: "shop").position.column == 24)
        #expect(try refusal(of: "VERIFY Shop", in: "shop").message.contains("\"shop\""))
        let create = "CREATE BACKUP COLLECTION shop (TABLE a) WITH (STORAGE=cluster)"
        #expect(try refusal(of: create, in: "shop").message.contains("CREATE isn't possible"))
        #expect(try refusal(of: "full").message.hasPrefix("expected CREATE"))
        #expect(try refusal(of: "DROP BACKUP COLLECTION;", in: "shop").isIncomplete == false)
    }

    @Test func absoluteNamesAreOnlyTakenWhereCollectionsAre() throws {
        let name = try one("BACKUP `/Root/db/.backups/collections/shop`").collection
        #expect(name.name == "shop" && name.database == "/Root/db")
        #expect(
            try one("BACKUP `/Root/.backups/collections/shop`", in: "shop").collection.name
                == "shop")
        for wrong in [
            "a/b", "/Root/shop", "/.backups/collections/x", "/Root/.backups/collections/a/b", "",
            ".",
        ] {
            #expect(try refusal(of: "BACKUP `\(wrong)`").position.column == 8, "\(wrong)")
        }
    }

    @Test func quotesAndEscapes() throws {
        func point(_ literal: String) throws -> String? {
            guard case .pull(let point) = try one("PULL c AT \(literal)").action else { return nil }
            return point?.value
        }
        #expect(try point(#"'it''s'"#) == "it's")
        #expect(try point(#"'it\'s; -- /*'"#) == "it's; -- /*")
        #expect(try point(#""a\\b""#) == "a\\b")
        #expect(try point(#""\x41\u00e9\U0001F600\n""#) == "Aé😀\n")
        #expect(try point("-2h") == "-2h")
        #expect(try point("20261121100000Z_full") == "20261121100000Z_full")
        #expect(try one("BACKUP `a``b\\`c`").collection.name == "a`b`c")
    }

    /// text, line, column, part of the message
    @Test(arguments: [
        ("BACKUPP shop;", 1, 1, "found \"BACKUPP\""),
        ("BACKUP shop BACKUP shop", 1, 13, "expected ; or the end"),
        ("BACKUP shop\nINCREMENTL\n", 2, 1, "INCREMENTL"),
        ("BACKUP 'shop'", 1, 8, "bare or in back-quotes"),
        ("BACKUP shop WITH (id = x)", 1, 19, "option uid"),
        ("BACKUP shop WITH (uid = 'a b')", 1, 25, "accepted"),
        ("BACKUP shop WITH (uid = a, uid = b)", 1, 28, "twice"),
        ("CREATE BACKUP COLLECTION s (TABLE a,) WITH (STORAGE=s3)", 1, 37, "expected TABLE"),
        ("CREATE BACKUP COLLECTION s (TABLE a, TABLE a) WITH (STORAGE=s3)", 1, 44, "twice"),
        ("CREATE BACKUP COLLECTION s WITH (STORAGE='cluster')", 1, 28, "( TABLE"),
        ("CREATE BACKUP COLLECTION s DATABASE WITH ()", 1, 43, "a setting"),
        (
            "CREATE BACKUP COLLECTION s DATABASE WITH (\n\tSTORAGE = 'tape')", 2, 12,
            "accepted: 'cluster'"
        ),
        ("CREATE BACKUP COLLECTION s DATABASE WITH (COLOR = 'red')", 1, 43, "KEEP_DROPPED"),
        (
            "CREATE BACKUP COLLECTION s DATABASE WITH (STORAGE=s3, storage=s3)", 1, 55,
            "STORAGE twice"
        ),
        ("CREATE BACKUP COLLECTION s DATABASE WITH (STORAGE='s3')", 1, 43, "needs a LOCATION"),
        ("CREATE BACKUP COLLECTION s DATABASE WITH (LOCATION='/x')", 1, 43, "needs STORAGE"),
        ("CREATE BACKUP COLLECTION s DATABASE WITH (INCREMENTAL_EVERY='1h')", 1, 43, "_ENABLED"),
        ("ALTER BACKUP COLLECTION s SET (KEEP_LAST = 0)", 1, 44, "from 1"),
        ("ALTER BACKUP COLLECTION s RESET (KEEP_LAST, KEEP_LAST)", 1, 45, "twice"),
        ("ALTER BACKUP COLLECTION s ADD DATABASE", 1, 31, "expected TABLE"),
        ("RESTORE s (TABLE a AS x, TABLE x)", 1, 32, "two tables"),
        ("VERIFY s WITH (level = deep)", 1, 24, "catalog, hashes, content, source"),
        ("BACKUP ш", 1, 8, "back-quotes"),
        ("/* ж */ BACKUP `ж` ?", 1, 20, "unexpected \"?\""),
        ("PULL s AT '\\q'", 1, 12, "unknown escape"),
        ("PULL s AT '\\ud800'", 1, 12, "no such Unicode"),
        ("PULL s AT '\\x00'", 1, 11, "NUL"),
    ])
    func faultsAreFoundWhereTheyAre(_ text: String, line: Int, column: Int, part: String) throws {
        let error = try refusal(of: text)
        #expect(error.position.line == line && error.position.column == column, "\(error)")
        #expect(error.message.contains(part), "\(error)")
        #expect(!error.isIncomplete)
        #expect(error.failure == Failure(.invalid, "\(line):\(column): \(error.message)"))
    }

    @Test func everyPrefixOfAStatementIsIncompleteOrComplete() throws {
        for sample in [samples[0], samples[6]] {
            // Cut behind whole tokens: a cut word may be a wrong one.
            for (index, character) in sample.enumerated() where " \n".contains(character) {
                let prefix = String(sample.prefix(index))
                do {
                    _ = try parse(prefix)
                } catch {
                    #expect(error.isIncomplete, "\(prefix): \(error)")
                }
            }
        }
        #expect(try refusal(of: "PULL s AT 'x").isIncomplete)
        #expect(try refusal(of: "BACKUP s /* x").isIncomplete)
        #expect(try !refusal(of: "BOGUS 'x").isIncomplete)
    }

    @Test func theCaretStandsUnderTheFault() throws {
        #expect(
            try refusal(of: "BACKUP shop;\n\tBACKUP x y\n;").snippet == "\tBACKUP x y\n\t         ^"
        )
        #expect(try refusal(of: "BACKUP `日本` y").snippet == "BACKUP `日本` y\n              ^")
        #expect(try refusal(of: "BACKUP\r\n").snippet == "BACKUP\n      ^")
        #expect(
            try refusal(of: "BACKUP 'a\u{1B}[2J\u{202E}'").snippet.hasPrefix(
                "BACKUP 'a\u{FFFD}[2J\u{FFFD}'\n"))
        let long = try refusal(
            of: String(repeating: " ", count: 500) + "BOGUS " + String(repeating: "x", count: 500))
        #expect(long.snippet.unicodeScalars.count < 250 && long.position.column == 501)
        let lines = long.snippet.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[0].dropFirst(lines[1].count - 1).hasPrefix("BOGUS"))
    }

    @Test func statementsPointIntoTheirOwnText() throws {
        let statements = try parse("BACKUP a;\n\n  RESTORE shop\n  AT 'then'  ;")
        guard case .restore(let restore) = statements[1].action, let point = restore.point else {
            throw Failure(.system, "no point")
        }
        #expect(statements[1].text == "RESTORE shop\n  AT 'then'")
        #expect(statements[1].snippet(at: point.position) == "  AT 'then'\n     ^")
        #expect(statements[1].error("no", at: point.position).description == "4:6: no")
    }

    @Test func splittingFindsTheEndsThatParsingFinds() throws {
        var generator = SeededGenerator(seed: 11)
        let parts = [
            ";", "'", "\"", "`", "\\", "--", "-", "/*", "*/", "/", "*", "\n", "a", " ", "é", "''",
            "(",
        ]
        for round in 0..<20_000 {
            let count = Int.random(in: 1...12, using: &generator)
            let text = (0..<count).map { _ in parts.randomElement(using: &generator)! }.joined()
            let pieces = try StatementSplitter.split("BACKUP a;" + text + "\n;BACKUP b")
            #expect(pieces.map(\.text).joined().hasPrefix("BACKUP a;" + text), "round \(round)")
            // Text that parses has as many statements as its pieces have.
            guard let whole = try? parse(text) else { continue }
            let split = try StatementSplitter.split(text).flatMap { piece in
                try Statement.parse(piece.text, origin: piece.origin)
            }
            #expect(split == whole, "round \(round): \(text)")
        }
        let all = samples.joined(separator: "\n")
        let split = try StatementSplitter.split(all).flatMap {
            try Statement.parse($0.text, origin: $0.origin)
        }
        #expect(split == (try parse(all)))
    }

    /// Mutated samples never trap, and what is refused is refused within the text.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func mutatedTextsNeverTrap(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let corpus = samples + scopedSamples
        let scope: [String?] = [nil, "shop", "at", "incremental"]
        for round in 0..<20_000 {
            var bytes = Array(corpus.randomElement(using: &generator)!.utf8)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let at = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0 where at < bytes.count: bytes.remove(at: at)
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: at)
                case 2:
                    bytes.insert(
                        contentsOf: "'\"`\\;-/*(),=\n\0".utf8.shuffled(using: &generator).prefix(2),
                        at: at)
                default:
                    let other = Array(corpus.randomElement(using: &generator)!.utf8)
                    bytes.insert(contentsOf: other.prefix(at), at: at)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            do {
                for statement in try parse(text, in: scope.randomElement(using: &generator)!) {
                    #expect(text.contains(statement.text))
                }
            } catch {
                #expect(error.position.offset <= text.utf8.count, "seed \(seed) round \(round)")
                #expect(error.position.line >= 1 && error.position.column >= 1)
                #expect(
                    error.snippet.split(separator: "\n", omittingEmptySubsequences: false).count
                        == 2)
                #expect(!error.message.contains("\n"))
            }
        }
    }
}
