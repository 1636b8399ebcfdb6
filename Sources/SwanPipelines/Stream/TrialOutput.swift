import Foundation
import SwanSystem

/// Finds out whether an output could be written, without writing it.
enum TrialOutput {
    /// Throws what opening an output would.
    ///
    /// Its name decides the format, which may not suit the frames, so a file of the same name is opened in a folder of
    /// its own, which is removed.
    ///
    /// - Parameters:
    ///   - path: The output, `-` for standard output.
    ///   - open: Opens an output of another path, and discards it.
    static func check(_ path: String, _ open: (String) throws -> Void) throws {
        guard path != "-", !OutputPath.isWrittenDirectly(path) else { return }
        let isFolder = path.hasSuffix("/")
        var folder = isFolder ? Folder.path(path) : Folder.path(of: path)
        var first = isFolder ? folder + "/1.png" : path.replacing(#/%0?\d*d/#, with: "1")
        // Folders that are missing are made.
        while !FileManager.default.fileExists(atPath: folder), Folder.path(of: folder) != folder {
            (first, folder) = (folder, Folder.path(of: folder))
        }
        try OutputPath.requireWritable(first)
        let trial = FileManager.default.temporaryDirectory
            .appending(path: "swan-trial-\(UUID().uuidString)")
        let name = isFolder ? "frames/" : URL(fileURLWithPath: path).lastPathComponent
        let other = trial.path + "/" + name
        try FileManager.default.createDirectory(at: trial, withIntermediateDirectories: true)
        defer {
            do {
                try FileManager.default.removeItem(at: trial)
            } catch {
                // An empty folder in the system's temporary one does no harm.
            }
        }
        do {
            try open(other)
        } catch let error as SwanError {
            let message = error.message.replacingOccurrences(of: other, with: path)
            throw SwanError(error.code, message, cause: error)
        }
    }
}
