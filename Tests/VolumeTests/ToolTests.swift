import Bytes
import Engine
import Foundation
import Tables
import Testing

/// Programs that know nothing of us, on a mounted point.
@Suite struct ToolTests {
    /// Calls `body` with a mount of a shop with three points and a failed statement, and a folder.
    private func withShop(
        _ body: (_ mount: String, _ folder: String, _ shop: Shop) throws -> Void
    ) throws {
        let shop = try Shop(rows: 20_000)
        let product = try Product(shop.database)
        defer { product.close() }
        try product.tree.write("control", Shop.create)
        _ = try product.tree.backup("full", of: "shop")
        for salt in 1...2 {
            try shop.change(oneIn: 30, salt: salt)
            _ = try product.tree.backup("incremental", of: "shop")
        }
        #expect(errno(of: { try product.tree.write("control", "nonsense\n") }) == EINVAL)
        let folder = shop.scratch / "out"
        mkdir(folder, 0o755)
        try withMount(product) { try body($0, folder, shop) }
    }

    @Test func `cp, tar and rsync copy a point, and the copies are equal`() throws {
        try withShop { mount, folder, _ in
            try check(
                """
                cd "$2"
                cp -rL "$1/shop/latest" cp
                mkdir tar && tar -C "$1/shop/latest/" -cf - . | tar -C tar -xf -
                rsync -rt "$1/shop/latest/" rsync/
                for copy in cp tar rsync; do diff -r "$1/shop/latest/" $copy; done
                test -z "$(rsync -rtin "$1/shop/latest/" rsync/)"
                test -z "$(rsync -rtinc "$1/shop/latest/" tar/)"
                test -s cp/orders.csv -a -s cp/sub/products.csv -a -s cp/backup.json
                rm -r cp
                """, mount, folder)
        }
    }

    @Test func `tar takes the whole mount, virtual files too, without a complaint`() throws {
        try withShop { mount, folder, _ in
            let names = try check(
                "tar -C \"$1\" -cf \"$2\"/all.tar . && tar -tf \"$2\"/all.tar",
                mount, folder)
            for name in ["./errors\n", "./shop/chain.json\n", "./operations/1/wait\n"] {
                #expect(names.contains(name))
            }
            try check(
                "cd \"$2\" && tar -xf all.tar && grep -q nonsense errors control", mount, folder)
        }
    }

    @Test func `wc, head, tail, grep, cmp and sha256sum agree with a copy`() throws {
        try withShop { mount, folder, shop in
            try check(
                """
                cd "$2"; cat "$1/shop/latest/orders.csv" > copy
                f="$1/shop/latest/orders.csv"
                test "$(wc -c < "$f")" = "$(stat -c %s "$f")"
                test "$(wc -lwc < "$f")" = "$(wc -lwc < copy)"
                for n in 1 100 5000 70000; do
                    cmp <(head -c $n "$f") <(head -c $n copy)
                    cmp <(tail -c $n "$f") <(tail -c $n copy)
                    cmp <(tail -c +$n "$f") <(tail -c +$n copy)
                done
                test "$(grep -c changed "$f")" = "$(grep -c changed copy)"
                test "$(sha256sum < "$f")" = "$(sha256sum < copy)"
                cmp "$f" copy
                dd if="$f" bs=1M status=none | cmp - copy
                """, mount, folder)
            let rows = try sqlite("SELECT count(*) FROM orders;", on: shop.database)
            let lines = try check("tail -n +2 \"$1\"/shop/latest/orders.csv | wc -l", mount)
            #expect(lines == rows)
        }
    }

    @Test func `Parquet readers on a mount see the rows of the CSV beside`() throws {
        try withShop { mount, folder, _ in
            for point in try check("ls \"$1\"/shop | grep ^20", mount).split(separator: "\n") {
                let files = ["orders", "sub/products"].map { table in
                    let path = "\(mount)/shop/\(point)/\(table)"
                    return (parquet: path + ".parquet", csv: path + ".csv")
                }
                #expect(try ParquetReaders.problem(files) == nil)
            }
            try check(
                """
                cd "$2"; f="$1/shop/latest/orders.parquet"
                cp "$f" copy; cmp "$f" copy; test "$(stat -c %s "$f")" = "$(wc -c < copy)"
                for n in 1 100 5000 70000; do
                    cmp <(tail -c $n "$f") <(tail -c $n copy)
                    cmp <(tail -c +$n "$f") <(tail -c +$n copy)
                done
                """, mount, folder)
        }
    }

    @Test func `nothing that deletes or changes does any harm`() throws {
        try withShop { mount, _, _ in
            let before = try check(
                "find \"$1\" -type f ! -name wait ! -name metrics | sort | xargs wc -c", mount)
            let scripts = [
                "find \"$1\" -mindepth 1 -delete", "rm -rf \"$1\"/shop",
                "rmdir \"$1\"/shop/latest/sub",
                "mv \"$1\"/README \"$1\"/x", "mkdir \"$1\"/new", "ln -s a \"$1\"/b",
                "touch \"$1\"/README", "touch \"$1\"/new", "chmod 777 \"$1\"/README",
                "truncate -s 0 \"$1\"/shop/latest/orders.csv", "cp /dev/null \"$1\"/errors",
                "ln \"$1\"/README \"$1\"/c", "sed -i s/a/b/ \"$1\"/README",
                "echo >> \"$1\"/shop/latest/orders.csv", "mknod \"$1\"/p p",
                "python3 -c 'import os, sys; os.setxattr(sys.argv[1], \"user.x\", b\"y\")' "
                    + "\"$1\"/README 2>&1 | tail -1 >&2; false",
            ]
            for script in scripts {
                let outcome = try shell(script, mount)
                #expect(outcome.status != 0, "\(script)")
                let lines = outcome.errors.split(separator: "\n")
                #expect(!lines.isEmpty, "\(script)")
                #expect(
                    lines.allSatisfy { $0.contains("Read-only file system") }, "\(script): \(lines)"
                )
            }
            #expect(
                try check(
                    "find \"$1\" -type f ! -name wait ! -name metrics | sort | xargs wc -c", mount)
                    == before)
        }
    }

    @Test func `stat, du, df and readlink show what design says`() throws {
        try withShop { mount, _, _ in
            let lines = try check(
                "find \"$1\" -printf '%y %s %b %n %m %u\\n' | sort -u", mount
            ).split(separator: "\n")
            for line in lines {
                let fields = line.split(separator: " ")
                let bytes = Int(fields[1])!
                #expect(Int(fields[2])! == (bytes + 511) / 512, "\(line)")
                #expect(fields[3] == "1", "\(line)")
                #expect(["400", "444", "600", "755", "777"].contains(fields[4]), "\(line)")
            }
            try check(
                """
                point="$1/shop/latest/"
                test "$(find "$point" -type f -printf '%s\\n' | awk '{n+=$1} END {print n}')" \
                = "$(find "$point" -type f -exec cat {} + | wc -c)"
                test "$(du -s "$point" | cut -f1)" -gt 0
                df "$1" | tail -1 | grep -Eq ' [1-9][0-9]* +[0-9]+ +[1-9]'
                test "$(readlink "$1/shop/latest")" = "$(ls "$1/shop" | grep ^20 | tail -1)"
                test "$(readlink "$1/operations/latest")" = 4
                test "$(readlink "$1/shop/operation")" = ../operations/4
                test "$(cat "$1/shop/operation/state")" = done
                head -1 "$1/CACHEDIR.TAG" | grep -q '^Signature: 8a477f597d28d172789f06886806bc55'
                """, mount)
        }
    }

    @Test func `inode numbers are the same in the next mount, and no two files share one`() throws {
        let shop = try Shop(rows: 100)
        var seen: [String] = []
        for round in 0..<2 {
            let product = try Product(shop.database)
            defer { product.close() }
            if round == 0 {
                try product.tree.write("control", Shop.create)
                _ = try product.tree.backup("full", of: "shop")
                _ = try product.tree.backup("incremental", of: "shop")
            }
            try withMount(product) { mount in
                seen.append(try check("find \"$1\" -printf '%i %P\\n' | sort", mount))
            }
        }
        #expect(seen[0] == seen[1])
        let numbers = seen[0].split(separator: "\n").map { $0.split(separator: " ")[0] }
        #expect(numbers.count > 30 && Set(numbers).count == numbers.count)
    }
}
