import ArgumentParser
import Glibc
import Millrace

struct Psql: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Open psql on the database.",
        discussion: "What follows is handed on: millrace psql -- -c 'select 1'."
    )

    @OptionGroup var options: DatabaseOptions

    @Argument(parsing: .postTerminator, help: "Arguments of psql.")
    var arguments: [String] = []

    func run() async throws {
        var parameters = try options.configuration().parameters
        // Everyone on this machine can read a program's arguments.
        if let password = parameters.removeValue(forKey: "password") { setenv("PGPASSWORD", password, 1) }
        // psql takes this program's place, so that the terminal and its signals are its own.
        let words = ["psql", "--dbname", Self.text(parameters)] + arguments
        var pointers = words.map { strdup($0) } + [nil]
        execvp("psql", &pointers)
        throw MillraceError(
            .unreadable,
            "psql cannot be run: \(String(cString: strerror(errno))).",
            hint: "Install postgresql-client."
        )
    }

    /// The keywords as libpq reads them from one text.
    private static func text(_ parameters: [String: String]) -> String {
        parameters.sorted { $0.key < $1.key }.map { key, value in
            let quoted = value.reduce(into: "") { text, character in
                if character == "'" || character == "\\" { text.append("\\") }
                text.append(character)
            }
            return "\(key)='\(quoted)'"
        }.joined(separator: " ")
    }
}
