import Foundation

/// Figures as people read them.
enum Spell {
    /// `0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 10 min`.
    static func seconds(_ seconds: Double) -> String {
        switch seconds {
        case ..<10: return String(format: "%.2f s", max(seconds, 0))
        case ..<60: return String(format: "%.1f s", seconds)
        case ..<3600: return String(format: "%d min %02d s", Int(seconds) / 60, Int(seconds) % 60)
        default: return String(format: "%d h %02d min", Int(seconds) / 3600, Int(seconds) / 60 % 60)
        }
    }

    static func age(_ seconds: Double?) -> String {
        seconds.map(Spell.seconds) ?? "-"
    }

    static func decimal(_ number: Double, places: Int = 1) -> String {
        String(format: "%.\(places)f", number)
    }

    /// `12,261`
    static func count(_ number: some BinaryInteger) -> String {
        let digits = "\(number.magnitude)"
        var text = ""
        for (place, digit) in digits.enumerated() {
            if place > 0, (digits.count - place) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return number < 0 ? "-" + text : text
    }

    /// `12,261 steps`, `1 step`
    static func count(_ number: some BinaryInteger, _ noun: String) -> String {
        "\(count(number)) \(noun)\(number == 1 ? "" : "s")"
    }

    static func time(_ date: Date?) -> String {
        guard let date else { return "-" }
        return date.formatted(
            .verbatim(
                "\(year: .defaultDigits)-\(month: .twoDigits)-\(day: .twoDigits) \(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased)):\(minute: .twoDigits):\(second: .twoDigits)",
                timeZone: .current,
                calendar: .current
            )
        )
    }
}
