import Bytes
import DumpSource
import Engine
import Repository
import TestSupport
import Testing

/// What servers export to S3 and to file systems: other files than a dump's, and the same tables.
@Suite struct ExportTests {
    /// A table of a full backup, as a server exports it.
    private func export(_ name: String = "shop/1_full/orders") throws -> Folder {
        let folder = try Folder()
        try folder.write(
            Orders.scheme + "uniform_partitions: 2", to: "\(name)/scheme.pb")
        try folder.write(#"{"version":0}"#, to: "\(name)/metadata.json")
        try folder.write("1,\"tea\",10\n", to: "\(name)/data_00.csv")
        try folder.write("2,null,20\n", to: "\(name)/data_01.csv")
        return folder
    }

    private func reason(_ folder: Folder, _ path: String = "orders") throws -> String {
        let imported = try Imported(DumpSource(directory: folder.path + "/shop"))
        try imported.pull()
        return try imported.reason("shop", "1_full", path).replacing(
            folder.path + "/shop/", with: "")
    }

    @Test func `a table has as many data files as parts`() throws {
        let folder = try export()
        #expect(try reason(folder) == "it is there")
        try folder.write("3,null,30\n", to: "shop/1_full/orders/data_02.csv")
        #expect(
            try reason(folder) == "1_full/orders/data_02.csv: the table has only 2 parts")
        try folder.remove("shop/1_full/orders/data_02.csv")
        try folder.write("3,null,30\n", to: "shop/1_full/orders/data_01.csv.zst")
        #expect(
            try reason(folder)
                == "1_full/orders/data_01.csv.zst is there in another form as well")
        try folder.remove("shop/1_full/orders/data_01.csv.zst")
        try folder.remove("shop/1_full/orders/data_01.csv")
        #expect(try reason(folder) == "1_full/orders/data_01.csv is missing")
        try folder.write("x", to: "shop/1_full/orders/data_01.parquet")
        #expect(
            try reason(folder)
                == "1_full/orders/data_01.parquet: Parquet in exports isn't read yet")
    }

    @Test func `checksums that are wrong, missing or none are told by the file's name`() throws {
        let folder = try export()
        let place = "shop/1_full/orders/"
        // Of `1,"tea",10` and its line end, by sha256sum.
        let digest = "b2a9f9fd94359d223e66f8fa6c9002808af3ae46aaf9a49aee11bd3e665de55f"
        try folder.write(digest + " data_00.csv\n", to: place + "data_00.csv.sha256")
        #expect(try reason(folder) == "it is there")
        try folder.write("1,\"tee\",10\n", to: place + "data_00.csv")
        #expect(
            try reason(folder).hasPrefix(
                "1_full/orders/data_00.csv: its SHA-256 is another one than "))
        try folder.write("no digest\n", to: place + "data_00.csv.sha256")
        #expect(
            try reason(folder) == "1_full/orders/data_00.csv.sha256:1: there is no SHA-256 in it")
        try folder.remove(place + "data_00.csv.sha256")
        #expect(try reason(folder) == "it is there")
        try folder.write(#"{"version":1}"#, to: place + "metadata.json")
        #expect(try reason(folder).hasPrefix("1_full/orders/data_00.csv.sha256 is missing"))
        try folder.write(#"{"version":1"#, to: place + "metadata.json")
        #expect(
            try reason(folder)
                == "1_full/orders/metadata.json: byte 12: this isn't the JSON that YDB writes")
    }

    @Test func `a compressed file that is cut off or damaged is told with the place`() throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        let place = "exportItems/20250821141519Z_full/all/types/"
        let file = place + "data_00.csv.zst"
        let whole = try folder.bytes(file)
        for name in ["metadata.json", "metadata.json.sha256", "data_00.csv.sha256"] {
            try folder.remove(place + name)
        }
        func reason(_ bytes: [UInt8]) throws -> String {
            try folder.write(bytes, to: file)
            let imported = try Imported(DumpSource(directory: folder.path + "/exportItems"))
            try imported.pull()
            return try imported.reason("exportItems", "20250821141519Z_full", "all/types")
        }
        #expect(
            try reason(Array(whole.dropLast()))
                == "\(folder.path)/\(file): the file ends within a zstd frame, after "
                + "\(whole.count - 1) bytes: it is cut off")
        #expect(
            try reason([0] + whole)
                .hasPrefix("\(folder.path)/\(file): byte 0: the zstd frame is damaged: "))
        // A window of 2 GiB in the frame's header.
        #expect(
            try reason([0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8])
                .hasPrefix("\(folder.path)/\(file): byte 0: the zstd frame is damaged: "))
        #expect(try reason(whole) == "it is there")
    }

    @Test func `an export with names that can't be, and one of an unknown kind, are refused`()
        throws
    {
        let folder = try export("shop/001")
        func problem() throws -> String {
            do {
                _ = try DumpSource(directory: folder.path + "/shop").listCollections()
                return "none"
            } catch let failure as Failure {
                return failure.message
            }
        }
        let mapping = "shop/SchemaMapping/mapping.json"
        try folder.write("{}", to: "shop/SchemaMapping/metadata.json")
        #expect(try problem().hasSuffix("/SchemaMapping/mapping.json is missing"))
        try folder.write(#"{"exportedObjects":{}}"#, to: mapping)
        #expect(try problem().hasSuffix("nothing was exported"))
        try folder.write(#"{"exportedObjects":{"orders":{"exportPrefix":"../x"}}}"#, to: mapping)
        #expect(try problem().hasSuffix("orders can't lie at ../x"))
        try folder.write(
            #"{"exportedObjects":{"orders":{"exportPrefix":"001"},"gone":{"exportPrefix":"2"}}}"#,
            to: mapping)
        #expect(try problem() == "none")
        try folder.touch("shop", 1_755_785_719)
        let imported = try Imported(DumpSource(directory: folder.path + "/shop"))
        try imported.pull()
        let point = "20250821141519Z_full"
        #expect(
            try imported.csv("shop", point, "orders") == Orders.header + "1,tea,10\n2,,20\n")
        #expect(
            try imported.reason("shop", point, "gone")
                == folder.path + "/shop/2/scheme.pb is missing")
        try folder.write(#"{"kind":"SimpleExportV9"}"#, to: "shop/metadata.json")
        #expect(try problem().contains("kind SimpleExportV9 isn't known"))
    }

    @Test func `an encrypted export needs its key`() throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        func problem(_ name: String, _ key: DumpKey) throws -> String {
            do {
                let source = DumpSource(directory: "\(folder.path)/\(name)", key: key)
                _ = try source.listCollections()
                return "none"
            } catch let failure as Failure {
                return failure.message.replacing(folder.path + "/", with: "")
            }
        }
        let mapping = "exportAES/SchemaMapping/mapping.json.enc"
        #expect(
            try problem("exportAES", DumpKey()).hasPrefix(
                mapping + " is encrypted: set YDB_ENCRYPTION_KEY_FILE"))
        #expect(
            try problem("exportAES", DumpKey(digits: String(repeating: "0a", count: 16)))
                .hasPrefix(mapping + ": the key isn't the one that it was encrypted with"))
        #expect(
            try problem("exportAES", DumpKey(file: folder.path + "/key32"))
                == "key32 holds no key of 16 bytes, which the export was made with")
        #expect(
            try problem("exportAES", DumpKey(digits: "zz")).hasPrefix(
                "YDB_ENCRYPTION_KEY holds no key of 16 bytes"))
        #expect(
            try problem("exportAES", DumpKey(file: folder.path + "/no")).hasPrefix("can't open no"))
        #expect(try problem("exportAES", DumpKey(file: folder.path + "/key16")) == "none")
        // A part of it without the mapping.
        let part = "exportAES/001/scheme.pb.enc"
        #expect(try problem("exportAES/001", DumpKey()).hasPrefix(part + " is encrypted"))
        #expect(
            try problem("exportAES/001", DumpKey(digits: String(repeating: "0a", count: 16)))
                .hasPrefix(part + ": the key isn't the one"))
        #expect(try problem("exportAES/001", DumpKey(file: folder.path + "/key16")) == "none")
        let digits = try folder.bytes("key16").map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        #expect(try problem("exportAES", DumpKey(digits: digits.joined())) == "none")
        try folder.write(digits.joined() + "\n", to: "digits")
        #expect(try problem("exportAES", DumpKey(file: folder.path + "/digits")) == "none")
    }

    @Test(arguments: [
        ("exportItems", "", 25), ("exportMapped", "", 25), ("exportChaCha", "key32", 25),
    ])
    func `damage to any file of an export is told, and what is shown is right`(
        name: String, key: String, rounds: Int
    ) throws {
        let folder = try Folder()
        try folder.makeDumps("golden", folder.path)
        var random = SeededGenerator(seed: 77)
        let files = try folder.files(name).filter { !$0.contains("permissions.pb") }
        let source = DumpSource(
            directory: "\(folder.path)/\(name)", key: DumpKey(file: "\(folder.path)/\(key)"))
        var toldOf = 0
        for _ in 0..<rounds {
            let file = name + "/" + random.pick(files)
            let before = try folder.bytes(file)
            var bytes = before
            switch random.below(3) {
            case 0: bytes = Array(bytes.prefix(random.below(bytes.count + 1)))
            case 1: bytes.insert(UInt8(random.below(256)), at: random.below(bytes.count + 1))
            default:
                if !bytes.isEmpty { bytes[random.below(bytes.count)] ^= 1 << random.below(8) }
            }
            if random.below(10) == 0 {
                try folder.remove(file)
            } else {
                try folder.write(bytes, to: file)
            }
            if try isTold(folder, name, source) { toldOf += 1 }
            try folder.write(before, to: file)
        }
        #expect((rounds / 4..<rounds).contains(toldOf), "\(toldOf)")
    }

    /// Whether anything is said to be wrong; all that is shown must be right.
    private func isTold(_ folder: Folder, _ name: String, _ source: DumpSource) throws -> Bool {
        let imported = try Imported(source)
        do {
            let ends = try imported.pull()
            #expect(ends.allSatisfy { $0.state == .done }, "\(ends.compactMap(\.error))")
        } catch is Failure {
            return true
        }
        var isTold = false
        for point in try folder.names(name + ".expected") {
            for file in try folder.files("\(name).expected/\(point)") {
                let table = String(file.dropLast(4))
                let state = try imported.collection(name)
                guard let found = state.point(named: point),
                    state.table(path: table, at: found.sequence) != nil
                else {
                    isTold = true
                    let reasons = state.points.flatMap(\.notBackedUp)
                    #expect(!reasons.isEmpty, "\(point)/\(table) is lost")
                    continue
                }
                #expect(
                    try imported.csv(name, point, table)
                        == folder.text("\(name).expected/\(point)/\(file)"), "\(point)/\(table)")
            }
        }
        return isTold
    }
}
