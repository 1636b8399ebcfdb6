import Foundation
public import SwanSystem

/// Small files that are under their names whole or not at all, whatever happens while they are written.
public enum WholeFile {
    /// Writes bytes into a file that replaces `path` when all of them are on the disk.
    public static func write(_ bytes: some Sequence<UInt8>, to path: String) throws(SwanError) {
        let file = try AtomicFile(path: path)
        try file.write(Array(bytes))
        try file.finish()
    }

    /// Has the system put what was written to a file, and its name, on the disk.
    public static func sync(_ path: String) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        for place in [path, folder] {
            let descriptor = open(place, O_RDONLY | O_CLOEXEC)
            // Not every file system can; nothing is lost but safety from a power cut.
            guard descriptor >= 0 else { continue }
            fsync(descriptor)
            close(descriptor)
        }
    }
}
