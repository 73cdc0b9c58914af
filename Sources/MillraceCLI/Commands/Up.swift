import ArgumentParser
import Millrace

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start the embedded database.",
        discussion: """
            A private PostgreSQL cluster in .millrace/ of this directory, made by the server programs that are installed \
            here. Prints its URL. Starting it again changes nothing.
            """
    )

    @Flag(help: "Print the URL by way of the loopback interface, with its password, for programs that know no sockets.")
    var loopback = false

    @Flag(help: "Answer with one JSON object on the last line.")
    var json = false

    private struct Answer: Encodable { var url: String }

    func run() async throws {
        let address = try await EmbeddedDatabase().up { Terminal.error.print($0) }
        let url = loopback ? address.loopbackURL : address.url
        Output(isJSON: json).answer(Answer(url: url), url)
    }
}
