import Foundation
import MillraceTestSupport
import Postgres

/// Hours in which a step may start: the same on all days, or on one day of the week. All in UTC.
struct Window: Sendable {
    enum Kind: Sendable { case open, closing, opening, far }

    /// Of the kinds one, but none for which to wait long.
    static func random(now: Timestamp, using random: inout SeededRandom) -> Window {
        let kind: Kind = random.pick(weighted: [.open: 2, .closing: 2, .opening: 2, .far: 1])
        let isLong = now.microsecondsSince1970 % 60_000_000 < 45_000_000
        return Window(kind == .opening && isLong ? .closing : kind, now: now)
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let minutesADay: Int64 = 1440

    /// 0 is Sunday; nil: all.
    private let day: Int?
    /// Minutes of the day. What closes before it opens does so on the next day.
    private let opens: Int64
    private let closes: Int64

    /// - Parameter now: it closes or opens with the minute after this one, or opens days later.
    private init(_ kind: Kind, now: Timestamp) {
        let minute = now.minute + 1
        func clock(_ minute: Int64) -> Int64 { minute % Self.minutesADay }
        switch kind {
        case .open: (day, opens, closes) = (nil, 0, Self.minutesADay)
        case .closing: (day, opens, closes) = (nil, clock(minute - 120), clock(minute))
        case .opening: (day, opens, closes) = (nil, clock(minute), clock(minute + 120))
        case .far: (day, opens, closes) = (Self.weekday(ofDay: minute / Self.minutesADay + 3), 0, Self.minutesADay)
        }
    }

    var text: String {
        let days = day.map { Self.days[$0] + " " } ?? ""
        return "\(days)\(Self.text(opens))-\(closes == 0 ? "24:00" : Self.text(closes)) UTC"
    }

    private static func text(_ minute: Int64) -> String {
        func digits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(digits(minute / 60)):\(digits(minute % 60))"
    }

    /// The first day of 1970 was a Thursday.
    private static func weekday(ofDay day: Int64) -> Int { Int((day + 4) % 7) }

    /// When it is open: at that time, or next.
    private func hours(from time: Timestamp) -> (opensAt: Timestamp, closesAt: Timestamp) {
        var number = time.minute / Self.minutesADay - 1
        while true {
            let (start, end) = (number * Self.minutesADay + opens, number * Self.minutesADay + closes)
            let closesAt = Timestamp(minute: closes <= opens ? end + Self.minutesADay : end)
            if closesAt > time, day == nil || day == Self.weekday(ofDay: number) {
                return (Timestamp(minute: start), closesAt)
            }
            number += 1
        }
    }

    /// When it opens, where it is not open.
    func opening(after time: Timestamp) -> Timestamp? {
        let opensAt = hours(from: time).opensAt
        return opensAt <= time ? nil : opensAt
    }

    /// Whether it was open at any time between the two.
    func wasOpen(between first: Timestamp, and last: Timestamp) -> Bool { hours(from: first).opensAt <= last }
}

extension Timestamp {
    static var now: Timestamp { Timestamp(microsecondsSince1970: Int64(Date.now.timeIntervalSince1970 * 1_000_000)) }

    fileprivate var minute: Int64 { microsecondsSince1970 / 60_000_000 }

    fileprivate init(minute: Int64) { self.init(microsecondsSince1970: minute * 60_000_000) }
}
