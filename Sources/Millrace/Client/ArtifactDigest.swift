import CLibcrypto
import Synchronization

/// Size and SHA-256 of bytes that come in pieces.
package final class ArtifactDigest: Sendable {
    /// OpenSSL's state of a hash.
    private struct State: ~Copyable {
        let context = EVP_MD_CTX_new()
        var bytes: Int64 = 0

        init() { EVP_DigestInit_ex(context, EVP_sha256(), nil) }

        deinit { EVP_MD_CTX_free(context) }
    }

    private let state = Mutex(State())

    package init() {}

    package func add(_ piece: [UInt8]) {
        state.withLock { state in
            _ = piece.withUnsafeBytes { EVP_DigestUpdate(state.context, $0.baseAddress, $0.count) }
            state.bytes += Int64(piece.count)
        }
    }

    /// Of all that was added. Nothing can be added afterwards.
    package func finish() -> (bytes: Int64, sha256: [UInt8]) {
        state.withLock { state in
            var sha256 = [UInt8](repeating: 0, count: 32)
            EVP_DigestFinal_ex(state.context, &sha256, nil)
            return (state.bytes, sha256)
        }
    }
}

extension Sequence<UInt8> {
    /// Two digits a byte.
    package var hex: String {
        map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
