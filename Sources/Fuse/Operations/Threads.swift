import Bytes
@preconcurrency import Glibc

/// Starts a detached thread that runs `body` once. For what blocks in system calls, which
/// tasks and dispatch queues mustn't.
func startThread(_ purpose: String, _ body: @escaping @Sendable () -> Void) throws(Failure) {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var thread = pthread_t()
    let result = pthread_create(
        &thread, nil,
        { context in
            if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, box.toOpaque())
    guard result == 0 else {
        box.release()
        throw Failure("can't start the thread for \(purpose)", errno: Errno(rawValue: result))
    }
    pthread_detach(thread)
}

/// Starts a program: `argv[0]` is `arguments[0]`. Signals are as a shell would give them.
///
/// - Parameters:
///   - variables: `NAME=VALUE`, beside our own environment.
///   - isApart: without our environment, and in a process group of its own.
///   - inherited: becomes descriptor 3.
///   - output: where both output streams go; nothing is read then.
package func startProgram(
    _ path: String, _ arguments: [String], variables: [String] = [], isApart: Bool = false,
    inherited: Int32? = nil, output: Int32? = nil
) throws(Failure) -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var defaults = none
    for number in [SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM] { sigaddset(&defaults, number) }
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    posix_spawnattr_setpgroup(&attributes, 0)
    let group = isApart ? POSIX_SPAWN_SETPGROUP : 0
    posix_spawnattr_setflags(
        &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | group))
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let inherited { posix_spawn_file_actions_adddup2(&actions, inherited, 3) }
    if let output {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
    }

    var envp = variables.map { strdup($0) }
    var next = environ
    while !isApart, let variable = next.pointee {
        envp.append(strdup(variable))
        next += 1
    }
    envp.append(nil)
    let argv = arguments.map { strdup($0) } + [nil]
    defer { for string in argv + envp { free(string) } }
    var pid = pid_t()
    let result = posix_spawnp(&pid, path, &actions, &attributes, argv, envp)
    guard result == 0 else {
        throw Failure("can't start \(path)", errno: Errno(rawValue: result))
    }
    return pid
}

/// Waits for a program: its exit status, or 128 and the signal that ended it, as shells say it.
func exitStatus(of pid: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7f
    return signal == 0 ? (status >> 8) & 0xff : 128 + signal
}

/// Closes what this process inherited beyond `last`: a daemon that keeps somebody's pipe or lock
/// open keeps them waiting. To be called before anything is opened.
package func closeInherited(after last: Int32) {
    guard let directory = opendir("/proc/self/fd") else { return }
    var inherited: [Int32] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { name in
            String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        }
        if let number = Int32(name), number > last { inherited.append(number) }
    }
    closedir(directory)
    // The directory's own descriptor among them is closed already.
    for number in inherited { close(number) }
}
