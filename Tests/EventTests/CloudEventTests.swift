import Foundation
import Millrace
import MillraceEvents
import Postgres
import Testing

struct CloudEventTests {
    private func objects(_ events: [Event], source: String = "/millrace/app") throws -> [[String: Any]] {
        var writer = CloudEventWriter(source: source)
        writer.array(events)
        return try #require(try JSONSerialization.jsonObject(with: Data(writer.bytes)) as? [[String: Any]])
    }

    @Test func anEventOfAStep() throws {
        let event = Event(
            eventID: 42,
            runID: -7,
            stepNo: 3,
            kind: "step_failed",
            attempt: 2,
            agentID: 9,
            at: Timestamp(microsecondsSince1970: 1_700_000_000_000_042),
            data: #"{"error": "no \"way\""}"#,
            workflow: "order",
            version: 4,
            tenant: "acme",
            key: "charge"
        )
        let written = try #require(try objects([event]).first)
        #expect(written["specversion"] as? String == "1.0")
        #expect(written["id"] as? String == "42")
        #expect(written["source"] as? String == "/millrace/app")
        #expect(written["type"] as? String == "millrace.step_failed")
        #expect(written["subject"] as? String == "order/-7/charge")
        #expect(written["time"] as? String == "2023-11-14T22:13:20.000042Z")
        #expect(written["datacontenttype"] as? String == "application/json")
        let data = try #require(written["data"] as? [String: Any])
        #expect(
            data.keys.sorted() == [
                "agent_id", "attempt", "data", "key", "run_id", "step_no", "tenant", "version", "workflow",
            ]
        )
        #expect(data["run_id"] as? Int == -7 && data["step_no"] as? Int == 3 && data["attempt"] as? Int == 2)
        #expect(data["agent_id"] as? Int == 9 && data["version"] as? Int == 4)
        #expect(data["workflow"] as? String == "order" && data["tenant"] as? String == "acme")
        #expect((data["data"] as? [String: String])?["error"] == #"no "way""#)
    }

    @Test func anEventOfARun() throws {
        let event = Event(
            eventID: 1,
            runID: 8,
            kind: "run_submitted",
            at: Timestamp(microsecondsSince1970: 0),
            workflow: "order"
        )
        let written = try #require(try objects([event]).first)
        #expect(written["subject"] as? String == "order/8")
        let data = try #require(written["data"] as? [String: Any])
        for key in ["step_no", "attempt", "agent_id", "key", "data"] { #expect(data[key] is NSNull) }
    }

    @Test func namesWithAnyCharacters() throws {
        let name = "a\"b\\c\u{1}\n\u{1f}é😀/"
        let event = Event(
            eventID: 1,
            runID: 8,
            stepNo: 1,
            kind: "step_started",
            at: Timestamp(microsecondsSince1970: 0),
            workflow: name,
            tenant: name,
            key: name
        )
        let written = try #require(try objects([event, event], source: "/a\"b").last)
        #expect(written["source"] as? String == "/a\"b")
        #expect(written["subject"] as? String == "\(name)/8/\(name)")
        #expect((written["data"] as? [String: Any])?["tenant"] as? String == name)
    }

    @Test func momentsOfAllCenturies() throws {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime]
        let seconds =
            (0..<2000).map { _ in Int64.random(in: -62_135_596_800...253_402_300_799) } + [
                -1, 0, 951_782_400, 951_868_799, 4_107_542_399, 1_709_164_800,
            ]
        let events = seconds.map { second in
            Event(
                eventID: 1,
                runID: 1,
                kind: "x",
                at: Timestamp(microsecondsSince1970: second * 1_000_000 + 5),
                workflow: ""
            )
        }
        for (second, object) in zip(seconds, try objects(events)) {
            let text = try #require(object["time"] as? String)
            #expect(text.hasSuffix(".000005Z"))
            // Foundation's calendar turns Julian before 1582.
            guard second > -12_219_292_800 else { continue }
            let date = try #require(formatter.date(from: text.replacing(".000005", with: "")))
            #expect(Int64(date.timeIntervalSince1970) == second)
        }
    }

    @Test func whatIsPackedUnpacks() throws {
        let compressor = GzipCompressor()
        for size in [0, 1, 100, 1_000_000] {
            let bytes = (0..<size).map { _ in UInt8.random(in: 0...255) }
            #expect(try Gzip.decompress(compressor.compress(bytes)) == bytes)
        }
    }

    @Test func pausesThatAnEndpointAsksFor() {
        let now = Date(timeIntervalSince1970: 784_111_777)
        #expect(RetryAfter.pause(nil, now: now) == nil)
        #expect(RetryAfter.pause("7", now: now) == .seconds(7))
        #expect(RetryAfter.pause("-7", now: now) == .zero)
        #expect(RetryAfter.pause("99999999", now: now) == .seconds(3600))
        #expect(RetryAfter.pause("Sun, 06 Nov 1994 08:49:47 GMT", now: now) == .seconds(10))
        #expect(RetryAfter.pause("Sun, 06 Nov 1994 08:49:27 GMT", now: now) == .zero)
        #expect(RetryAfter.pause("soon", now: now) == nil)
    }
}
