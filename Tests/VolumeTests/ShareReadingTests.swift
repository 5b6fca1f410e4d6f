import Bytes
import Engine
import Foundation
import Repository
import TestSupport
import Testing

/// `VERIFY_EVERY`: files are read in turn, and what is wrong becomes an operation that failed.
@Suite struct ShareReadingTests {
    private let clock = TestClock(1_767_225_600_000_000)
    private let shop: Shop

    init() throws { shop = try Shop(rows: 200) }

    private func product() throws -> Product {
        var settings = Settings()
        let clock = clock
        settings.clock = { Instant(microseconds: clock.microseconds) }
        return try Product(shop.database, settings)
    }

    private func wait(hours: Int, _ product: Product) {
        for _ in 0..<hours {
            clock.advance(seconds: 3600)
            product.engine.readDueShares()
        }
    }

    private func round(_ product: Product) throws -> ReadingRound? {
        let collection = try #require(product.engine.collection("shop"))
        return product.engine.repository?.readingRound(of: collection)
    }

    @Test func `every file is read once in a period, and damage is found and named`() throws {
        let product = try product()
        defer { product.close() }
        try product.tree.write(
            "control", Shop.create.replacing("'true' )", with: "'true', VERIFY_EVERY = '24h' )"))
        try shop.takeChain(product.tree, incrementals: 4, oneIn: 10)
        #expect(try round(product) == nil)
        wait(hours: 1, product)
        let begun = try #require(try round(product))
        #expect(begun.completed == nil && begun.next > 0)
        wait(hours: 24, product)
        let first = try #require(try round(product)?.completed)
        #expect(first > begun.began && first <= clock.microseconds)
        #expect(try product.tree.text("shop/status").contains("\nall_files_read 2026-01-0"))
        #expect(product.engine.operations.allSatisfy { $0.kind != "verify" })
        // Less than a share's time later nothing is read.
        let now = try round(product)
        clock.advance(seconds: 60)
        product.engine.readDueShares()
        #expect(try round(product) == now)
        wait(hours: 24, product)
        #expect(try #require(try round(product)?.completed) > first)

        let found = try shell(
            "find \"$1\"/tables -name '*.parquet' | sort | tail -1", product.location)
        let path = found.output.trimmingCharacters(in: .newlines)
        var bytes = try #require(FileManager.default.contents(atPath: path))
        bytes[bytes.count / 3] ^= 1
        try bytes.write(to: URL(filePath: path))
        wait(hours: 25, product)
        let operation = try #require(product.engine.operations.last { $0.kind == "verify" })
        #expect(operation.wait().state == .failed)
        #expect(try product.tree.text("shop/chain").contains("DAMAGED"))
    }

    @Test func `a note of the round that is damaged or of the future begins a new one`() throws {
        let product = try product()
        defer { product.close() }
        try product.tree.write(
            "control", Shop.create.replacing("'true' )", with: "'true', VERIFY_EVERY = '24h' )"))
        try shop.takeChain(product.tree, incrementals: 1, oneIn: 10)
        wait(hours: 30, product)
        let note = try shell("echo \"$1\"/collections/*/round", product.location).output
            .trimmingCharacters(in: .newlines)
        try "nonsense".write(toFile: note, atomically: false, encoding: .utf8)
        #expect(try round(product) == nil)
        wait(hours: 1, product)
        #expect(try round(product)?.read == clock.microseconds)
        // The clock was years ahead, and is right again.
        clock.advance(seconds: 100_000_000)
        wait(hours: 1, product)
        clock.advance(seconds: -100_000_000)
        wait(hours: 1, product)
        #expect(try round(product)?.read == clock.microseconds)
    }
}
