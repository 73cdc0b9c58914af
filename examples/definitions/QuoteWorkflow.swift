import Millrace
import MillraceAgent

/// What a customer asks for.
public struct Inquiry: Codable, Sendable {
    public var customer: String
    public var pieces: Int
}

public struct Price: Codable, Sendable {
    public var cents: Int
    public var currency: String
}

/// What goes out.
public struct Letter: Codable, Sendable {
    public var to: String
    public var price: Price
}

/// The handlers, each with the types of its input and output: the definition and the agent name the same ones.
public enum Quotes {
    public static let price = TypedHandler<Inquiry, Price>("quote.price")
    public static let letter = TypedHandler<Letter, String>("quote.letter")
}

/// A step gets what another one puts out, and needs it thereby; what does not fit does not compile.
public let quote = Workflow("quote") {
    let price = Quotes.price.step("price", input: .run)
        .retry(limit: 3, backoff: .milliseconds(100))
        .timeout(.seconds(5))
    price
    Quotes.letter.step("letter", input: .object(["to": .run("customer"), "price": .from(price.output)]))
        .and { $0.description("What the customer reads") }
}

extension Agent {
    /// Registers what executes the workflow.
    public mutating func registerQuotes() {
        register(Quotes.price) { inquiry, _ in
            guard inquiry.pieces > 0 else { throw HandlerError.fatal("\(inquiry.customer) asks for nothing.") }
            return Price(cents: inquiry.pieces * 450, currency: "EUR")
        }
        register(Quotes.letter) { letter, _ in
            "Dear \(letter.to), that makes \(letter.price.cents / 100) \(letter.price.currency)."
        }
    }
}
