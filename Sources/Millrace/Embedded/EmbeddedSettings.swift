/// The configuration files of the embedded server.
struct EmbeddedSettings: Sendable {
    let layout: EmbeddedLayout
    let record: EmbeddedRecord
    let account: ServerAccount
    /// The account of whoever started it.
    let user: String

    /// Written anew at each start.
    var server: String {
        """
        # Written by millrace up; changes are lost. Put your own into postgresql.conf, after the include.
        listen_addresses = '127.0.0.1'
        port = \(record.port)
        unix_socket_directories = \(quote(layout.socket))
        unix_socket_permissions = 0700
        password_encryption = 'scram-sha-256'
        shared_preload_libraries = 'millrace'
        max_connections = 100
        shared_buffers = '256MB'
        max_wal_size = '4GB'
        checkpoint_timeout = '15min'
        random_page_cost = 1.1
        autovacuum_naptime = '10s'
        log_min_messages = 'warning'
        log_line_prefix = '%m [%p] %q%u@%d '

        """
    }

    /// Over the socket, whoever may enter its directory and has one of the two accounts; over loopback, the password.
    var hostBasedAuthentication: String {
        """
        local all \(EmbeddedRecord.role) peer map=millrace
        local all all scram-sha-256
        host all all 127.0.0.1/32 scram-sha-256

        """
    }

    var identities: String {
        Set([user, account.name, "root"]).sorted().map { "millrace \($0) \(EmbeddedRecord.role)\n" }.joined()
    }

    private func quote(_ text: String) -> String {
        "'\(text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'"
    }
}
