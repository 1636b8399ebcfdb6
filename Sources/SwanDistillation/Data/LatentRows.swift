import Foundation
package import SwanDatasets
package import SwanSystem
import Torch

/// Prompts with latents, in any store. Rows are read on data threads.
package protocol LatentRows: Sendable {
    /// The number of rows.
    var count: Int { get }

    /// The shape of the states of each row, [T, F, C, H, W].
    var shape: [Int] { get }

    /// Reads a row, in float32.
    func row(_ index: Int) throws(SwanError) -> LatentRow
}

extension LatentDatabase: LatentRows {}

/// Prompts without data.
package protocol Prompts: Sendable {
    /// The number of prompts.
    var count: Int { get }

    /// Reads a prompt.
    func prompt(_ index: Int) throws(SwanError) -> String
}

/// Prompts in memory.
package struct PromptList: Prompts {
    private let prompts: [String]

    /// Creates a list.
    package init(_ prompts: [String]) { self.prompts = prompts }

    package var count: Int { prompts.count }

    package func prompt(_ index: Int) throws(SwanError) -> String { prompts[index] }
}

/// Rows in a safetensors file: `latents` [N, T, F, C, H, W] or [N, F, C, H, W], and the prompts as
/// a JSON list of texts in the metadata `prompts`.
package struct SafetensorsRows: LatentRows {
    package let count: Int
    package let shape: [Int]
    private let latents: Tensor
    private let prompts: [String]

    /// Opens a file, whose numbers are read when they are needed.
    package init(_ path: String) throws(SwanError) {
        let file = try SafetensorsFile(path: path)
        let stored = try file.tensor("latents")
        latents = stored.rank == 5 ? try stored.unsqueezed(1) : stored
        func invalid(_ message: String) -> SwanError {
            SwanError(.invalidData, "\(path): \(message)")
        }
        guard latents.rank == 6 else {
            throw invalid(
                "latents \(stored.shape): expected [N, T, F, C, H, W], or [N, F, C, H, W]"
            )
        }
        count = latents.size(0)
        shape = Array(latents.shape.dropFirst())
        let text = Data((file.metadata["prompts"] ?? "").utf8)
        do {
            prompts = try JSONDecoder().decode([String].self, from: text)
        } catch {
            throw invalid("the metadata 'prompts' must be a JSON list of texts")
        }
        guard prompts.count == count else {
            throw invalid("\(prompts.count) prompts for \(count) latents")
        }
    }

    package func row(_ index: Int) throws(SwanError) -> LatentRow {
        LatentRow(
            prompt: prompts[index],
            latents: try latents.selected(0, index).to(.float32).cloned()
        )
    }
}
