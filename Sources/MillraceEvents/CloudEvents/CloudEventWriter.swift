import Millrace
import Postgres

/// Writes events as CloudEvents 1.0 in their JSON format.
///
/// It runs once for each event of a busy log, so it copies bytes and makes no strings; all that is the same for every
/// event is made once.
package struct CloudEventWriter {
    package private(set) var bytes: [UInt8] = []
    private let begin: [UInt8]
    private var time = TimestampText()

    /// - Parameter source: The URI reference that says whose events they are.
    package init(source: String) {
        var head = CloudEventWriter()
        head.append(#"{"specversion":"1.0","source":"#)
        head.string(source)
        head.append(#","datacontenttype":"application/json","id":""#)
        begin = head.bytes
    }

    private init() { begin = [] }

    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// A batch: the body of `application/cloudevents-batch+json`.
    package mutating func array(_ events: [Event]) {
        append("[")
        for (index, event) in events.enumerated() {
            if index > 0 { append(",") }
            write(event)
        }
        append("]")
    }

    /// An event a line.
    package mutating func lines(_ events: [Event]) {
        for event in events {
            write(event)
            append("\n")
        }
    }

    private mutating func write(_ event: Event) {
        bytes.append(contentsOf: begin)
        number(event.eventID)
        append(#"","type":"millrace."#)
        raw(event, .kind)
        append(#"","subject":""#)
        escaped(event, .workflow)
        append("/")
        number(event.runID)
        if event.stepNo != nil {
            append("/")
            escaped(event, .key)
        }
        append(#"","time":""#)
        time.append(event.at, to: &bytes)
        append(#"","data":{"run_id":"#)
        number(event.runID)
        append(#","step_no":"#)
        number(event.stepNo)
        append(#","attempt":"#)
        number(event.attempt)
        append(#","agent_id":"#)
        number(event.agentID)
        append(#","workflow":"#)
        string(event, .workflow)
        append(#","version":"#)
        number(event.version)
        append(#","tenant":"#)
        string(event, .tenant)
        append(#","key":"#)
        string(event, .key)
        append(#","data":"#)
        // JSON already.
        if !raw(event, .data) { append("null") }
        append("}}")
    }
}

extension CloudEventWriter {
    private mutating func append(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @discardableResult
    private mutating func raw(_ event: Event, _ field: Event.Field) -> Bool {
        event.withBytes(field) { text in
            guard let text else { return false }
            bytes.append(contentsOf: text)
            return true
        }
    }

    private mutating func string(_ event: Event, _ field: Event.Field) {
        event.withBytes(field) { text in
            guard let text else { return append("null") }
            append("\"")
            escape(text)
            append("\"")
        }
    }

    private mutating func escaped(_ event: Event, _ field: Event.Field) {
        event.withBytes(field) { text in
            if let text { escape(text) }
        }
    }

    private mutating func string(_ text: String) {
        append("\"")
        var text = text
        text.withUTF8 { escape(UnsafeRawBufferPointer($0)) }
        append("\"")
    }

    private mutating func escape(_ text: UnsafeRawBufferPointer) {
        // Nearly no name needs it.
        guard text.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else {
            bytes.append(contentsOf: text)
            return
        }
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                append(#"\u00"#)
                bytes.append(hexadecimal(byte >> 4))
                bytes.append(hexadecimal(byte & 15))
            default: bytes.append(byte)
            }
        }
    }

    private func hexadecimal(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x61 - 10 + digit }

    private mutating func number(_ value: Int32?) {
        if let value { number(Int64(value)) } else { append("null") }
    }

    private mutating func number(_ value: Int64) {
        if value < 0 { append("-") }
        var rest = value.magnitude
        let start = bytes.count
        repeat {
            bytes.append(UInt8(truncatingIfNeeded: 0x30 + rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }
}
