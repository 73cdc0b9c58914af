import Millrace

extension Output {
    var result: StepResult {
        switch content {
        case .json(let json): .output(json)
        case .settled: .settled
        }
    }
}

extension StepResult {
    /// The longest error text that is reported.
    static let maxErrorBytes = 8192

    init(_ error: any Error) {
        switch error {
        case is GiveBack: self = .givenBack
        case let error as HandlerError:
            var error = error
            error.message = Self.storable(error.message)
            self = .failed(error)
        default: self = .failed(.retriable(Self.storable("\(error)")))
        }
    }

    /// Without the secrets that the step was given, in errors and in the texts of outputs.
    func redacted(by redaction: Redaction) -> Self {
        guard !redaction.isEmpty else { return self }
        switch self {
        case .failed(var error):
            error.message = redaction.applied(to: error.message)
            return .failed(error)
        case .output(let output?):
            // Text that is no JSON is refused by the database, and not stored.
            guard let value = try? JSONValue(json: output) else { return self }
            let redacted = value.redacted(by: redaction)
            return redacted == value ? self : .output(redacted.json)
        default: return self
        }
    }

    /// What PostgreSQL can store, cut at a bound.
    private static func storable(_ text: String) -> String {
        let cut = text.utf8.count > maxErrorBytes ? text.prefix(maxErrorBytes / 4) + "…" : text
        return cut.utf8.contains(0) ? cut.replacing("\0", with: "\u{FFFD}") : cut
    }
}

extension JSONValue {
    fileprivate func redacted(by redaction: Redaction) -> Self {
        switch self {
        case .string(let text): .string(redaction.applied(to: text))
        case .array(let elements): .array(elements.map { $0.redacted(by: redaction) })
        case .object(let members):
            .object(
                Dictionary(
                    members.map { (redaction.applied(to: $0.key), $0.value.redacted(by: redaction)) },
                    uniquingKeysWith: { first, _ in first }
                )
            )
        default: self
        }
    }
}
