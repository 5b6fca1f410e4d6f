import Bytes
import Glibc
import Synchronization
import Volume

/// A small tree in memory that has one of everything the adapter must handle.
///
/// ```
/// data/{empty,one,page,big}     cached; byte i of a file is `patternByte(i)`
/// many/file-00000 …             `manyCount` files, file n of n bytes
/// text                          direct; `sampleText`
/// control                       0600, direct; `refuse…` is EINVAL, `answer` answers blocked reads
/// counters                      direct; what is open and waiting
/// blocking                      a read waits for `answer` or an interrupt
/// racing                        a read is answered by another thread, while it is set up
/// prompt                        a read that may wait but is answered at once
/// slow                          listed without attributes; once `slow` was written to control, a look-up
///                               waits for `answer` or an interrupt
/// latest -> data
/// ```
package final class SampleFileSystem: FileSystem {
    package static let manyCount = 20_000
    package static let sampleText = "first line\nsecond line\nlast line\n"
    package static let sizes: [(name: String, bytes: Int)] = [
        ("empty", 0), ("one", 1), ("page", 4096), ("big", 5 * 1024 * 1024 + 3),
    ]

    /// No period that is a power of two, so that a page in the wrong place shows.
    package static func patternByte(_ position: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: position &* 31 &+ position / 253)
    }

    private enum Node: UInt64 {
        case root = 1
        case data, many, text, control, counters, blocking, racing, prompt, latest, slow
    }
    private static let dataBase: UInt64 = 100
    private static let manyBase: UInt64 = 1 << 40
    private static let names: [(String, Node)] = [
        ("data", .data), ("many", .many), ("text", .text), ("control", .control),
        ("counters", .counters), ("blocking", .blocking), ("racing", .racing),
        ("prompt", .prompt), ("latest", .latest), ("slow", .slow),
    ]

    package struct Counters: Sendable {
        package var opened = 0
        package var released = 0
        package var flushed = 0
        package var waiting = 0
        package var interrupted = 0
        /// That the kernel hasn't forgotten.
        package var lookups = 0
        package var written: [String] = []
    }

    private struct State {
        var counters = Counters()
        var nextHandle: UInt64 = 1
        var inodes: [UInt64: NodeID] = [:]
        var nextTicket: UInt64 = 1
        var isSlow = false
        var waiting: [UInt64: @Sendable (Result<[UInt8], Errno>) -> Void] = [:]
    }

    private let state = Mutex(State())
    private let many: [(name: String, entry: Entry)]
    private let uid = getuid()
    private let gid = getgid()

    package init() {
        let (uid, gid) = (uid, gid)
        many = (0..<Self.manyCount).map { number in
            let digits = String(number)
            let name = "file-" + String(repeating: "0", count: 5 - digits.count) + digits
            return (
                name, Self.entry(Self.manyBase + UInt64(number), .file, 0o644, number, uid, gid)
            )
        }
    }

    package var counters: Counters { state.withLock { $0.counters } }

    private static func entry(
        _ inode: NodeID, _ kind: Attributes.Kind, _ permissions: UInt16, _ size: Int, _ uid: UInt32,
        _ gid: UInt32, lifetime: Double = 86_400
    ) -> Entry {
        Entry(
            inode,
            Attributes(
                inode: inode, kind: kind, permissions: permissions, uid: uid, gid: gid,
                sizeBytes: UInt64(size), modifiedSeconds: 1_700_000_000,
                modifiedNanoseconds: 123_456_789),
            lifetimeSeconds: lifetime)
    }

    private func entry(_ node: Node) -> Entry {
        switch node {
        case .root, .data, .many: Self.entry(node.rawValue, .directory, 0o755, 0, uid, gid)
        case .text:
            Self.entry(
                node.rawValue, .file, 0o644, Self.sampleText.utf8.count, uid, gid, lifetime: 0)
        case .control: Self.entry(node.rawValue, .file, 0o600, 0, uid, gid, lifetime: 0)
        case .counters, .blocking, .racing, .prompt, .slow:
            Self.entry(node.rawValue, .file, 0o644, 128, uid, gid, lifetime: 0)
        case .latest: Self.entry(node.rawValue, .symlink, 0o777, 4, uid, gid, lifetime: 0)
        }
    }

    package func entry(of node: NodeID) throws(Errno) -> Answer<Entry> {
        .now(try found(node))
    }

    private func found(_ inode: NodeID) throws(Errno) -> Entry {
        if let node = Node(rawValue: inode) { return entry(node) }
        if inode >= Self.manyBase, inode - Self.manyBase < UInt64(Self.manyCount) {
            return many[Int(inode - Self.manyBase)].entry
        }
        if inode >= Self.dataBase, inode - Self.dataBase < UInt64(Self.sizes.count) {
            let size = Self.sizes[Int(inode - Self.dataBase)].bytes
            return Self.entry(inode, .file, 0o644, size, uid, gid)
        }
        throw Errno(rawValue: ENOENT)
    }

    private func children(_ inode: NodeID) throws(Errno) -> [(name: String, entry: Entry)] {
        switch Node(rawValue: inode) {
        case .root: return Self.names.map { ($0.0, entry($0.1)) }
        case .many: return many
        case .data:
            var entries: [(name: String, entry: Entry)] = []
            for (number, file) in Self.sizes.enumerated() {
                entries.append((file.name, try found(Self.dataBase + UInt64(number))))
            }
            return entries
        default: throw Errno(rawValue: ENOTDIR)
        }
    }

    package func list(_ node: NodeID) throws(Errno) -> [DirectoryEntry] {
        try children(node).map { name, entry in
            DirectoryEntry(name: name, kind: entry.attributes.kind, inode: entry.attributes.inode)
        }
    }

    package func lookup(_ name: String, in parent: NodeID) throws(Errno) -> Answer<Entry> {
        let entry = try child(name, of: parent)
        guard entry.node == Node.slow.rawValue, state.withLock(\.isSlow) else {
            count(1)
            return .now(entry)
        }
        return .later { [self] reply in
            wait { [self] result in
                if case .success = result { count(1) }
                reply(result.map { _ in entry })
            }
        }
    }

    package func lookup(_ entry: DirectoryEntry, in parent: NodeID) throws(Errno) -> Entry? {
        let entry = try child(entry.name, of: parent)
        if entry.node == Node.slow.rawValue { return nil }
        count(1)
        return entry
    }

    package func forget(_ node: NodeID, lookups: UInt64) { count(-Int(lookups)) }

    private func count(_ lookups: Int) { state.withLock { $0.counters.lookups += lookups } }

    private func child(_ name: String, of parent: NodeID) throws(Errno) -> Entry {
        if Node(rawValue: parent) == .many {
            guard name.hasPrefix("file-"), let number = Int(name.dropFirst(5)),
                many.indices.contains(number), many[number].name == name
            else { throw Errno(rawValue: ENOENT) }
            return many[number].entry
        }
        guard let found = try children(parent).first(where: { $0.name == name }) else {
            throw Errno(rawValue: ENOENT)
        }
        return found.entry
    }

    package func setAttributes(of inode: NodeID) throws(Errno) -> Entry {
        guard Node(rawValue: inode) == .control else { throw Errno(rawValue: EROFS) }
        return entry(.control)
    }

    package func readLink(_ inode: NodeID) throws(Errno) -> String {
        guard Node(rawValue: inode) == .latest else { throw Errno(rawValue: EINVAL) }
        return "data"
    }

    package func extendedAttributes(
        of inode: NodeID
    ) throws(Errno) -> [(name: String, value: String)] {
        Node(rawValue: inode) == .data ? [("user.sample.a", "b"), ("user.sample.empty", "")] : []
    }

    package func open(
        _ inode: NodeID, mode: OpenMode, caller: Caller
    ) throws(Errno) -> Answer<Opened> {
        let node = Node(rawValue: inode)
        if mode != .read, node != .control { throw Errno(rawValue: EROFS) }
        let handle = state.withLock { state in
            let handle = state.nextHandle
            state.nextHandle += 1
            state.inodes[handle] = inode
            state.counters.opened += 1
            return handle
        }
        switch node {
        case .text, .control, .counters: return .now(Opened(handle: handle, cache: .direct))
        case .blocking, .racing, .prompt: return .now(Opened(handle: handle, cache: .blocking))
        default: return .now(Opened(handle: handle, cache: .keep))
        }
    }

    package func read(
        _ handle: UInt64, at offset: UInt64, count: Int, into output: ByteBuffer
    ) throws(Errno) {
        guard let inode = state.withLock({ $0.inodes[handle] }) else {
            throw Errno(rawValue: EBADF)
        }
        let text: [UInt8]
        switch Node(rawValue: inode) {
        case .text: text = Array(Self.sampleText.utf8)
        case .control: text = Array(counters.written.joined().utf8)
        case .counters: text = Array(countersLine.utf8)
        default:
            let size = try found(inode).attributes.sizeBytes
            let end = min(size, offset + UInt64(count))
            guard offset < end else { return }
            output.append(room: Int(end - offset)) { memory in
                for position in memory.indices {
                    memory[position] = Self.patternByte(Int(offset) + position)
                }
                return memory.count
            }
            return
        }
        output.append(Array(text.dropFirst(Int(offset)).prefix(count)))
    }

    private var countersLine: String {
        let counters = counters
        return "opened=\(counters.opened) released=\(counters.released) waiting=\(counters.waiting)"
            + " interrupted=\(counters.interrupted) lookups=\(counters.lookups)\n"
    }

    package func readLater(
        _ handle: UInt64, at offset: UInt64, count: Int,
        reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void
    ) -> UInt64? {
        let inode = state.withLock { $0.inodes[handle] }
        let answer = offset == 0 ? Array("answered\n".utf8) : []
        if offset > 0 || inode == Node.prompt.rawValue {
            reply(.success(answer))
            return nil
        }
        let ticket = wait(reply)
        if inode == Node.racing.rawValue {
            try? WorkerThread.detach { self.settle(ticket, .success(answer)) }
        }
        return ticket
    }

    private func wait(_ reply: @escaping @Sendable (Result<[UInt8], Errno>) -> Void) -> UInt64 {
        state.withLock { state in
            let ticket = state.nextTicket
            state.nextTicket += 1
            state.waiting[ticket] = reply
            state.counters.waiting += 1
            return ticket
        }
    }

    private func settle(_ ticket: UInt64, _ result: Result<[UInt8], Errno>) {
        let reply = state.withLock { state in
            let reply = state.waiting.removeValue(forKey: ticket)
            if reply != nil { state.counters.waiting -= 1 }
            return reply
        }
        reply?(result)
    }

    package func interrupt(_ ticket: UInt64) {
        state.withLock { state in
            if state.waiting[ticket] != nil { state.counters.interrupted += 1 }
        }
        settle(ticket, .failure(Errno(rawValue: EINTR)))
    }

    package func write(_ handle: UInt64, bytes: [UInt8], caller: Caller) throws(Errno) {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.hasPrefix("refuse") { throw Errno(rawValue: EINVAL) }
        if text.hasPrefix("notconn") { throw Errno(rawValue: ENOTCONN) }
        state.withLock { $0.counters.written.append(text) }
        if text.hasPrefix("slow") { state.withLock { $0.isSlow = true } }
        if text.hasPrefix("answer") {
            for ticket in state.withLock({ Array($0.waiting.keys) }) {
                settle(ticket, .success(Array("answered\n".utf8)))
            }
        }
    }

    package func flush(_ handle: UInt64, caller: Caller) throws(Errno) {
        state.withLock { $0.counters.flushed += 1 }
    }

    package func release(_ handle: UInt64) {
        state.withLock { state in
            if state.inodes.removeValue(forKey: handle) != nil { state.counters.released += 1 }
        }
    }

    package let requests = RequestTimes()

    package func statistics() -> FileSystemStatistics {
        FileSystemStatistics(blocks: 1000, blocksFree: 600, blocksAvailable: 500, files: 20_010)
    }
}
