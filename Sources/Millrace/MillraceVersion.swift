/// What this library is and speaks.
public enum MillraceVersion {
    /// The version of this library and of the program.
    public static let current = "0.2.0"
    /// The protocol number that this library's work side speaks with the extension.
    public static let protocolNumber: Int32 = 1
}
