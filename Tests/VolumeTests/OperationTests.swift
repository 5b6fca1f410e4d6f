import Bytes
import Engine
import Foundation
import Synchronization
import Tables
import Testing
import Volume

/// Operations that take long: what waits for them, what queues behind them, what stops them.
@Suite struct OperationTests {
    private func withGate(
        _ way: Way, _ body: (any Tree, Gate, Shop) throws -> Void
    ) throws {
        let shop = try Shop(rows: 10)
        let gate = Gate()
        var settings = Settings()
        settings.gate = gate
        let product = try Product(shop.database, settings)
        try withTree(way, product) { tree in
            defer { gate.open() }
            try tree.write("control", Shop.create)
            try body(tree, gate, shop)
        }
    }

    @Test(arguments: Way.allCases)
    func `wait blocks until the end and is one line without padding, however long`(way: Way) throws
    {
        try withGate(way) { tree, gate, _ in
            try tree.write("shop/control", "full\n")
            let answers = Mutex<[[UInt8]]>([])
            let waiter = try WorkerThread {
                for path in ["shop/operation/wait", "operations/latest/wait"] {
                    let line = (try? tree.read(path)) ?? []
                    answers.withLock { $0.append(line) }
                }
            }
            #expect(eventually { gate.waiting == 1 })
            usleep(50_000)
            let early = answers.withLock(\.self)
            #expect(early == [])
            #expect(try ["running\n", "queued\n"].contains(tree.text("shop/operation/state")))
            #expect(try tree.status("shop/operation/wait").bytes == 0)
            gate.open()
            waiter.join()
            let lines = answers.withLock(\.self)
            for line in lines {
                #expect(line.firstIndex(of: 10) == line.count - 1)
                let text = String(decoding: line, as: UTF8.self)
                #expect(text.hasPrefix("done point=20") && !text.contains("  "), "\(text)")
                #expect(!text.hasSuffix(" \n"))
            }
            #expect(lines.count == 2)
        }
    }

    @Test(arguments: Way.allCases)
    func `a queued and a running operation can be cancelled, an ended one can't`(way: Way) throws {
        try withGate(way) { tree, gate, _ in
            try tree.write("shop/control", "full\n")
            try tree.write("shop/control", "full\n")
            try tree.write("shop/control", "full\n")
            #expect(eventually { gate.waiting == 1 })
            try tree.write("operations/3/cancel", "1\n")
            try tree.write("operations/2/cancel", "1\n")
            gate.open()
            #expect(try tree.text("operations/2/wait").hasPrefix("cancelled: on request"))
            #expect(try tree.text("operations/3/wait").hasPrefix("cancelled: on request"))
            #expect(try tree.text("operations/4/wait").hasPrefix("done point="))
            #expect(try tree.text("operations/3/state") == "cancelled\n")
            #expect(errno(of: { try tree.write("operations/4/cancel", "1\n") }) == EINVAL)
            #expect(try tree.text("errors").contains("operation 4 has ended already"))
            #expect(try tree.list("shop").filter { $0.hasPrefix("20") }.count == 1)
        }
    }

    @Test(arguments: Way.allCases)
    func `statements of one write are refused together and fail in order`(way: Way) throws {
        try withGate(way) { tree, gate, shop in
            #expect(errno(of: { try tree.write("shop/control", "full; nonsense;") }) == EINVAL)
            #expect(try tree.readLink("operations/latest") == "1")
            gate.open()
            try tree.write("shop/control", "full; incremental; incremental;")
            #expect(try tree.text("operations/4/wait").hasPrefix("done point="))
            let kinds = try tree.list("shop").filter { $0.hasPrefix("20") }
                .map { $0.split(separator: "_").last }
            #expect(kinds == ["full", "incremental", "incremental"])
            gate.shut()
            try tree.write(
                "shop/control", "full; incremental;\nfull; BACKUP shop WITH (uid = 'u');")
            #expect(eventually { gate.waiting == 1 })
            try shop.run("DROP TABLE orders; DROP TABLE \"sub/products\"")
            gate.open()
            #expect(try tree.text("operations/5/wait").hasPrefix("failed: "))
            for id in 6...8 {
                #expect(
                    try tree.text("operations/\(id)/wait").hasPrefix(
                        "cancelled: statement 1 failed"))
            }
            let reason = "can be backed up: orders: the database has no such table"
            #expect(try tree.text("shop/control").contains(reason))
            #expect(try tree.text("errors").contains(reason))
            // The uid of a backup that never was is free.
            try shop.run(
                "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, amount REAL, note BLOB)"
            )
            _ = try tree.backup("BACKUP shop WITH (uid = 'u')", of: "shop")
        }
    }

    @Test(arguments: Way.allCases)
    func `what is refused looks at the state that the queue will leave`(way: Way) throws {
        try withGate(way) { tree, gate, _ in
            #expect(errno(of: { try tree.write("shop/control", "incremental\n") }) == ENODATA)
            try tree.write("shop/control", "BACKUP WITH (uid = 'a')\n")
            try tree.write("shop/control", "incremental\n")
            let again = "BACKUP shop WITH (uid = 'a')\n"
            #expect(errno(of: { try tree.write("shop/control", again) }) == EEXIST)
            #expect(
                errno(of: { try tree.write("control", "DROP BACKUP COLLECTION shop\n") }) == EBUSY)
            for _ in 2..<Engine.queueLimit { try tree.write("shop/control", "incremental\n") }
            #expect(errno(of: { try tree.write("shop/control", "incremental\n") }) == EAGAIN)
            #expect(try tree.text("errors").contains("16 operations queued"))
            gate.open()
            #expect(try tree.text("shop/operation/wait").hasPrefix("refused: "))
            #expect(try tree.text("operations/latest/wait").hasPrefix("done point="))
            #expect(
                try tree.list("shop").filter { $0.hasPrefix("20") }.count == Engine.queueLimit)
        }
    }

    @Test func `another process that holds the collection is EBUSY, and reading goes on`() throws {
        try withGate(.direct) { tree, gate, shop in
            gate.open()
            let point = try tree.backup("full", of: "shop")
            gate.shut()
            try withTree(.direct, Product(shop.database)) { other in
                try tree.write("shop/control", "incremental\n")
                #expect(eventually { gate.waiting == 1 })
                #expect(errno(of: { try other.write("shop/control", "full\n") }) == EBUSY)
                #expect(try other.read(point + "/sub/products.csv") == shop.products)
                gate.open()
                #expect(try tree.text("shop/operation/wait").hasPrefix("done"))
                // What the one has done the other shows, within a second.
                #expect(
                    eventually {
                        (try? other.list("shop").filter { $0.hasPrefix("20") }.count) == 2
                    })
                #expect(try other.backup("incremental", of: "shop").hasSuffix("_incremental"))
            }
        }
    }

    @Test(arguments: Way.allCases)
    func `operations on different collections run side by side`(way: Way) throws {
        try withGate(way) { tree, gate, _ in
            try tree.write(
                "control",
                "CREATE BACKUP COLLECTION other (TABLE orders) WITH (STORAGE = 'cluster');")
            try tree.write("shop/control", "full; full;")
            try tree.write("other/control", "full; full;")
            #expect(eventually { gate.waiting == 2 })
            #expect(try tree.text("operations/3/state") == "running\n")
            #expect(try tree.text("operations/4/state") == "queued\n")
            #expect(try tree.text("operations/5/state") == "running\n")
            #expect(try tree.text("operations/6/state") == "queued\n")
            gate.open()
            for id in 3...6 { #expect(try tree.text("operations/\(id)/wait").hasPrefix("done")) }
        }
    }

    @Test func `twelve blocked waits slow nobody down, and can be interrupted`() throws {
        let shop = try Shop(rows: 10)
        let gate = Gate()
        var settings = Settings()
        settings.gate = gate
        let product = try Product(shop.database, settings)
        defer { product.close() }
        try withMount(product) { mount in
            defer { gate.open() }
            let tree = MountedTree(root: mount)
            try tree.write("control", Shop.create)
            try tree.write("shop/control", "full\n")
            #expect(eventually { gate.waiting == 1 })
            let outcome = try shell(
                """
                for i in $(seq 12); do cat "$1/shop/operation/wait" & pids="$pids $!"; done
                sleep 0.3
                for i in $(seq 100); do stat "$1/shop/status" > /dev/null || exit 7; done
                for pid in $pids; do kill -0 $pid || exit 8; done
                kill $pids; wait; exit 0
                """, mount)
            #expect(outcome.status == 0 && outcome.output == "", "\(outcome)")
            let taken = try seconds { for _ in 0..<200 { _ = try tree.status("shop/status") } }
            #expect(taken < 2)
            gate.open()
            #expect(try tree.text("shop/operation/wait").hasPrefix("done point="))
        }
    }

    @Test func `An operation may ask for ever whether it may go on`() throws {
        let operation = Operation.unrecorded("backup")
        let asked = Mutex(0)
        operation.check { asked.withLock { $0 += 1 } }
        // A closure that is wrapped once more at each look would end the stack.
        for _ in 0..<1_000_000 { try operation.checkpoint() }
        #expect(asked.withLock { $0 } == 1_000_000)
    }
}
