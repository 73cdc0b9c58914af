import Foundation
import Glibc
import Subprocess
import SystemPackage

/// Under which account of the machine the embedded server runs: ours, or `postgres` where we are root, because the
/// server refuses to run as root.
struct ServerAccount: Sendable {
    let name: String
    let userID: uid_t
    let groupID: gid_t
    let isOurs: Bool

    static func current() throws(MillraceError) -> Self {
        let own = geteuid()
        if own != 0 {
            guard let account = Self(entry: getpwuid(own), isOurs: true) else {
                throw MillraceError(.embedded, "The user \(own) has no name on this machine.")
            }
            return account
        }
        guard let account = Self(entry: getpwnam("postgres"), isOurs: false) else {
            throw MillraceError(
                .embedded,
                "PostgreSQL does not run as root, and there is no user \"postgres\".",
                hint: "Run millrace as another user, or create that one: useradd --system postgres."
            )
        }
        return account
    }

    private init?(entry: UnsafeMutablePointer<passwd>?, isOurs: Bool) {
        guard let entry else { return nil }
        name = String(cString: entry.pointee.pw_name)
        userID = entry.pointee.pw_uid
        groupID = entry.pointee.pw_gid
        self.isOurs = isOurs
    }

    /// Gives a file or directory that we made to the account.
    func own(_ path: String) throws(MillraceError) {
        guard isOurs || chown(path, userID, groupID) == 0 else {
            throw MillraceError(
                .embedded,
                "\(path) cannot be given to the user \(name): \(String(cString: strerror(errno)))."
            )
        }
    }

    /// Runs a program as the account and answers what it printed; nil in `failure` where it succeeded.
    func execute(_ program: String, _ arguments: [String]) async throws(MillraceError) -> (
        output: String, failure: String?
    ) {
        let command = isOurs ? [program] + arguments : ["/sbin/runuser", "-u", name, "--", program] + arguments
        do {
            let result = try await run(
                .path(FilePath(command[0])),
                arguments: Arguments(Array(command.dropFirst())),
                // The directory we stand in may be closed to the account.
                workingDirectory: "/",
                output: .string(limit: 1 << 20),
                error: .string(limit: 1 << 20)
            )
            let output = result.standardOutput
            guard !result.terminationStatus.isSuccess else { return (output, nil) }
            let complaint = result.standardError.trimmingCharacters(in: .whitespacesAndNewlines)
            return (output, complaint.isEmpty ? "\(result.terminationStatus)" : complaint)
        } catch {
            throw MillraceError(.embedded, "\(program) could not be run.", detail: "\(error)")
        }
    }
}
