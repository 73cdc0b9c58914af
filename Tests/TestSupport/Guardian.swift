import Glibc
import Subprocess
import SystemPackage

/// A process that waits on a pipe from this one; at the pipe's end, which comes with the end of this object or of this
/// process, however it ends, it stops the server in the directory, if there is one, and removes the directory.
final class Guardian: Sendable {
    private let writeEnd: FileDescriptor

    init(directory: String) throws {
        let script = """
            read _
            "$1/pg_ctl" stop -s -m immediate -D "$2/data" >"$2/guardian.log" 2>&1
            rm -rf "$2"
            """
        let command = Server.asServerUser(["/bin/sh", "-c", script, "guardian", Server.binaries, directory])
        let pipe = try FileDescriptor.pipe()
        // No other process may inherit the writing end, or the pipe would not end with this one.
        _ = fcntl(pipe.writeEnd.rawValue, F_SETFD, FD_CLOEXEC)
        writeEnd = pipe.writeEnd
        // Not a child: it has to outlive whoever made the cluster.
        Task {
            _ = try await Subprocess.run(
                Shell.executable(command[0]),
                arguments: Arguments(Array(command.dropFirst())),
                workingDirectory: "/",
                input: .fileDescriptor(pipe.readEnd, closeAfterSpawningProcess: true),
                output: .discarded,
                error: .discarded
            )
        }
    }

    deinit { try? writeEnd.close() }
}
