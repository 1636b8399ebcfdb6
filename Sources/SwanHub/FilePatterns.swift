import Glibc

/// Which files of a repository to take.
package struct FilePatterns: Equatable, Sendable {
    /// Take only files that match one of these; empty for all.
    package var included: [String]
    /// Leave these out.
    package var excluded: [String]

    package init(included: [String] = [], excluded: [String] = []) {
        (self.included, self.excluded) = (included, excluded)
    }

    /// Whether to take a file.
    package func take(_ path: String) -> Bool {
        (included.isEmpty || included.contains { Self.matches(path, $0) })
            && !excluded.contains { Self.matches(path, $0) }
    }

    /// Whether a path matches a pattern in which `*` is any text, slashes too; a pattern that ends
    /// with a slash is a folder.
    static func matches(_ path: String, _ pattern: String) -> Bool {
        fnmatch(pattern.hasSuffix("/") ? pattern + "*" : pattern, path, 0) == 0
    }

    /// Pictures, examples and descriptions, which no model needs.
    private static let unneeded = FilePatterns(excluded: [
        ".gitattributes", "*.gitattributes", "*.gitignore", "*README*", "*.md", "*.png", "*.jpg",
        "*.jpeg", "*.gif", "*.webp", "*.svg", "*.mp4", "*.mov", "*.webm", "*.pdf", "*.ipynb",
        "assets/*", "examples/*", "example/*", "*.onnx", "*.onnx_data", "*.msgpack", "*.h5",
        "*.tflite", "*.ot", "onnx/*", "*.DS_Store",
    ])

    /// The files of an unknown repository without those that no model needs, and without the
    /// `.bin`, `.pth`, `.pt` and `.ckpt` files that stand beside safetensors of the same part.
    package static func needed(_ paths: [String]) -> Set<String> {
        let rest = paths.filter(unneeded.take)
        func folder(_ path: String) -> Substring {
            path.lastIndex(of: "/").map { path[..<$0] } ?? ""
        }
        func stem(_ path: String) -> String {
            let name = path[(path.lastIndex(of: ".") ?? path.endIndex)...]
            return String(path.dropLast(name.count))
        }
        let safe = rest.filter { $0.hasSuffix(".safetensors") }
        let folders = Set(safe.map(folder))
        let stems = Set(safe.map(stem))
        return Set(
            rest.filter { path in
                // Of Transformers and diffusers, whose names for the two differ.
                let isPickled = path.hasSuffix(".bin") || path.hasSuffix(".bin.index.json")
                if isPickled { return !folders.contains(folder(path)) }
                let isOther = [".pth", ".pt", ".ckpt"].contains { path.hasSuffix($0) }
                return !isOther || !stems.contains(stem(path))
            }
        )
    }
}
