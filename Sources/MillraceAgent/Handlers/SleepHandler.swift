import Synchronization

/// `sleep`: waits `with: {seconds}` and has no output.
final class SleepHandler: WaitingHandler {
    private struct Settings: Decodable {
        var seconds: Double
    }

    /// What was decoded last: the steps of one definition all say the same.
    private let last = Mutex<(settings: [UInt8], duration: Duration)?>(nil)

    func duration(of step: StepContext) throws -> Duration {
        if let last = last.withLock({ $0 }), last.settings == step.rawSettings { return last.duration }
        let settings: Settings = try step.settings()
        guard settings.seconds.isFinite, (0...31_536_000).contains(settings.seconds) else {
            throw HandlerError.fatal(
                "sleep: seconds must lie between 0 and 31536000, not \(settings.seconds).",
                errorClass: "settings"
            )
        }
        let duration = Duration.seconds(settings.seconds)
        if let text = step.rawSettings { last.withLock { $0 = (text, duration) } }
        return duration
    }
}
