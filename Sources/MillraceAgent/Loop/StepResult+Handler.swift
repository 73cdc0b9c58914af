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

    /// What PostgreSQL can store, cut at a bound.
    private static func storable(_ text: String) -> String {
        let cut = text.utf8.count > maxErrorBytes ? text.prefix(maxErrorBytes / 4) + "…" : text
        return cut.utf8.contains(0) ? cut.replacing("\0", with: "\u{FFFD}") : cut
    }
}
