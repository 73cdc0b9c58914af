import Foundation
import Millrace

/// The directory in which a program leaves the files that its step is to keep.
struct ArtifactDirectory: Sendable {
    /// The variable in the program's environment that names it.
    static let variable = "MILLRACE_ARTIFACTS"

    let url: URL
    private let step: StepContext

    /// - Returns: nil where nothing can be kept.
    init?(of step: StepContext) throws {
        guard step.database != nil else { return nil }
        self.step = step
        url = FileManager.default.temporaryDirectory
            .appending(path: "millrace-\(step.runID)-\(step.stepNo)-\(step.token)-\(UUID().uuidString.lowercased())")
        do {
            let forItsOwnerAlone: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
            try FileManager.default.createDirectory(
                at: url,
                withIntermediateDirectories: false,
                attributes: forItsOwnerAlone
            )
        } catch {
            throw HandlerError.retriable(
                "The directory for artifacts could not be made: \(error)",
                errorClass: ArtifactWriter.errorClass
            )
        }
    }

    /// Stores what lies there, by name. What is no plain file, or is hidden, is left out, and the step's log says so.
    func store() async throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() {
            let file = url.appending(path: name)
            let type = try FileManager.default.attributesOfItem(atPath: file.path)[.type] as? FileAttributeType
            guard type == .typeRegular, !name.hasPrefix(".") else {
                step.log("\(name) is not kept: an artifact is a plain file whose name does not begin with a dot.")
                continue
            }
            try await step.store(artifact: name, file: file)
        }
    }

    func remove() {
        try? FileManager.default.removeItem(at: url)
    }
}
