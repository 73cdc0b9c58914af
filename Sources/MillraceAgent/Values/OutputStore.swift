import AsyncHTTPClient
import Foundation
import Millrace
import NIOCore

/// Where an agent puts outputs that are too large for the database: a directory, or an HTTP server that keeps what is PUT.
///
/// The database then has `{"$ref": NAME, "bytes": N}` in their place. Agents that know the same store read them back for
/// the steps that take them. A name has a random part, so that nobody can make one up: who has it may read.
package struct OutputStore: Sendable {
    let place: URL
    let inlineBytes: Int

    /// - Returns: nil where outputs stay in the database.
    package init?(_ settings: AgentConfiguration.Outputs) {
        guard let store = settings.store, let place = URL(string: store) else { return nil }
        self.place = place
        inlineBytes = settings.inlineBytes
    }

    /// The output itself, or what stands for it.
    func put(_ json: String, of step: StepContext) async throws -> String {
        guard json.utf8.count > inlineBytes else { return json }
        let name = "\(step.runID)-\(step.stepNo)-\(step.token)-\(UUID().uuidString.lowercased()).json"
        do {
            if place.isFileURL {
                try Data(json.utf8).write(to: place.appending(path: name), options: .atomic)
            } else {
                var request = request(name)
                request.method = .PUT
                request.headers.add(name: "content-type", value: "application/json")
                request.body = .bytes(Array(json.utf8))
                let response = try await HTTPClient.shared.execute(request, timeout: Self.timeout)
                try check(response)
            }
        } catch {
            try Task.checkCancellation()
            throw HandlerError.retriable("The output could not be put into the store: \(error)", errorClass: Self.errorClass)
        }
        return #"{"$ref": "\#(name)", "bytes": \#(json.utf8.count)}"#
    }

    /// A value with all that its references stand for; nil where it has none.
    func resolved(_ json: [UInt8]?) async throws -> [UInt8]? {
        guard let json, json.firstRange(of: Self.mark) != nil else { return nil }
        let value = try JSONValue(json: String(decoding: json, as: UTF8.self))
        let resolved = try await resolved(value)
        return resolved == value ? nil : Array(resolved.json.utf8)
    }

    private func resolved(_ value: JSONValue) async throws -> JSONValue {
        switch value {
        case .array(let elements):
            var resolved: [JSONValue] = []
            for element in elements { resolved.append(try await self.resolved(element)) }
            return .array(resolved)
        case .object(let members):
            if let name = Self.name(members) { return try await fetch(name) }
            var resolved: [String: JSONValue] = [:]
            for (key, member) in members { resolved[key] = try await self.resolved(member) }
            return .object(resolved)
        default: return value
        }
    }

    /// Of a reference that an agent has made, and of nothing else.
    private static func name(_ members: [String: JSONValue]) -> String? {
        guard members.count == 2, case .string(let name) = members["$ref"], case .integer = members["bytes"],
            name.wholeMatch(of: #/[0-9]+-[0-9]+-[0-9]+-[0-9a-f-]{36}\.json/#) != nil
        else { return nil }
        return name
    }

    private func fetch(_ name: String) async throws -> JSONValue {
        do {
            if place.isFileURL {
                let data = try Data(contentsOf: place.appending(path: name))
                return try JSONValue(json: String(decoding: data, as: UTF8.self))
            }
            let response = try await HTTPClient.shared.execute(request(name), timeout: Self.timeout)
            try check(response)
            let body = try await response.body.collect(upTo: 1 << 30)
            return try JSONValue(json: String(buffer: body))
        } catch {
            try Task.checkCancellation()
            throw HandlerError.retriable(
                "The output \(name) could not be read from the store: \(error)",
                errorClass: Self.errorClass
            )
        }
    }

    func request(_ name: String) -> HTTPClientRequest {
        HTTPClientRequest(url: place.appending(path: name).absoluteString)
    }

    func check(_ response: HTTPClientResponse) throws {
        guard (200..<300).contains(Int(response.status.code)) else {
            throw HandlerError.retriable("the store answered \(response.status.code)")
        }
    }

    static let errorClass = "store"
    private static let timeout = TimeAmount.seconds(60)
    private static let mark = Array(#""$ref""#.utf8)
}
