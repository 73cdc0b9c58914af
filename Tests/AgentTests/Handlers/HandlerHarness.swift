import Foundation
import Logging
import Millrace
import MillraceAgent
import Testing

/// Runs a step of a handler as an agent would, without a database.
func run(
    _ handler: any Handler,
    with settings: String = "{}",
    input: String? = nil
) async throws -> Output {
    let work = Work(
        handOut: HandOut(runID: 7, stepNo: 3, token: 1),
        handler: "any",
        key: "step",
        settings: Array(settings.utf8),
        input: input.map { Array($0.utf8) }
    )
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return try await handler.run(StepContext(work: work, logger: logger))
}

/// The error of a step that has to fail.
func failure(
    of handler: any Handler,
    with settings: String = "{}",
    input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) async throws -> HandlerError {
    try #require(
        await #expect(throws: HandlerError.self, sourceLocation: sourceLocation) {
            try await run(handler, with: settings, input: input)
        },
        sourceLocation: sourceLocation
    )
}

/// Text as a JSON string.
func quoted(_ text: String) -> String {
    String(decoding: try! JSONEncoder().encode(text), as: UTF8.self)
}
