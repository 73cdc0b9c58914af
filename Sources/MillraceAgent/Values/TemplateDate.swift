import Foundation

/// A moment, or a day, as JSON from a database tells it.
struct TemplateDate {
    private let moment: Date
    /// A day without a time is the same day in every time zone.
    private let isDay: Bool

    init(seconds: Double) {
        moment = Date(timeIntervalSince1970: seconds)
        isDay = false
    }

    /// ISO 8601, with a space for the T and without a zone too: then it is UTC.
    init?(_ text: String) {
        let form = #/^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/#
        guard let parts = text.wholeMatch(of: form)?.output else { return nil }
        func number(_ part: Substring?) -> Int { part.flatMap { Int($0) } ?? 0 }
        var day = DateComponents()
        (day.year, day.month, day.day) = (Int(parts.1), Int(parts.2), Int(parts.3))
        (day.hour, day.minute, day.second) = (number(parts.4), number(parts.5), number(parts.6))
        guard (1...12).contains(day.month ?? 0), (1...31).contains(day.day ?? 0),
            let moment = Self.calendar.date(from: day)
        else { return nil }
        let fraction = parts.7.flatMap { Double("0\($0)") } ?? 0
        self.moment = moment.addingTimeInterval(fraction - Double(Self.offset(parts.8)))
        isDay = parts.4 == nil
    }

    func formatted(_ pattern: String, _ style: TemplateStyle) -> String {
        let formatter = DateFormatter()
        formatter.calendar = Self.calendar
        formatter.locale = Locale(identifier: style.locale)
        formatter.timeZone = isDay ? .gmt : TimeZone(identifier: style.timezone) ?? .gmt
        formatter.dateFormat = pattern
        return formatter.string(from: moment)
    }

    private static let calendar: Calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()

    private static func offset(_ zone: Substring?) -> Int {
        guard let zone, zone != "Z" else { return 0 }
        let digits = zone.dropFirst().filter(\.isNumber)
        let seconds = (Int(digits.prefix(2)) ?? 0) * 3600 + (Int(digits.dropFirst(2)) ?? 0) * 60
        return zone.hasPrefix("-") ? -seconds : seconds
    }
}
