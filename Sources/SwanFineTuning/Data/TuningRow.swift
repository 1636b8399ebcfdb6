package import Torch

/// A sample of a dataset, encoded.
package struct TuningRow: Sendable {
    /// Clean latents [z, F, H, W].
    package let latents: Tensor
    /// The embeddings of the caption [T, textDim].
    package let text: Tensor
    /// A mask and the latents of pictures [s + z, F, H, W], for models that take them.
    package var pictures: Tensor?
    /// The features of pictures [P, imageDim], for models that attend to them.
    package var features: Tensor?

    /// Creates a row.
    package init(latents: Tensor, text: Tensor) {
        self.latents = latents
        self.text = text
    }
}

/// Rows in any store, which are read on data threads. Rows of one group have the same shapes.
package protocol TuningRows: Sendable {
    /// The numbers of rows that can be in one batch; in the order of sources and files.
    var groups: [[Int]] { get }

    /// Reads a row.
    func row(_ index: Int) throws -> TuningRow
}
