import Foundation
import SwanSystem

/// The files that an agent may name: regular files in a folder and the folders in it.
struct AllowedFiles: Sendable {
    /// The folder, without symbolic links.
    let root: String

    /// Creates a rule for a folder; throws if there is none.
    init(_ root: String) throws(SwanError) {
        self.root = try Self.resolved(root, shown: root)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: self.root, isDirectory: &isFolder)
        guard isFolder.boolValue else {
            throw SwanError(.noSuchFile, "\(root.printable()): is not a folder")
        }
    }

    /// The real path of a file that an agent named, relative to the folder or absolute.
    ///
    /// - Throws: `invalidRequest` for a path that leads out of the folder, also by `..` or a symbolic link.
    func path(_ name: String) throws(SwanError) -> String {
        let shown = name.printable(limit: 200)
        let parts = name.split(separator: "/")
        guard !name.isEmpty, !name.utf8.contains(0), !parts.contains("..") else {
            throw SwanError(.invalidRequest, "'\(shown)': name a file without '..'")
        }
        let path = try Self.resolved(name.hasPrefix("/") ? name : root + "/" + name, shown: shown)
        guard path.hasPrefix(root == "/" ? "/" : root + "/") else {
            throw SwanError(
                .invalidRequest,
                "'\(shown)': is outside the folder that this server may read (--root)"
            )
        }
        do {
            // Throws for pipes and devices.
            _ = try RegularFile(path)
        } catch {
            throw SwanError(error.code, error.message.replacing(path, with: shown))
        }
        return path
    }

    private static func resolved(_ path: String, shown: String) throws(SwanError) -> String {
        guard let real = realpath(path, nil) else {
            throw SwanError(.noSuchFile, "'\(shown)': \(SwanError.reason(errno))")
        }
        defer { free(real) }
        return String(cString: real)
    }
}
