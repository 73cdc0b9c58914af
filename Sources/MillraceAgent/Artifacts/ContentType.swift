/// What a file holds, by the end of its name.
enum ContentType {
    private static let byEnd = [
        "csv": "text/csv", "css": "text/css", "gif": "image/gif", "gz": "application/gzip", "htm": "text/html",
        "html": "text/html", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript",
        "json": "application/json", "jsonl": "application/jsonl", "log": "text/plain", "md": "text/markdown",
        "mp4": "video/mp4", "pdf": "application/pdf", "png": "image/png", "svg": "image/svg+xml",
        "tar": "application/x-tar", "tsv": "text/tab-separated-values", "txt": "text/plain", "webp": "image/webp",
        "xml": "application/xml", "yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip",
        "zst": "application/zstd",
    ]

    static func of(_ name: String) -> String {
        let end = name.split(separator: ".").last.map { $0.lowercased() } ?? ""
        return byEnd[end] ?? "application/octet-stream"
    }
}
