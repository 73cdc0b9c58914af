import Foundation
import Millrace
import MillraceEvents
import MillraceTestSupport
import Postgres
import Testing

@Suite(.serialized) struct PublisherTests {
    private func sink(_ receiver: Receiver, path: String = "", _ headers: [String: String] = [:]) throws -> HTTPSink {
        var configuration = HTTPSink.Configuration(url: receiver.url + path, source: "/millrace/test")
        configuration.headers = headers
        return try HTTPSink(configuration)
    }

    @Test(arguments: PostgresCluster.Tier.allCases)
    func batchesArriveAndThePositionIsStored(tier: PostgresCluster.Tier) async throws {
        let fixture = try await EventFixture(tier)
        try await fixture.submit(50)
        try await Receiver.use { receiver in
            let first = fixture.publisher(to: try sink(receiver, ["Authorization": "Bearer x"])) { $0.batchSize = 20 }
            try await fixture.with(first) {
                try await eventually("the backlog arrives") { receiver.ids.count == 50 }
                try await fixture.submit(10)
                try await eventually("what is new arrives") { receiver.ids.count == 60 }
                try await fixture.eventuallyStored()
            }
            #expect(receiver.batches.allSatisfy { $0 <= 20 })
            #expect(receiver.headers["content-type"] == "application/cloudevents-batch+json; charset=UTF-8")
            #expect(receiver.headers["content-encoding"] == "gzip")
            #expect(receiver.headers["authorization"] == "Bearer x")

            try await fixture.submit(5)
            try await fixture.with(fixture.publisher(to: try sink(receiver))) {
                try await eventually("another one goes on") { receiver.ids.count >= 65 }
            }
            #expect(receiver.ids == (try await fixture.ids()))
        }
    }

    @Test func onlyWhatIsWanted() async throws {
        let fixture = try await EventFixture(.dispatcher)
        try await fixture.psql(
            """
            SELECT FROM millrace.define_workflow('{"workflow": "v", "steps": [{"key": "a", "handler": "noop"}]}');
            SELECT count(*) FROM (SELECT millrace.submit(w, tenant => t) FROM unnest('{v,w}'::text[]) w, unnest('{a,b,c}'::text[]) t) s;
            SELECT count(*) FROM (SELECT millrace.cancel(run_id) FROM millrace.runs) c;
            """
        )
        try await Receiver.use { receiver in
            let publisher = fixture.publisher(to: try sink(receiver)) {
                $0.filter = EventFilter(kinds: [.runSubmitted, .runCancelled], workflows: ["v"], tenants: ["a", "b"])
            }
            try await fixture.with(publisher) { try await fixture.eventuallyStored() }
            #expect(receiver.received.count == 4)
            #expect(Set(receiver.received.map(\.type)) == ["millrace.run_submitted", "millrace.run_cancelled"])
            #expect(Set(receiver.received.map(\.workflow)) == ["v"])
            #expect(Set(receiver.received.map(\.tenant)) == ["a", "b"])
        }
    }

    @Test(arguments: [429, 503, 408]) func aSinkThatRefusesForAWhile(status: Int) async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(10)
        try await Receiver.use { receiver in
            receiver.answer(.status(status, retryAfter: "0"))
            try await fixture.with(fixture.publisher(to: try sink(receiver))) {
                try await eventually("it is tried again") { receiver.requests >= 3 }
                #expect(receiver.ids.isEmpty)
                #expect(try await fixture.psql("SELECT lag_events > 0 FROM millrace.subscriptions") == "t")
                receiver.answer(.status(200))
                try await eventually("all arrives") { receiver.ids.count == 10 }
            }
            #expect(receiver.ids == (try await fixture.ids()))
        }
    }

    @Test func aSinkThatDoesNotAnswerHoldsReadingUp() async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(100)
        try await Receiver.use { receiver in
            receiver.answer(.silence)
            let publisher = fixture.publisher(to: try sink(receiver)) {
                ($0.batchSize, $0.readSize, $0.capacity, $0.gracePeriod) = (10, 10, 20, .milliseconds(100))
            }
            try await fixture.with(publisher) {
                try await eventually("the sink is asked") { receiver.requests == 1 }
            }
            // It ended, although the sink never answered, and nothing counts as delivered.
            #expect(receiver.requests == 1 && receiver.ids.isEmpty)
            receiver.answer(.status(204))
            try await fixture.with(fixture.publisher(to: try sink(receiver))) { try await fixture.eventuallyStored() }
            #expect(Set(receiver.ids) == Set(try await fixture.ids()))
        }
    }

    @Test(arguments: [400, 401, 404, 413, 415, 301]) func aSinkThatRefusesForGood(status: Int) async throws {
        let fixture = try await EventFixture(.plain)
        try await fixture.submit(3)
        try await Receiver.use { receiver in
            receiver.answer(.status(status))
            let sink = try HTTPSink(
                .init(url: receiver.url.replacing("://", with: "://ada:secret@") + "?key=secret", source: "/x")
            )
            do {
                try await fixture.publisher(to: sink).run()
                Issue.record("it ended without an error")
            } catch let error as SinkError {
                #expect(error.message.hasPrefix("\(receiver.url) answered \(status)"))
                #expect(!error.message.contains("secret"))
            }
            #expect(receiver.headers["authorization"] == "Basic YWRhOnNlY3JldA==")
            #expect(receiver.requests == 1)
            #expect(try await fixture.psql("SELECT lag_events FROM millrace.subscriptions") == "3")
        }
    }

    @Test func addressesAndHeadersThatCannotWork() throws {
        for url in ["", "ftp://host/", "http://", "/events"] {
            #expect(throws: SinkError.self) { try HTTPSink(.init(url: url, source: "/x")) }
        }
        var configuration = HTTPSink.Configuration(url: "http://localhost/", source: "/x")
        configuration.headers = ["A": "b\r\nC: d"]
        #expect(throws: SinkError.self) { try HTTPSink(configuration) }
    }

    @Test func aFileGoesOnWhereItEnded() async throws {
        let fixture = try await EventFixture(.plain)
        let path = "/tmp/millrace-events-\(UUID().uuidString).jsonl"
        defer { try? FileManager.default.removeItem(atPath: path) }
        for _ in 1...2 {
            try await fixture.submit(10)
            try await fixture.with(fixture.publisher(to: try FileSink(path: path, source: "/x"))) {
                try await fixture.eventuallyStored()
            }
        }
        let ids = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            try Receiver.event(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]).id
        }
        #expect(ids == (try await fixture.ids()))
    }
}
