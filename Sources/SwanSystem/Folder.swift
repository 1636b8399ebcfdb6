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

    /// The ending of a file's name in lowercase, without the dot; empty if it has none.
    package static func ending(of file: String) -> String {
        let name = name(of: file)
        return name.dropFirst().lastIndex(of: ".").map { name[$0...].dropFirst().lowercased() }
            ?? ""
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

    /// Creates a folder and those above it that do not exist.
    ///
    /// - Returns: The folders that were created, outermost first.
    package static func make(_ folder: String) throws(SwanError) -> [String] {
        var made: [String] = []
        var path = folder.hasPrefix("/") ? "/" : ""
        for name in folder.split(separator: "/") {
            path += name
            if mkdir(path, 0o777) == 0 {
                made.append(path)
            } else if errno != EEXIST {
                let failure = PartialFile.failure(folder, creating: true, errno)
                removeEmpty(made)
                throw failure
            }
            path += "/"
        }
        return made
    }

    /// Removes folders that `make` created, if nothing is in them.
    package static func removeEmpty(_ made: [String]) {
        for folder in made.reversed() { rmdir(folder) }
    }
}
