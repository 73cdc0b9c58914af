import Subprocess

/// A workflow as a picture in SVG, drawn by Graphviz' program `dot`.
public struct GraphSVG: Sendable {
    public init() {}

    /// - Parameter dot: The workflow in Graphviz' language.
    /// - Throws: ``MillraceError`` where `dot` is not installed or does not like what it reads.
    public func render(dot: String) async throws(MillraceError) -> String {
        let drawn: (svg: String, complaint: String, succeeded: Bool)
        do {
            let result = try await run(
                .name("dot"),
                arguments: ["-Tsvg"],
                input: .string(dot),
                output: .string(limit: 256 << 20),
                error: .string(limit: 1 << 20)
            )
            drawn = (result.standardOutput, result.standardError, result.terminationStatus.isSuccess)
        } catch let error as SubprocessError where error.code == .executableNotFound {
            throw MillraceError(
                .unsupported,
                "Graphviz' program dot is not on the PATH.",
                hint: "Install it (apt-get install graphviz), or take the drawing as text or as DOT."
            )
        } catch {
            throw MillraceError(.unsupported, "Graphviz' program dot could not be run.", detail: "\(error)")
        }
        guard drawn.succeeded else {
            let said = drawn.complaint.split(separator: "\n").suffix(5).joined(separator: "\n  ")
            throw MillraceError(.unsupported, "Graphviz' program dot has failed.", detail: said)
        }
        return drawn.svg
    }
}
