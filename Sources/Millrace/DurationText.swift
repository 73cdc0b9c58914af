extension Duration {
    /// A number with `ms`, `s`, `m` or `h`; a bare number is seconds.
    package init?(text: String) {
        let units: [(suffix: String, seconds: Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600)]
        let (number, scale) =
            units.first { text.hasSuffix($0.suffix) }.map { (text.dropLast($0.suffix.count), $0.seconds) } ?? (
                text[...], 1
            )
        guard let value = Double(number), value.isFinite, value >= 0, value * scale < 1e9 else { return nil }
        self = .seconds(value * scale)
    }
}
