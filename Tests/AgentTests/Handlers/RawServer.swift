import Foundation

/// A server below HTTP: accepts connections and breaks them.
final class RawServer: Sendable {
    enum Manner: Sendable {
        /// Resets the connection.
        case reset
        /// Answers with what is no HTTP.
        case garbage
        /// Closes the connection without a word.
        case closed
    }

    let port: UInt16
    private let listening: Int32

    init(_ manner: Manner) throws {
        listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listening = listening
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listening, $0, length) == 0 && listen(listening, 8) == 0
                    && getsockname(listening, $0, &length) == 0
            }
        }
        guard isBound else { throw POSIXError(.EADDRINUSE) }
        port = UInt16(bigEndian: address.sin_port)
        // accept blocks, so it needs a thread of its own; closing the socket ends it.
        Thread.detachNewThread {
            while case let connection = accept(listening, nil, nil), connection >= 0 {
                Self.treat(connection, manner)
            }
        }
    }

    private static func treat(_ connection: Int32, _ manner: Manner) {
        var request = [UInt8](repeating: 0, count: 4096)
        _ = recv(connection, &request, request.count, 0)
        switch manner {
        case .reset:
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
        case .garbage:
            let answer = Array("SSH-2.0-OpenSSH_9.2\r\n\0\u{1}\u{2}\r\n\r\n".utf8)
            _ = send(connection, answer, answer.count, Int32(MSG_NOSIGNAL))
        case .closed:
            break
        }
        close(connection)
    }

    deinit {
        shutdown(listening, Int32(SHUT_RDWR))
        close(listening)
    }
}
