import CZlib

/// Decompression of `.gz` files by zlib.
package enum Gzip {
    /// What a file may unpack to. A few bytes of gzip can name terabytes.
    static let limit = 1 << 30

    static func isCompressed(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: [0x1f, 0x8b])
    }

    package static func decompress(_ input: [UInt8]) throws(MillraceError) -> [UInt8] {
        var stream = z_stream()
        // 16 asks zlib for a gzip header; 15 is the largest window.
        let version = ZLIB_VERSION
        guard inflateInit2_(&stream, 16 + 15, version, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw MillraceError(.malformed, "zlib could not be started.")
        }
        defer { inflateEnd(&stream) }

        var output: [UInt8] = []
        var source = input
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        var status = Z_OK
        source.withUnsafeMutableBufferPointer { source in
            stream.next_in = source.baseAddress
            stream.avail_in = UInt32(source.count)
            repeat {
                chunk.withUnsafeMutableBufferPointer { chunk in
                    stream.next_out = chunk.baseAddress
                    stream.avail_out = UInt32(chunk.count)
                    status = inflate(&stream, Z_NO_FLUSH)
                    output.append(contentsOf: chunk.prefix(chunk.count - Int(stream.avail_out)))
                }
                if status == Z_STREAM_END && stream.avail_in > 0 {
                    // A file may hold several members, one after the other.
                    status = inflateReset(&stream)
                }
            } while status == Z_OK && output.count <= limit
        }
        guard output.count <= limit else {
            throw MillraceError(.malformed, "The compressed file unpacks to more than \(limit >> 20) MiB.")
        }
        guard status == Z_STREAM_END else {
            throw MillraceError(.malformed, "The compressed file is damaged or cut off.")
        }
        return output
    }
}
