import Bytes
import Engine
import TestSupport
import Testing

/// A handle of a control file as shells use it; records what starts and what is refused.
private struct Handle {
    var control: ControlText
    var started: [String] = []
    var refused: [Failure.Code] = []
    /// What `validate` was asked, one entry per call.
    var validated: [[String]] = []
    var refuses: (Statement) -> Failure? = { _ in nil }

    init(in collection: String? = nil) {
        control = ControlText(scope: collection.map { CollectionScope(name: $0) })
    }

    private mutating func call(
        _ body: (inout ControlText, ([Statement]) throws(Failure) -> Void) throws(Failure) ->
            [Statement]
    ) {
        var asked: [[String]] = []
        let refuses = refuses
        do {
            let statements = try body(&control) { (statements) throws(Failure) in
                asked.append(statements.map(\.text))
                for statement in statements {
                    if let failure = refuses(statement) { throw failure }
                }
            }
            started += statements.map(\.text)
        } catch {
            refused.append(error.code)
        }
        validated += asked
    }

    mutating func write(_ text: String) { write(bytes: Array(text.utf8)) }

    mutating func write(bytes: [UInt8]) {
        call { (control, validate) throws(Failure) in try control.write(bytes, validate: validate) }
    }

    mutating func flush(byOpener: Bool = true) {
        call { (control, validate) throws(Failure) in
            try control.flush(byOpener: byOpener, validate: validate)
        }
    }

    @discardableResult
    mutating func release() -> Refusal? {
        var discarded: Refusal?
        call { (control, validate) throws(Failure) in
            let end = control.release(validate: validate)
            discarded = end.discarded
            return end.start
        }
        return discarded
    }

    /// Open, the writes, close: what a command with a redirection does.
    static func closed(afterWriting writes: [String], in collection: String? = nil) -> Handle {
        var handle = Handle(in: collection)
        for text in writes { handle.write(text) }
        handle.flush()
        handle.release()
        return handle
    }

    /// bash writes an `echo` or `printf` line by line, dash and coreutils in one piece.
    static func bash(_ text: String, in collection: String? = nil) -> Handle {
        var lines: [String] = []
        for character in text {
            if lines.isEmpty || lines[lines.count - 1].hasSuffix("\n") { lines.append("") }
            lines[lines.count - 1].append(character)
        }
        return closed(afterWriting: lines, in: collection)
    }

    static func dash(_ text: String, in collection: String? = nil) -> Handle {
        closed(afterWriting: [text], in: collection)
    }
}

@Suite struct ControlTextTests {
    @Test func textInTwoWritesStartsWhatItStartsInOne() throws {
        let roots = samples.map { ($0, String?.none) }
        let scoped = scopedSamples.map { ($0, String?.some("shop")) }
        for (sample, collection) in roots + scoped {
            let ended = sample.hasSuffix(";") ? String(sample.dropLast()) : sample
            for text in [sample, sample + "\n", ended, ended + "\n"] {
                let bytes = Array(text.utf8)
                let whole = Handle.dash(text, in: collection)
                #expect(whole.refused == [] && !whole.started.isEmpty, "\(text)")
                #expect(whole.started == (try parse(text, in: collection).map(\.text)))
                for cut in 1..<bytes.count {
                    var handle = Handle(in: collection)
                    handle.write(bytes: Array(bytes[..<cut]))
                    handle.write(bytes: Array(bytes[cut...]))
                    handle.flush()
                    #expect(handle.release() == nil)
                    #expect(handle.started == whole.started, "cut at \(cut): \(text)")
                    #expect(handle.refused == [], "cut at \(cut): \(text)")
                }
            }
        }
    }

    @Test func textByteByByteStartsTheSame() {
        for sample in samples {
            var handle = Handle()
            for byte in sample.utf8 { handle.write(bytes: [byte]) }
            handle.flush()
            #expect(handle.release() == nil && handle.refused == [])
            #expect(handle.started == Handle.dash(sample).started)
        }
    }

    @Test func echoOfOneWordStartsAtTheClose() {
        var handle = Handle(in: "shop")
        handle.write("full\n")
        #expect(handle.started == [] && handle.validated == [["full"]])
        handle.flush()
        #expect(handle.started == ["full"])
        handle.flush()
        #expect(handle.release() == nil)
        #expect(handle.started == ["full"] && handle.refused == [])
    }

    @Test func severalLinesAreOneStatementInBothShells() {
        let create = """
            CREATE BACKUP COLLECTION shop
                ( TABLE orders
                , TABLE customers
                )
            WITH
                ( STORAGE = 'cluster'
                , INCREMENTAL_BACKUP_ENABLED = 'true' )
            """
        for end in ["\n", ";\n", "\n;\n", ""] {
            for handle in [Handle.bash(create + end), Handle.dash(create + end)] {
                #expect(handle.started.count == 1 && handle.refused == [])
                #expect(handle.started.first?.hasSuffix("'true' )") == true)
            }
        }
        for text in ["BACKUP shop\nINCREMENTAL\n", "BACKUP shop\n\nINCREMENTAL\nWITH (uid=x)"] {
            for handle in [Handle.bash(text), Handle.dash(text)] {
                #expect(handle.started.count == 1 && handle.refused == [])
                #expect(handle.started.first?.contains("INCREMENTAL") == true)
            }
        }
    }

    @Test func aCompletePrefixIsValidatedAtItsWriteAndAgainWithWhatFollows() {
        var handle = Handle()
        handle.write("BACKUP shop\n")
        handle.write("INCREMENTAL\n")
        handle.write(";")
        #expect(
            handle.validated == [
                ["BACKUP shop"], ["BACKUP shop\nINCREMENTAL"], ["BACKUP shop\nINCREMENTAL"],
            ])
        #expect(handle.started == ["BACKUP shop\nINCREMENTAL"])
    }

    @Test func syntaxErrorsAreAnsweredAtTheWriteOfTheirLine() {
        for text in [
            "BACKUPP shop\n", "BACKUP shop;BOGUS;", "BACKUP shop\nINCREMENTL\n", "BACKUP 'x'\n",
        ] {
            var handle = Handle()
            handle.write(text)
            #expect(handle.refused == [.invalid] && handle.started == [], "\(text)")
            #expect(handle.control.refusal?.text == text)
            #expect(handle.control.refusal?.snippet?.hasSuffix("^") == true)
            handle.flush()
            #expect(handle.release() == nil)
            #expect(handle.refused == [.invalid] && handle.started == [])
        }
    }

    @Test func aLineThatIsRefusedTakesTheLinesBeforeItAlong() {
        let handle = Handle.bash("RESTORE shop\nAT ;\n")
        #expect(handle.started == [] && handle.refused == [.invalid])
        let typo = Handle.bash("BACKUP shop\nINCREMENTL\n")
        #expect(typo.started == [] && typo.refused == [.invalid])
    }

    @Test func aRefusedWriteLeavesTheHandleUsable() {
        let wrong: [[UInt8]] = [
            Array("BOGUS (\n".utf8), Array("BACKUP (;".utf8), Array("BACKUP `x\u{0}".utf8),
            Array("BACKUP a; /* ' \u{0}".utf8), Array("BACKUP a '".utf8) + [0xFF],
        ]
        for bytes in wrong {
            for beginning in ["", "BACKUP a\n", "ALTER BACKUP COLLECTION a SET (\n"] {
                var handle = Handle()
                handle.write(beginning)
                handle.write(bytes: bytes)
                #expect(handle.refused == [.invalid])
                handle.write("BACKUP shop;")
                #expect(handle.refused == [.invalid] && handle.started == ["BACKUP shop"])
            }
        }
    }

    @Test func theStatementsOfOneWriteAreRefusedTogether() {
        var handle = Handle()
        handle.refuses = { $0.collection.name == "b" ? Failure(.notFound, "no b") : nil }
        handle.write("BACKUP a; BACKUP b; BACKUP c;")
        #expect(handle.refused == [.notFound] && handle.started == [])
        handle.write("BACKUP a; BACKUP b\n")
        #expect(handle.refused == [.notFound, .notFound] && handle.started == [])
        #expect(handle.validated.last == ["BACKUP a", "BACKUP b"])
        handle.write("BACKUP a; BACKUP c\n")
        #expect(handle.started == ["BACKUP a"])
        handle.flush()
        #expect(handle.started == ["BACKUP a", "BACKUP c"])
    }

    @Test func flushOfIncompleteTextFailsOnceAndKeepsIt() {
        var handle = Handle()
        handle.write("BACKUP shop WITH (\n")
        #expect(handle.refused == [])
        handle.flush(byOpener: false)
        #expect(handle.refused == [])
        handle.flush()
        #expect(handle.refused == [.invalid] && handle.control.refusal == nil)
        handle.flush()
        #expect(handle.refused == [.invalid])
        handle.write("uid = x )\n")
        handle.flush()
        #expect(handle.started == ["BACKUP shop WITH (\nuid = x )"] && handle.refused.count == 1)
        #expect(handle.release() == nil)
    }

    @Test func aChildsFlushNeitherStartsNorFails() {
        var handle = Handle(in: "shop")
        handle.write("BACKUP\n")
        handle.flush(byOpener: false)
        handle.write("INCREMENTAL")
        handle.flush(byOpener: false)
        #expect(handle.started == [] && handle.refused == [])
        handle.flush()
        #expect(handle.started == ["BACKUP\nINCREMENTAL"])
    }

    @Test func releaseStartsWhatIsCompleteAndReturnsTheRest() {
        var complete = Handle()
        complete.write("BACKUP shop")
        complete.flush(byOpener: false)
        #expect(complete.release() == nil)
        #expect(complete.started == ["BACKUP shop"])

        var incomplete = Handle()
        incomplete.write("BACKUP a; CREATE BACKUP\n")
        incomplete.flush()
        let discarded = incomplete.release()
        #expect(incomplete.started == ["BACKUP a"] && discarded?.text == " CREATE BACKUP\n")
        #expect(discarded?.failure.code == .invalid)
        #expect(discarded?.snippet == " CREATE BACKUP\n              ^")

        var late = Handle()
        late.refuses = { _ in Failure(.queueFull, "the queue is full") }
        late.write("BACKUP a")
        #expect(late.release()?.failure.code == .queueFull)
        #expect(late.started == [])
    }

    @Test func blanksAndCommentsAreNoStatement() {
        for text in ["", "\n", " \t\r\n", "-- BACKUP shop;\n", "/* BACKUP shop; */", ";;\n;", "--"]
        {
            for handle in [Handle.bash(text), Handle.dash(text)] {
                #expect(handle.started == [] && handle.refused == [], "\(text)")
                #expect(handle.validated == [])
            }
        }
        var handle = Handle()
        handle.write("-- a comment in ")
        handle.flush()
        handle.write("two writes;\n")
        #expect(handle.release() == nil && handle.refused == [])
    }

    @Test func statementsNeedASemicolonBetween() {
        let lines = Handle.bash("full\nincremental\n", in: "shop")
        #expect(lines.started == [] && lines.refused == [.invalid])
        #expect(Handle.dash("full\nincremental\n", in: "shop").refused == [.invalid])
        let ended = Handle.bash("full;\nincremental;\n", in: "shop")
        #expect(ended.started == ["full", "incremental"] && ended.refused == [])
    }

    @Test func backslashesBeforeQuotesDoNotEndThem() {
        let text = #"RESTORE a AT 'x\';BACKUP b;'; BACKUP `c\`;`; BACKUP d WITH (uid = "e\\u0041"#
        let handle = Handle.dash(
            #"RESTORE a AT 'x\';BACKUP b;'; BACKUP `c\`;`; RESTORE d AT 'e\\';"#)
        #expect(handle.refused == [])
        #expect(
            handle.started == [
                #"RESTORE a AT 'x\';BACKUP b;'"#, #"BACKUP `c\`;`"#, #"RESTORE d AT 'e\\'"#,
            ])
        var open = Handle()
        open.write(text)
        #expect(open.started.count == 2 && open.release()?.failure.code == .invalid)
    }

    @Test func bytesThatAreNoTextAreRefused() {
        for bytes in [
            [0], [0x41, 0, 0x0A], [0xC3, 0x28], [0xFF, 0x3B], [0xED, 0xA0, 0x80], [0xC0, 0x80],
        ] as [[UInt8]] {
            var handle = Handle()
            handle.write(bytes: Array("BACKUP a;".utf8) + bytes)
            #expect(handle.refused == [.invalid] && handle.started == [], "\(bytes)")
        }
        var cut = Handle()
        cut.write(bytes: Array("BACKUP `".utf8) + [0xE6, 0x97])
        cut.flush()
        #expect(cut.refused == [.invalid])
        cut.write(bytes: [0xA5] + Array("`;".utf8))
        #expect(cut.started == ["BACKUP `日`"])
    }

    @Test func pendingTextIsBounded() {
        let megabyte = String(repeating: "x", count: ControlText.limit - 4)
        var handle = Handle()
        handle.write("'")
        handle.write(megabyte)
        #expect(handle.refused == [])
        handle.write("abcd")
        #expect(handle.refused == [.tooLong])
        #expect(handle.control.refusal?.failure.errno == Failure(.tooLong, "").errno)
        handle.write("BACKUP shop;")
        #expect(handle.started == ["BACKUP shop"])
        handle.write(megabyte + "12345;")
        #expect(handle.refused == [.tooLong, .tooLong])
        // Blank lines and ended statements don't count.
        let blank = String(repeating: " \n", count: 1 << 18)
        for _ in 0..<4 { handle.write(blank + "BACKUP shop;") }
        #expect(handle.started.count == 5 && handle.refused.count == 2)
    }

    /// The kernel cuts a longer write, and says that the first piece was written whatever happens to
    /// the second.
    @Test func anErrorOfALaterPieceIsToldAgain() {
        let piece = String(repeating: "x", count: ControlText.limit - 32)
        let rest = String(repeating: "y", count: 100)
        for retries in [false, true] {
            var handle = Handle()
            handle.write(piece)
            handle.write(rest)
            #expect(handle.refused == [.tooLong])
            if retries { handle.write(rest) } else { handle.flush() }
            #expect(handle.refused == [.tooLong, .tooLong])
            handle.flush()
            handle.write("BACKUP shop;")
            #expect(handle.refused.count == 2 && handle.started == ["BACKUP shop"])
        }
    }

    /// A CREATE of 10,000 tables by bash's echo: one write per line must not cost quadratic time.
    @Test func aLongStatementLineByLineIsFast() {
        var handle = Handle()
        let clock = ContinuousClock()
        let took = clock.measure {
            handle.write("CREATE BACKUP COLLECTION big (\n")
            for table in 0..<10_000 {
                handle.write("  \(table == 0 ? "" : ",") TABLE `/Root/database/table\(table)`\n")
            }
            handle.write(") WITH (STORAGE = cluster)\n")
            handle.flush()
        }
        #expect(handle.started.count == 1 && handle.refused == [])
        #expect(took < .seconds(20))
    }

    /// Random bytes in random pieces: nothing traps, nothing starts that was not validated.
    @Test(arguments: [1, 2] as [UInt64])
    func mutatedWritesNeverTrap(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for round in 0..<5_000 {
            var handle = Handle(in: Bool.random(using: &generator) ? "shop" : nil)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                var bytes = Array((samples + scopedSamples).randomElement(using: &generator)!.utf8)
                bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator))
                if Bool.random(using: &generator) {
                    let at = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[at] = UInt8.random(in: 0...255, using: &generator)
                }
                handle.write(bytes: bytes)
                if Bool.random(using: &generator) {
                    handle.flush(byOpener: Bool.random(using: &generator))
                }
            }
            handle.release()
            let validated = Set(handle.validated.joined())
            #expect(validated.isSuperset(of: handle.started), "seed \(seed) round \(round)")
        }
    }
}
