import CLibpq
import Logging
import Synchronization

/// Passes the server's notices on to the log.
final class NoticeReceiver: Sendable {
    private let logger: Logger
    private let fatal = Mutex<PostgresError?>(nil)

    init(logger: Logger) { self.logger = logger }

    /// The last words of a server that ended the connection while nothing was asked of it.
    var lastWords: PostgresError? { fatal.withLock { $0 } }

    /// The receiver must outlive the connection.
    func attach(to connection: OpaquePointer) {
        let context = Unmanaged.passUnretained(self).toOpaque()
        PQsetNoticeReceiver(
            connection,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<NoticeReceiver>.fromOpaque(context).takeUnretainedValue().receive(result)
            },
            context
        )
    }

    private func receive(_ result: OpaquePointer) {
        let notice = PostgresError(result: result)
        // "V" is the severity in English, whatever the server's language.
        let severity = PQresultErrorField(result, Int32(UInt8(ascii: "V"))).map { String(cString: $0) } ?? "NOTICE"
        if severity == "FATAL" || severity == "PANIC" { fatal.withLock { $0 = notice } }
        logger.log(level: Self.level(severity), "\(notice.message)", metadata: notice.metadata)
    }

    private static func level(_ severity: String) -> Logger.Level {
        switch severity {
        case "DEBUG": .trace
        case "LOG", "INFO", "NOTICE": .debug
        default: .warning
        }
    }
}

extension PostgresError {
    var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [:]
        if let sqlState { metadata["sql_state"] = "\(sqlState)" }
        if let detail { metadata["detail"] = "\(detail)" }
        if let hint { metadata["hint"] = "\(hint)" }
        return metadata
    }
}

/// What a `NOTIFY` delivered.
public struct Notification: Sendable, Hashable {
    public var channel: String
    public var payload: String
    /// The server process that sent it.
    public var backendPID: Int32

    public init(channel: String, payload: String = "", backendPID: Int32 = 0) {
        self.channel = channel
        self.payload = payload
        self.backendPID = backendPID
    }
}
