/// The JSON Schema (draft 2020-12) of a definition, for editors and for programs that write definitions.
///
/// It knows every key, type and bound. What hangs together (keys, needs, paths, statements) only the server can judge:
/// see ``Client/validate(_:)``.
public enum DefinitionSchema {
    /// The schema as JSON text.
    public static var json: String {
        String(decoding: PackageResources.definition_schema_json, as: UTF8.self)
    }
}
