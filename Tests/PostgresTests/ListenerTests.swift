import MillraceTestSupport
import Postgres
import Testing

@Suite struct ListenerTests {
    @Test func aConnectionDeliversWhatItListensTo() async throws {
        try await Shared.withConnection { connection in
            _ = try await connection.query(Statement("listen \"Quoted Name\"", prepared: false))
            let pid = try await Shared.withConnection { other in
                try await other.execute(script: "notify \"Quoted Name\", 'äöü'; notify unheard")
                return other.backendPID
            }
            var notifications = connection.notifications.makeAsyncIterator()
            let first = await notifications.next()
            #expect(first == Notification(channel: "Quoted Name", payload: "äöü", backendPID: pid))
        }
    }

    @Test func theSetOfChannelsFollows() async throws {
        let cluster = try await Shared.cluster()
        let listener = Listener(cluster.configuration(), channels: ["a"])
        let running = Task { try await listener.run() }
        var events = listener.events.makeAsyncIterator()
        #expect(await events.next() == .listening(["a"]))
        listener.listen(to: ["a", "b"])
        #expect(await events.next() == .listening(["a", "b"]))
        listener.listen(to: ["b", "c"])
        #expect(await events.next() == .listening(["b", "c"]))
        try await cluster.psql("notify a; notify c")
        guard case .notification(let notification) = await events.next() else {
            Issue.record("no notification")
            return
        }
        #expect(notification.channel == "c")
        running.cancel()
        #expect(await events.next() == nil)
    }
}
