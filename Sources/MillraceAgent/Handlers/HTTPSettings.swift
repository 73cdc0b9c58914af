import Foundation
import Millrace

/// The settings of an `http` step.
struct HTTPSettings: Decodable {
    var url: String
    var method: String
    var headers: [String: String]
    var body: JSONValue?
    var timeout: Double?
    var expect: [Int]?
    var maxResponseBytes: Int?
    /// The name of the artifact as which the response is kept.
    var artifact: String?

    private enum CodingKeys: String, CodingKey {
        case url, method, headers, body, timeout, expect, artifact
        case maxResponseBytes = "max_response_bytes"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        url = try container.decode(String.self, forKey: .url)
        method = try container.decodeIfPresent(String.self, forKey: .method)?.uppercased() ?? "POST"
        headers = try container.decodeIfPresent([String: String].self, forKey: .headers) ?? [:]
        body = try container.decodeIfPresent(JSONValue.self, forKey: .body)
        timeout = try container.decodeIfPresent(Double.self, forKey: .timeout)
        expect = try container.decodeIfPresent([Int].self, forKey: .expect)
        maxResponseBytes = try container.decodeIfPresent(Int.self, forKey: .maxResponseBytes)
        artifact = try container.decodeIfPresent(String.self, forKey: .artifact)
    }

    /// The method and URL for messages, without what may be a secret: user, password, query.
    func place() throws(HandlerError) -> String {
        guard var parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(),
            ["http", "https"].contains(scheme), parts.host?.isEmpty == false
        else { throw .fatal("http: url is no http:// or https:// address.", errorClass: "settings") }
        guard !method.isEmpty, method.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw .fatal("http: method is not the name of a method.", errorClass: "settings")
        }
        for (name, value) in headers where !Self.isHeader(name, value) {
            throw .fatal("http: the header \(name) has characters that no header may have.", errorClass: "settings")
        }
        if let timeout, !(timeout > 0 && timeout <= 86_400) {
            throw .fatal(
                "http: timeout must be above 0 and at most 86400 seconds, not \(timeout).",
                errorClass: "settings"
            )
        }
        (parts.user, parts.password, parts.query, parts.fragment) = (nil, nil, nil, nil)
        return "\(method) \(parts.string ?? scheme)"
    }

    private static func isHeader(_ name: String, _ value: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ":") }
            && !value.utf8.contains { $0 == 0 || $0 == 0x0a || $0 == 0x0d }
    }

    /// A text goes out as it is, any other JSON value as JSON.
    func body(orInput input: [UInt8]?) throws -> [UInt8]? {
        switch body {
        case .string(let text): Array(text.utf8)
        case .some(let value): Array(value.json.utf8)
        case nil: ["GET", "HEAD"].contains(method) ? nil : input
        }
    }

    func expects(_ status: Int) -> Bool {
        expect?.contains(status) ?? (200..<300).contains(status)
    }
}
