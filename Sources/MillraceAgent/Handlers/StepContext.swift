import Foundation
import Logging
import Millrace

/// What a handler knows of the step it executes. What comes from the database is decoded when it is asked for.
public struct StepContext: Sendable {
    /// The database as the registered agent sees it, for handlers that complete their steps themselves.
    package struct Database: Sendable {
        package var client: WorkClient
        package var agentID: Int32
    }

    package let work: Work
    package let database: Database?
    /// What has been rendered and looked up for this step; nil where nothing was left to do.
    var late: LateValues?
    /// Where it says how it goes; nil where there is no agent.
    var journal: StepJournal?
    /// Where its large files go; nil: into the database.
    var store: OutputStore?
    /// Settings that were decoded for others; nil where there is no agent.
    var settingsCache: SettingsCache?
    private let baseLogger: Logger

    package init(work: Work, database: Database? = nil, logger: Logger) {
        self.work = work
        self.database = database
        self.baseLogger = logger
    }

    public var runID: Int64 { work.handOut.runID }
    public var stepNo: Int32 { work.handOut.stepNo }
    /// The claim token of this hand-out.
    public var token: Int32 { work.handOut.token }
    /// 1 for the first try.
    public var attempt: Int { Int(work.attempt) }
    /// The index of a step in a fan-out.
    public var element: Int? { work.element.map(Int.init) }
    public var workflow: String { work.workflow }
    public var key: String { work.key }
    public var handler: String { work.handler }
    /// The run's trace context, as it was given to `submit`.
    public var trace: String? { work.trace }

    /// The step's input as JSON text in UTF-8.
    public var rawInput: [UInt8]? { late.map(\.input) ?? work.input }
    /// The definition's `with` as JSON text in UTF-8, its paths, templates and secrets replaced by what they stand for.
    public var rawSettings: [UInt8]? { late.map(\.settings) ?? work.settings }

    /// A logger that names the step.
    public var logger: Logger {
        var logger = baseLogger
        logger[metadataKey: "run_id"] = "\(runID)"
        logger[metadataKey: "key"] = "\(key)"
        logger[metadataKey: "attempt"] = "\(attempt)"
        return logger
    }

    /// The input, decoded; an absent input decodes as JSON null.
    ///
    /// - Throws: a fatal ``HandlerError`` that says where the input does not fit.
    public func input<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try Self.decode(type, from: rawInput, absent: "null", what: "input", errorClass: "input")
    }

    /// The settings, decoded; absent settings decode as an empty object.
    ///
    /// - Throws: a fatal ``HandlerError`` that says where the settings do not fit.
    public func settings<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try Self.decode(type, from: rawSettings, absent: "{}", what: "setting (with)", errorClass: "settings")
    }

    /// The same for values that steps may share: those of one definition are decoded once.
    func sharedSettings<Value: Decodable & Sendable>(as type: Value.Type = Value.self) throws -> Value {
        // What was rendered or looked up is a step's own, and may be secret.
        guard let settingsCache, late == nil, let json = work.settings else { return try settings() }
        return try settingsCache.value(of: json) { try settings() }
    }

    private static func decode<Value: Decodable>(
        _ type: Value.Type,
        from json: [UInt8]?,
        absent: StaticString,
        what: String,
        errorClass: String
    ) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: json.map { Data($0) } ?? Data("\(absent)".utf8))
        } catch let error as DecodingError {
            throw HandlerError.fatal(
                "The step's \(what) does not fit: \(explanation(of: error))",
                errorClass: errorClass
            )
        }
    }

    private static func explanation(of error: DecodingError) -> String {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.isEmpty ? "the whole" : context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(key.stringValue) is missing in \(path(context))"
        case .valueNotFound(let type, let context): return "\(path(context)) is null, not \(type)"
        case .typeMismatch(let type, let context): return "\(path(context)) is not \(type)"
        case .dataCorrupted(let context): return "\(path(context)): \(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }
}
