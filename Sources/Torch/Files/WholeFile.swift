import Foundation
public import SwanSystem

/// Small files that are replaced atomically, whatever happens while they are written.
public enum WholeFile {
    /// Writes bytes to a file that replaces `path` once all of them are on disk.
    public static func write(_ bytes: some Sequence<UInt8>, to path: String) throws(SwanError) {
        let file = try AtomicFile(path: path)
        try file.write(Array(bytes))
        try file.finish()
    }

    /// Syncs a file's contents, and its name, to disk.
    public static func sync(_ path: String) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        for place in [path, folder] {
            let descriptor = open(place, O_RDONLY | O_CLOEXEC)
            // Not every file system supports this; without it, only protection from power failures
            // is lost.
            guard descriptor >= 0 else { continue }
            fsync(descriptor)
            close(descriptor)
        }
    }
}
