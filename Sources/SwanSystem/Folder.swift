import Glibc

/// Folders: their paths and what they contain.
package enum Folder {
    /// The folder of a file.
    package static func path(of file: String) -> String {
        file.lastIndex(of: "/").map { path(String(file[...$0])) } ?? "."
    }

    /// The folder without trailing slashes.
    package static func path(_ folder: String) -> String {
        var folder = folder[...]
        while folder.count > 1, folder.last == "/" { folder = folder.dropLast() }
        return folder.isEmpty ? "." : String(folder)
    }

    /// The last part of a path.
    package static func name(of file: String) -> Substring {
        file.lastIndex(of: "/").map { file[$0...].dropFirst() } ?? file[...]
    }

    /// The names in a folder that are valid UTF-8; empty if the folder cannot be read.
    package static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { start in
                start.withMemoryRebound(to: CChar.self, capacity: 256) {
                    String(validatingCString: $0)
                }
            }
            if let name, name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
