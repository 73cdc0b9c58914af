import ArgumentParser
import Foundation
import Millrace
import MillraceAgent
import SystemPackage

struct GetArtifact: RunCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Read one, into a file or to standard output.",
        discussion: "A file is there once all of it has come, and is what its checksum says."
    )

    @OptionGroup var subject: RunOptions

    @Argument(help: "The key of the step.")
    var key: String

    @Argument(help: "The name of the artifact.")
    var name: String

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("Where to; - for standard output. Otherwise a file of its name, here.", valueName: "file")
    )
    var output: String?

    @Option(help: ArgumentHelp("Of a step with for_each, which of its elements, from 0 on.", valueName: "index"))
    var element: Int?

    @Option(
        help: ArgumentHelp(
            "The agents' store, where it has the artifact; else MILLRACE_AGENT_OUTPUTS_STORE.",
            valueName: "url"
        )
    )
    var store: String?

    private struct Answer: Encodable {
        var artifact: Artifact
        var file: String
    }

    func validate() throws {
        guard !(options.json && output == "-") else {
            throw ValidationError("--json and -o - both write to standard output.")
        }
    }

    func run() async throws {
        try await options.withClient { client in
            let artifact = try await find(client)
            let file = FilePath(output ?? artifact.name)
            do {
                let content = try await content(of: artifact, client)
                guard output != "-" else { return try await write(content, to: .standardOutput) }
                try await make(file, content)
            } catch let error as HandlerError {
                throw MillraceError(.unreadable, error.message)
            }
            options.output.answer(
                Answer(artifact: artifact, file: file.string),
                "\(file.string): \(Spell.count(artifact.bytes, "byte"))"
            )
        }
    }

    private func find(_ client: Client) async throws -> Artifact {
        _ = try await client.output(of: key, run: runID)
        let named = try await client.artifacts(of: runID, key: key).filter { $0.name == name }
        if let artifact = named.first(where: { $0.element == element }) { return artifact }
        throw MillraceError(
            .notFound,
            "Step \(key) of run \(runID) has left no artifact \(name).",
            hint: named.isEmpty
                ? "millrace artifacts \(runID) \(key) lists what there is."
                : "Its elements have: name one with --element."
        )
    }

    private func content(of artifact: Artifact, _ client: Client) async throws -> ArtifactContent {
        guard let place = artifact.place else { return client.content(of: artifact) }
        var settings = AgentConfiguration.Outputs()
        settings.store = store ?? Settings.environment.string(forKey: "agent.outputs.store")
        guard let store = OutputStore(settings) else {
            throw MillraceError(
                .notFound,
                "The artifact \(artifact.name) lies in the agents' store.",
                detail: "Its name there is \(place).",
                hint: "Name the store with --store, as the agents' setting agent.outputs.store has it."
            )
        }
        return try await store.content(
            name: artifact.name,
            contentType: artifact.contentType,
            bytes: artifact.bytes,
            sha256: artifact.sha256,
            at: place
        )
    }

    /// Under another name until all of it is there.
    private func make(_ file: FilePath, _ content: ArtifactContent) async throws {
        let unfinished = FilePath(file.string + ".part")
        do {
            let descriptor = try FileDescriptor.open(
                unfinished,
                .writeOnly,
                options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead]
            )
            do {
                try await write(content, to: descriptor)
                try descriptor.close()
            } catch {
                try? descriptor.close()
                throw error
            }
            guard rename(unfinished.string, file.string) == 0 else { throw Errno(rawValue: errno) }
        } catch {
            try? FileManager.default.removeItem(atPath: unfinished.string)
            guard let error = error as? Errno else { throw error }
            throw MillraceError(.unreadable, "\(file.string) cannot be written: \(error).")
        }
    }

    private func write(_ content: ArtifactContent, to file: FileDescriptor) async throws {
        do {
            for try await piece in content { _ = try file.writeAll(piece) }
        } catch Errno.brokenPipe {
            // A reader that has gone away has had what it wanted.
        }
    }
}
