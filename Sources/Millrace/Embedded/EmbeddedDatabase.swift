import Foundation
import Glibc

/// A PostgreSQL cluster of one's own in `.millrace/`, run by the server programs that are installed on this machine.
///
/// Both calls may be made at any time, twice, at once from several processes, and after one that was killed.
public struct EmbeddedDatabase: Sendable {
    /// Where a running embedded database is to be found.
    public struct Address: Sendable, Hashable, Codable {
        /// By socket; without a password, for the account that started it and for root.
        public var url: String
        /// By loopback, with the password.
        public var loopbackURL: String
    }

    private let directory: String
    private let account: ServerAccount

    /// - Parameter directory: Where its files are; made by ``up(progress:)``.
    public init(directory: String = ".millrace") throws(MillraceError) {
        self.directory = directory
        account = try ServerAccount.current()
    }

    /// Where it is to be found, if it runs.
    public var address: Address? {
        let layout = EmbeddedLayout(directory: directory, account: account)
        guard Postmaster.running(on: layout.data) != nil, let record = EmbeddedRecord.read(layout) else { return nil }
        return Self.address(layout, record)
    }

    /// Makes it if it does not exist, starts it if it does not run, and waits until it can be used.
    ///
    /// - Parameter progress: Told what takes time.
    /// - Throws: ``MillraceError`` with the end of the server's log where the server said why.
    public func up(progress: @Sendable (String) -> Void = { _ in }) async throws(MillraceError) -> Address {
        let lock = try await FileLock(EmbeddedLayout.makeHome(directory: directory, account: account).lock)
        defer { lock.release() }

        let layout = try await EmbeddedLayout.prepare(directory: directory, account: account)
        if let record = EmbeddedRecord.read(layout), Postmaster.running(on: layout.data) != nil {
            try await EmbeddedSetup(address: Self.address(layout, record)).run()
            return Self.address(layout, record)
        }
        let programs = try await ServerPrograms.find()
        guard programs.hasExtension else {
            throw MillraceError(
                .notInstalled,
                "The PostgreSQL \(programs.majorVersion) in \(programs.binaries) has no millrace extension.",
                hint: "Install it with make install-extension, or let PG_CONFIG name another server."
            )
        }
        let record = EmbeddedRecord.read(layout) ?? .random()
        if access(layout.data, F_OK) != 0 {
            progress("Making a database cluster in \(layout.place)")
            try await make(layout, programs, record)
        }
        let started = try await start(layout, programs, record)
        try await EmbeddedSetup(address: Self.address(layout, started)).run()
        return Self.address(layout, started)
    }

    /// Stops it.
    ///
    /// - Returns: Whether it ran.
    @discardableResult
    public func down() async throws(MillraceError) -> Bool {
        guard FileManager.default.fileExists(atPath: directory) else { return false }
        let layout = EmbeddedLayout(directory: directory, account: account)
        let lock = try await FileLock(layout.lock)
        defer { lock.release() }
        guard let postmaster = Postmaster.running(on: layout.data) else { return false }
        try await postmaster.stop(data: layout.data)
        // One in /tmp is not to stay there; `up` makes it anew.
        if !layout.socket.hasPrefix(layout.place) { rmdir(layout.socket) }
        return true
    }

    private static func address(_ layout: EmbeddedLayout, _ record: EmbeddedRecord) -> Address {
        let role = EmbeddedRecord.role
        let database = EmbeddedRecord.database
        var unreserved = CharacterSet.alphanumerics
        unreserved.insert(charactersIn: "-._~")
        let socket = layout.socket.addingPercentEncoding(withAllowedCharacters: unreserved) ?? layout.socket
        return Address(
            url: "postgresql://\(role)@/\(database)?host=\(socket)&port=\(record.port)",
            loopbackURL: "postgresql://\(role):\(record.password)@127.0.0.1:\(record.port)/\(database)"
        )
    }

    /// Makes the cluster aside and puts it in place when it is whole.
    private func make(_ layout: EmbeddedLayout, _ programs: ServerPrograms, _ record: EmbeddedRecord)
        async throws(MillraceError)
    {
        let unfinished = "\(layout.place)/\(EmbeddedLayout.unfinished)\(UInt32.random(in: 0...(.max)))"
        for name in (try? FileManager.default.contentsOfDirectory(atPath: layout.place)) ?? []
        where name.hasPrefix(EmbeddedLayout.unfinished) {
            try? FileManager.default.removeItem(atPath: "\(layout.place)/\(name)")
        }
        try record.write(layout)
        try SecretFile.write(Data("\(record.password)\n".utf8), to: layout.password)
        try account.own(layout.password)
        defer { unlink(layout.password) }
        let arguments = [
            "--pgdata", unfinished, "--username", EmbeddedRecord.role, "--pwfile", layout.password,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
        ]
        if let failure = try await account.execute(programs.path("initdb"), arguments).failure {
            throw MillraceError(.embedded, "The database cluster could not be made.", detail: failure)
        }
        let configuration = "\(unfinished)/postgresql.conf"
        let initial = (try? String(contentsOfFile: configuration, encoding: .utf8)) ?? ""
        try write("\(initial)\ninclude 'millrace.conf'\n", to: configuration)
        guard rename(unfinished, layout.data) == 0 else {
            throw MillraceError(
                .embedded,
                "\(layout.data) cannot be put in place: \(String(cString: strerror(errno)))."
            )
        }
    }

    private func start(
        _ layout: EmbeddedLayout,
        _ programs: ServerPrograms,
        _ known: EmbeddedRecord
    ) async throws(MillraceError) -> EmbeddedRecord {
        var record = known
        let patience = ContinuousClock.now + .seconds(30)
        while true {
            let locks = ["\(layout.data)/postmaster.pid", "\(layout.socket)/.s.PGSQL.\(record.port).lock"]
            let isFree = Postmaster.removeStaleLocks(locks, of: layout.data)
            if !EmbeddedRecord.isFree(record.port) { record.port = EmbeddedRecord.freePort() ?? record.port }
            try configure(layout, record)
            let logged = log(layout, from: 0).utf8.count
            let arguments = ["start", "--wait", "--timeout", "120", "--pgdata", layout.data, "--log", layout.log]
            let failure =
                isFree
                ? try await account.execute(programs.path("pg_ctl"), arguments).failure
                : "Sessions of the server that was killed are still at work."
            guard let failure else { return record }

            let log = log(layout, from: logged)
            // Somebody else took the port, or sessions of a killed server have not gone yet: both pass.
            let passes =
                !isFree || ["could not bind", "is still in use", "already exists"].contains { log.contains($0) }
            guard passes, ContinuousClock.now < patience else {
                let said = log.split(separator: "\n").suffix(12).joined(separator: "\n  ")
                throw MillraceError(
                    .embedded,
                    "The database server does not start.",
                    detail: said.isEmpty ? failure : said,
                    hint: "Its log is \(layout.log)."
                )
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    private func log(_ layout: EmbeddedLayout, from start: Int) -> String {
        String(decoding: (FileManager.default.contents(atPath: layout.log) ?? Data()).dropFirst(start), as: UTF8.self)
    }

    private func configure(_ layout: EmbeddedLayout, _ record: EmbeddedRecord) throws(MillraceError) {
        try record.write(layout)
        let user = getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) } ?? account.name
        let settings = EmbeddedSettings(layout: layout, record: record, account: account, user: user)
        try write(settings.server, to: "\(layout.data)/millrace.conf")
        try write(settings.hostBasedAuthentication, to: "\(layout.data)/pg_hba.conf")
        try write(settings.identities, to: "\(layout.data)/pg_ident.conf")
    }

    private func write(_ text: String, to path: String) throws(MillraceError) {
        try SecretFile.write(Data(text.utf8), to: path)
        try account.own(path)
    }
}
