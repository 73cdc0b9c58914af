/// `noop`: does nothing. For joins, gates and measurements.
struct NoopHandler: ImmediateHandler {
    func runNow(_ step: StepContext) -> Output { .none }
}
