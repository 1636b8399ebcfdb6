import Foundation
import SwanMedia
import SwanStore
package import SwanSystem

/// A short text that tells two models apart without reading all of them.
package enum ModelDigest {
    /// How many bytes of each end of a file are read: the names and shapes of the weights, and some
    /// of the weights.
    private static let ends = 1 << 16

    /// The digest of a model: the names of its files, their sizes, and both ends of their contents.
    ///
    /// - Parameter model: A bundled name, a folder or a file.
    /// - Throws: `noSuchModel`, or `unreadable` with the file that cannot be read.
    package static func text(of model: String) throws(SwanError) -> String {
        let path = ModelLocation.path(model)
        let files = try self.files(path)
        do {
            let sum = try FileDigest.sha256 { add in
                for (name, file) in files {
                    try self.add(name, file, add)
                }
            }
            return String(sum.prefix(16))
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(.unreadable, "\(path): \(error.localizedDescription)", cause: error)
        }
    }

    /// The files of a model in a fixed order, by their names in it.
    private static func files(_ path: String) throws(SwanError) -> [(name: String, path: String)] {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw BundledModels.missing(path)
        }
        guard isFolder.boolValue else { return [("", path)] }
        let names = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        return names.filter { name in !name.split(separator: "/").contains { $0.hasPrefix(".") } }
            // It says when the model was pulled, which differs from machine to machine.
            .filter { $0 != PulledModel.fileName }
            .sorted().map { ($0, path + "/" + $0) }
            .filter { _, file in
                var isFolder: ObjCBool = false
                return FileManager.default.fileExists(atPath: file, isDirectory: &isFolder)
                    && !isFolder.boolValue
            }
    }

    private static func add(
        _ name: String,
        _ path: String,
        _ add: (UnsafeRawBufferPointer) -> Void
    ) throws {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        let size = try file.seekToEnd()
        try file.seek(toOffset: 0)
        let first = try file.read(upToCount: ends) ?? Data()
        try file.seek(toOffset: size > UInt64(ends) ? size - UInt64(ends) : 0)
        let last = try file.read(upToCount: ends) ?? Data()
        for part in [Data("\(name)\n\(size)\n".utf8), first, last] { part.withUnsafeBytes(add) }
        try file.close()
    }
}
