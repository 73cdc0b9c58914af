import Foundation
import Glibc

/// What has to be remembered about an embedded database, in `database.json`.
struct EmbeddedRecord: Codable, Sendable {
    var port: Int
    /// The password of the role `millrace` over loopback. Over the socket the account itself is the proof.
    var password: String

    static let role = "millrace"
    static let database = "millrace"

    static func read(_ layout: EmbeddedLayout) -> EmbeddedRecord? {
        guard let data = FileManager.default.contents(atPath: layout.record) else { return nil }
        return try? JSONDecoder().decode(EmbeddedRecord.self, from: data)
    }

    func write(_ layout: EmbeddedLayout) throws(MillraceError) {
        guard let data = try? JSONEncoder().encode(self) else { return }
        try SecretFile.write(data, to: layout.record)
    }

    static func random() -> EmbeddedRecord {
        let password = (0..<32).map { _ in "abcdefghijkmnpqrstuvwxyz23456789".randomElement()! }
        return EmbeddedRecord(port: freePort() ?? 54_320, password: String(password))
    }

    /// A port of the loopback interface that nobody listens on.
    static func freePort() -> Int? {
        bound(to: 0)
    }

    static func isFree(_ port: Int) -> Bool {
        bound(to: port) != nil
    }

    private static func bound(to port: Int) -> Int? {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutableBytes(of: &address) { bytes in
            let pointer = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!
            // What the server itself sets, so that a port it has just left counts as free.
            var on: Int32 = 1
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
            guard bind(socket, pointer, length) == 0, getsockname(socket, pointer, &length) == 0 else { return nil }
            return Int(UInt16(bigEndian: bytes.load(as: sockaddr_in.self).sin_port))
        }
    }
}

/// Files that hold a password.
enum SecretFile {
    /// Writes so that nobody else can read it at any moment, and no reader sees half of it.
    static func write(_ data: Data, to path: String) throws(MillraceError) {
        let draft = "\(path).new"
        unlink(draft)
        let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw MillraceError(.embedded, "\(path) cannot be written: \(String(cString: strerror(errno))).")
        }
        let written = data.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        close(file)
        guard written == data.count, rename(draft, path) == 0 else {
            throw MillraceError(.embedded, "\(path) cannot be written: \(String(cString: strerror(errno))).")
        }
    }
}
