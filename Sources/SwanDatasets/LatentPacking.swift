import Foundation
import SwanCheckpoints
package import SwanSystem
import Torch

/// Collects files of latents, `{prompt: latents}` as `torch.save` writes them, in a `LatentDatabase`.
package struct LatentPacking: Sendable {
    /// What was packed.
    package struct Result: Sendable, Encodable {
        /// The number of rows.
        package let rows: Int
        /// The number of rows left out because an earlier one has their prompt.
        package let repeated: Int
    }

    /// The folder with the files.
    let folder: String
    private let partial = PartialFolder()

    /// Creates a packing of the `.pt` files of a folder.
    package init(_ folder: String) { self.folder = folder }

    /// Writes the database, in the order of the files' names.
    ///
    /// - Parameter isStopped: Asked before each file; the database is abandoned if true.
    package func write(
        to target: String,
        isStopped: @escaping @Sendable () -> Bool = { false }
    ) throws(SwanError) -> Result {
        let names = Folder.names(in: folder).filter { $0.hasSuffix(".pt") }.sorted()
        guard !names.isEmpty else {
            throw SwanError(.noSuchFile, "\(folder): has no .pt files to pack")
        }
        let writer = try LatentDatabaseWriter(target, partial)
        var repeated = 0
        do throws(SwanError) {
            for name in names {
                guard !isStopped() else { throw SwanError(.interrupted, "stopped") }
                repeated += try Self.add("\(folder)/\(name)", to: writer)
            }
            return Result(rows: try writer.finish(), repeated: repeated)
        } catch {
            abandon()
            throw error
        }
    }

    /// Removes what was written so far; for the moment before the process exits.
    package func abandon() { partial.remove() }

    /// Adds the rows of a file; returns how many were left out.
    private static func add(_ path: String, to writer: LatentDatabaseWriter) throws(SwanError)
        -> Int
    {
        let archive = try TorchArchive(path: path)
        let rows = archive.tensors()
        guard !rows.isEmpty else {
            throw SwanError(.invalidFile, "\(path): is not {prompt: latents}: it has no tensors")
        }
        var repeated = 0
        for (prompt, archived) in rows.sorted(by: { $0.key < $1.key }) {
            var latents = try archived.load()
            // As written, with a dimension for the batch.
            if latents.shape.count > 4, latents.shape[0] == 1 { latents = try latents.squeezed(0) }
            let isNew = try writer.add(
                latents,
                prompt: prompt,
                from: "\(path), '\(prompt.prefix(40))'"
            )
            if !isNew { repeated += 1 }
        }
        return repeated
    }
}
