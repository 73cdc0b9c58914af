import Hummingbird
import Logging
import Millrace
import NIOCore
import SystemPackage

/// `EventReceiver PORT FILE`: an endpoint for batches of CloudEvents in a process of its own, which tests kill.
///
/// A batch is a line of the file before it is answered.
@main struct EventReceiver {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let port = Int(arguments[1]) else { fatalError("EventReceiver PORT FILE") }
        let file = try FileDescriptor.open(
            FilePath(arguments[2]), .writeOnly, options: [.create, .append], permissions: [.ownerReadWrite]
        )
        let router = Router()
        router.post("events") { request, _ -> HTTPResponse.Status in
            let body = try await request.body.collect(upTo: 1 << 26)
            try file.writeAll(Gzip.decompress([UInt8](buffer: body)) + [UInt8(ascii: "\n")])
            return .noContent
        }
        try await Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port)),
            logger: Logger(label: "receiver") { _ in SwiftLogNoOpLogHandler() }
        ).run()
    }
}
