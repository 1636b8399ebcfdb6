import Foundation
package import SwanCheckpoints
package import SwanSystem
package import Torch

/// Writes a `LatentDatabase`: to a hidden folder that gets its name once it is complete.
package final class LatentDatabaseWriter: @unchecked Sendable {
    private let target: String
    private let folder: PartialFolder
    private let partial: String
    private var file: KeyValueFile?
    private var shape: [Int]?
    private var prompts: Set<String> = []
    private var count: Int { prompts.count }

    /// Creates a writer.
    ///
    /// - Parameters:
    ///   - target: The database, which must not exist yet.
    ///   - folder: The folder that becomes it; without a folder so far.
    package init(_ target: String, _ folder: PartialFolder) throws(SwanError) {
        guard !FileManager.default.fileExists(atPath: target) else {
            throw SwanError(.exists, "\(target): exists already; choose another name")
        }
        self.target = target
        partial = try folder.make(nextTo: target)
        self.folder = folder
        file = try KeyValueFile(writing: partial)
    }

    /// Appends a row, unless a row with its prompt is there; returns whether it was appended.
    ///
    /// - Parameters:
    ///   - latents: [F, C, H, W] or [T, F, C, H, W]; stored as float16.
    ///   - source: Where the row is from, for errors.
    package func add(
        _ latents: Tensor,
        prompt: String,
        from source: String
    ) throws(SwanError) -> Bool {
        guard let file else { throw SwanError(.invalidArgument, "\(target): is finished") }
        guard [4, 5].contains(latents.shape.count), !latents.shape.contains(0) else {
            throw SwanError(
                .invalidData,
                "\(source): latents of the shape \(latents.shape) are neither [F, C, H, W] nor "
                    + "[T, F, C, H, W]"
            )
        }
        if let shape, shape != latents.shape {
            throw SwanError(
                .invalidData,
                "\(source): latents have the shape \(latents.shape), but those before it "
                    + "\(shape); a dataset has rows of one shape"
            )
        }
        guard prompts.insert(prompt).inserted else { return false }
        shape = latents.shape
        let half = try latents.detached().to(.cpu, .float16).contiguous()
        guard try half.isAllFinite() else {
            throw SwanError(
                .invalidData,
                "\(source): latents are not finite, or too large for float16"
            )
        }
        let bytes = try half.withUnsafeBytes { Array($0) }
        try file.write([
            ("latents_\(count - 1)_data", bytes),
            ("prompts_\(count - 1)_data", Array(prompt.utf8)),
        ])
        return true
    }

    /// Completes the database and returns the number of its rows.
    package func finish() throws(SwanError) -> Int {
        guard let file, let shape else {
            throw SwanError(.invalidData, "\(target): no rows were found for it")
        }
        try file.write([
            (
                "latents_shape",
                Array(([count] + shape).map(String.init).joined(separator: " ").utf8)
            ),
            ("prompts_shape", Array("\(count)".utf8)),
        ])
        try file.sync()
        self.file = nil
        try folder.rename(partial, to: target)
        return count
    }
}
