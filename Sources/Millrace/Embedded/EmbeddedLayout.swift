import Foundation
import Glibc

/// Where the embedded database keeps its files.
///
///     .millrace/              ours
///       lock                  held while `up` or `down` is at work
///       database.json         where the server is to be found; readable by us alone
///       postgres/             the server's account's; `place`, unless that account cannot get there
///         data/ socket/ log
struct EmbeddedLayout: Sendable {
    /// `.millrace`, as an absolute path.
    let home: String
    /// What the server owns.
    let place: String

    var lock: String { "\(home)/lock" }
    var record: String { "\(home)/database.json" }
    var data: String { "\(place)/data" }
    /// What a data directory is called while it is made, so that a half-made one is never taken for whole. Each try has
    /// its own: an `initdb` that outlived its killed parent removes what it made when it fails.
    static let unfinished = "data.new."
    var log: String { "\(place)/log" }
    var password: String { "\(place)/password" }

    /// The directory of the server's socket. A socket's path has room for 107 bytes, so a deep home gets one in /tmp.
    var socket: String {
        let beside = "\(place)/socket"
        return beside.utf8.count + "/.s.PGSQL.65535.lock".utf8.count <= 107
            ? beside : "/tmp/millrace-\(Self.digest(place))"
    }

    /// Where everything is, or would be, without making anything.
    init(directory: String, account: ServerAccount) {
        home = URL(filePath: directory).standardizedFileURL.path(percentEncoded: false).droppingSlash
        let elsewhere = "/var/lib/millrace/\(Self.digest(home))"
        place = !account.isOurs && access("\(elsewhere)", F_OK) == 0 ? elsewhere : "\(home)/postgres"
    }

    private init(home: String, place: String) {
        self.home = home
        self.place = place
    }

    static func makeHome(directory: String, account: ServerAccount) throws(MillraceError) -> EmbeddedLayout {
        let layout = EmbeddedLayout(directory: directory, account: account)
        // Another account must be able to walk through; what is secret here has a mode of its own.
        try make(layout.home, mode: account.isOurs ? 0o700 : 0o755)
        return layout
    }

    /// Makes the server's directories, and finds the place that the account can reach.
    static func prepare(directory: String, account: ServerAccount) async throws(MillraceError) -> EmbeddedLayout {
        let planned = EmbeddedLayout(directory: directory, account: account)
        try await make(planned.place, for: account)
        guard try await !planned.isReachable(account) else { return try await planned.withSocket(account) }

        let elsewhere = EmbeddedLayout(home: planned.home, place: "/var/lib/millrace/\(digest(planned.home))")
        rmdir(planned.place)
        try make("/var/lib/millrace", mode: 0o755)
        try await make(elsewhere.place, for: account)
        guard try await elsewhere.isReachable(account) else {
            throw MillraceError(
                .embedded,
                "The user \(account.name) can write neither to \(planned.place) nor to \(elsewhere.place)."
            )
        }
        return try await elsewhere.withSocket(account)
    }

    private func withSocket(_ account: ServerAccount) async throws(MillraceError) -> EmbeddedLayout {
        try await Self.make(socket, for: account)
        return self
    }

    private func isReachable(_ account: ServerAccount) async throws(MillraceError) -> Bool {
        guard !account.isOurs else { return access(place, W_OK) == 0 }
        return try await account.execute("/usr/bin/test", ["-w", place, "-a", "-x", place]).failure == nil
    }

    private static func make(_ path: String, mode: mode_t) throws(MillraceError) {
        guard mkdir(path, mode) == 0 || errno == EEXIST else {
            throw MillraceError(.embedded, "\(path) cannot be made: \(String(cString: strerror(errno))).")
        }
    }

    /// A directory that is the account's alone. One that is somebody else's is refused: whoever owns the directory of
    /// the socket can pose as the server.
    private static func make(_ path: String, for account: ServerAccount) async throws(MillraceError) {
        if mkdir(path, 0o700) == 0 {
            try account.own(path)
            return
        }
        guard errno == EEXIST else {
            throw MillraceError(.embedded, "\(path) cannot be made: \(String(cString: strerror(errno))).")
        }
        var facts = stat()
        guard lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR, facts.st_mode & 0o077 == 0,
            facts.st_uid == account.userID
        else {
            throw MillraceError(
                .embedded,
                "\(path) exists already and is not a directory of the user \(account.name) alone.",
                hint: "Remove it, or work from another directory."
            )
        }
    }

    /// FNV-1a: short, the same in every process, and nobody's secret.
    private static func digest(_ text: String) -> String {
        let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return String(hash, radix: 36)
    }
}

extension String {
    fileprivate var droppingSlash: String { count > 1 && hasSuffix("/") ? String(dropLast()) : self }
}
