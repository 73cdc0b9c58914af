import Foundation
import Millrace
import MillraceEvents
import Postgres
import Testing

struct FileSinkTests {
    private let path = "/tmp/millrace-events-\(UUID().uuidString).jsonl"

    private func events(_ ids: ClosedRange<Int64>) -> [Event] {
        ids.map {
            Event(eventID: $0, runID: 1, kind: "run_paused", at: Timestamp(microsecondsSince1970: 0), workflow: "w")
        }
    }

    private func ids() throws -> [String] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return object?["id"] as? String ?? "no id"
        }
    }

    @Test func aTornLineIsCutOff() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = try FileSink(path: path, source: "/x")
        try await first.deliver(events(1...2))
        try await first.deliver(events(3...4))
        try await first.flush()
        await first.close()
        #expect(try ids() == ["1", "2", "3", "4"])
        for rest in ["", #"{"specversion":"1.0","id":"#, String(repeating: "x", count: 200_000)] {
            let file = try #require(FileHandle(forWritingAtPath: path))
            try file.seekToEnd()
            try file.write(contentsOf: Data(rest.utf8))
            try file.close()
            let second = try FileSink(path: path, source: "/x")
            #expect(try ids() == ["1", "2", "3", "4"])
            await second.close()
        }
        let third = try FileSink(path: path, source: "/x")
        try await third.deliver(events(5...5))
        await third.close()
        #expect(try ids() == ["1", "2", "3", "4", "5"])
    }

    @Test func aFileWithoutALineEndIsTorn() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try String(repeating: "x", count: 200_000).write(toFile: path, atomically: false, encoding: .utf8)
        let sink = try FileSink(path: path, source: "/x")
        try await sink.deliver(events(1...1))
        await sink.close()
        #expect(try ids() == ["1"])
    }

    @Test func oneAtATime() async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = try FileSink(path: path, source: "/x")
        #expect(throws: SinkError("\(path) is being written by another publisher.", isRetriable: false)) {
            _ = try FileSink(path: path, source: "/x")
        }
        await first.close()
        await (try FileSink(path: path, source: "/x")).close()
    }

    @Test func aFileThatCannotBeMade() {
        #expect(throws: SinkError.self) { try FileSink(path: "/proc/none/events", source: "/x") }
    }

    @Test func aFullDiskIsTriedAgain() async throws {
        let sink = try FileSink(path: "/dev/full", source: "/x")
        do {
            try await sink.deliver(events(1...1))
            Issue.record("it was written")
        } catch let error as SinkError {
            #expect(error.isRetriable)
        }
        await sink.close()
    }
}
