/// What this library is and speaks.
public enum MillraceVersion {
    /// The version of this library and of the program.
    public static let current = "0.2.0"
    /// The protocol numbers that this library's work side can speak with the extension. From 2 on a report names the
    /// classes of failures, and steps of one batch are handed out together.
    public static let protocolNumbers: ClosedRange<Int32> = 1...2
}
