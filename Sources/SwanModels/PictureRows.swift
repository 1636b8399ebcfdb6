package import SwanSystem
package import Torch

/// Gives layers of a network over pictures what lies outside of the rows that they compute.
///
/// A network that computes whole pictures has none. With it, x [B, F, H, W, C] holds a range of a
/// picture's rows, and every layer computes the rows of its result that belong to them.
package protocol PictureRows: Sendable {
    /// x with at least `above` rows before its own and `below` rows after them, as far as the
    /// picture goes; `top` and `bottom` are their numbers.
    func extended(
        _ x: Tensor,
        above: Int,
        below: Int
    ) throws(SwanError) -> (x: Tensor, top: Int, bottom: Int)

    /// All rows of the picture of which x holds some.
    func whole(_ x: Tensor) throws(SwanError) -> Tensor
}

/// An autoencoder that can compute a range of the rows of its pictures.
package protocol RowwiseAutoencoder: VideoAutoencoder {
    /// Creates an encoder of some rows, whole latents each, at the beginning of a video.
    func makeEncoder(
        normalizing: Bool,
        rows: any PictureRows
    ) throws(SwanError) -> any VideoEncoder

    /// Creates a decoder of some rows of the latents at the beginning of a video.
    func makeDecoder(rows: any PictureRows) throws(SwanError) -> any VideoDecoder
}

/// Applies a layer that sees some rows above and below each of its input's to x [B, F, H, W, C].
///
/// Without `rows`, x is the whole picture. The layer may change the number of rows by a factor, if
/// `above` is a multiple of what becomes one row; rows that it computes outside of x's are cut off.
func seeing(
    _ rows: (any PictureRows)?,
    above: Int,
    below: Int,
    of x: Tensor,
    _ layer: (_ x: Tensor, _ top: Int) throws(SwanError) -> Tensor
) throws(SwanError) -> Tensor {
    guard let rows, above + below > 0 else { return try layer(x, 0) }
    let (part, top, _) = try rows.extended(x, above: above, below: below)
    let y = try layer(part, top)
    func scaled(_ count: Int) -> Int { count * y.size(2) / part.size(2) }
    return try y.narrowed(2, scaled(top), scaled(x.size(2)))
}
