/// `sleep`: waits `with: {seconds}` and has no output.
struct SleepHandler: Handler {
    private struct Settings: Decodable {
        var seconds: Double
    }

    func run(_ step: StepContext) async throws -> Output {
        let settings: Settings = try step.settings()
        guard settings.seconds.isFinite, (0...31_536_000).contains(settings.seconds) else {
            throw HandlerError.fatal("sleep: seconds must lie between 0 and 31536000, not \(settings.seconds).")
        }
        try await Task.sleep(for: .seconds(settings.seconds), tolerance: .zero)
        return .none
    }
}
