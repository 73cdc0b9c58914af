import CZlib

/// Packs bodies with zlib, one after the other, at the level that costs least.
package struct GzipCompressor: ~Copyable {
    /// At an address of its own: zlib keeps a pointer to it.
    private let stream: UnsafeMutablePointer<z_stream>

    package init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 16 asks for a gzip header; 15 is the largest window, 9 the most memory.
        let status = deflateInit2_(
            stream, 1, Z_DEFLATED, 16 + 15, 9, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)
        )
        precondition(status == Z_OK, "zlib has no memory left")
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    package func compress(_ bytes: [UInt8]) -> [UInt8] {
        deflateReset(stream)
        let bound = Int(deflateBound(stream, UInt(bytes.count)))
        return [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            bytes.withUnsafeBufferPointer { input in
                stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                stream.pointee.avail_in = UInt32(input.count)
                stream.pointee.next_out = output.baseAddress
                stream.pointee.avail_out = UInt32(output.count)
                let status = deflate(stream, Z_FINISH)
                precondition(status == Z_STREAM_END, "zlib's own bound was too small")
                count = output.count - Int(stream.pointee.avail_out)
            }
        }
    }
}
