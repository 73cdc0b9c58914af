import Postgres

/// Writes moments as RFC 3339 wants them, to the microsecond: `2026-11-21T14:36:00.123456Z`.
///
/// Events of the same second stand beside each other, so that the text of the last second is kept.
struct TimestampText {
    private var second = Int64.min
    private var text: [UInt8] = []

    mutating func append(_ moment: Timestamp, to bytes: inout [UInt8]) {
        let (seconds, fraction) = Self.split(moment.microsecondsSince1970, by: 1_000_000)
        if seconds != second {
            second = seconds
            text = Self.text(ofSecond: seconds)
        }
        bytes.append(contentsOf: text)
        Self.append(fraction, digits: 6, to: &bytes)
        bytes.append(UInt8(ascii: "Z"))
    }

    private static func text(ofSecond second: Int64) -> [UInt8] {
        let (days, ofDay) = split(second, by: 86_400)
        let (year, month, day) = date(ofDay: days)
        var text: [UInt8] = []
        append(year, digits: 4, to: &text)
        for (separator, number) in [
            ("-", month), ("-", day), ("T", ofDay / 3600), (":", ofDay / 60 % 60), (":", ofDay % 60),
        ] {
            text.append(contentsOf: separator.utf8)
            append(number, digits: 2, to: &text)
        }
        text.append(UInt8(ascii: "."))
        return text
    }

    /// The date of a day counted from 1970-01-01, in the Gregorian calendar: 400 years have 146,097 days, and with years
    /// that begin in March the leap day is the last one.
    private static func date(ofDay day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = split(day + 719_468, by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let fromMarch = (5 * dayOfYear + 2) / 153
        let month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * fromMarch + 2) / 5 + 1
        )
    }

    /// Quotient and remainder, the latter never negative.
    private static func split(_ number: Int64, by divisor: Int64) -> (Int64, Int64) {
        let remainder = number % divisor
        return remainder < 0
            ? (number / divisor - 1, remainder + divisor) : (number / divisor, remainder)
    }

    private static func append(_ number: Int64, digits: Int, to bytes: inout [UInt8]) {
        let start = bytes.count
        var rest = number
        for _ in 0..<digits {
            bytes.append(UInt8(truncatingIfNeeded: 0x30 + rest % 10))
            rest /= 10
        }
        bytes[start...].reverse()
    }
}
