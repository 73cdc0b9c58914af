/// Pieces of scripts for `/bin/sh` that importers write where `--handler shell` asks for them.
enum ShellText {
    static func quoted(_ text: String) -> String {
        "'" + text.replacing("'", with: "'\\''") + "'"
    }

    /// A filter that makes of what it reads, without newlines at its end, the inside of a JSON text.
    static let jsonFilter =
        #"sed 's/[\\"]/\\&/g' | awk 'BEGIN { RS = "\001" } { sub(/\n+$/, ""); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); gsub(/\n/, "\\n"); printf "%s", $0 }'"#
}
