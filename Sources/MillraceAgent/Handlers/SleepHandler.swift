/// `sleep`: waits `with: {seconds}` and has no output.
struct SleepHandler: WaitingHandler {
    private struct Settings: Decodable, Sendable {
        var seconds: Double
    }

    func duration(of step: StepContext) throws -> Duration {
        let settings: Settings = try step.sharedSettings()
        guard settings.seconds.isFinite, (0...31_536_000).contains(settings.seconds) else {
            throw HandlerError.fatal(
                "sleep: seconds must lie between 0 and 31536000, not \(settings.seconds).",
                errorClass: "settings"
            )
        }
        return .seconds(settings.seconds)
    }
}
