import Foundation
package import SwanModels
package import SwanSystem
package import Torch

/// An autoencoder with each rank computing some rows of the pictures; all ranks get whole results.
///
/// Layers see the rows of the neighbours, so the seams are exact: results equal those of one rank
/// up to rounding. All ranks make the same calls with the same tensors.
package struct DividedAutoencoder: VideoAutoencoder {
    private let base: any RowwiseAutoencoder
    private let groups: RankGroups

    /// Divides the pictures of an autoencoder among the ranks of `groups`.
    package init(_ base: any RowwiseAutoencoder, _ groups: RankGroups) {
        self.base = base
        self.groups = groups
    }

    /// The number of channels of a latent.
    package var latentChannels: Int { base.latentChannels }
    /// The width and height of a latent in pixels.
    package var spatialStride: Int { base.spatialStride }
    /// The number of frames of every latent after the first.
    package var temporalStride: Int { base.temporalStride }
    /// The number of frames after a latent's own that the encoder needs.
    package var lookahead: Int { base.lookahead }
    /// The dtype of results.
    package var dtype: DType { base.dtype }
    /// The device of the weights.
    package var device: Device { base.device }

    /// Encodes a whole video.
    package func latents(of video: Tensor) throws(SwanError) -> Tensor {
        guard video.shape.count == 5 else { return try base.latents(of: video) }
        _ = try latentFrames(of: video.size(2))
        // Frames that the encoder looks ahead to repeat the last one.
        let last = try video.narrowed(2, video.size(2) - 1, 1)
        let ahead = Array(repeating: last, count: lookahead)
        return try makeEncoder().encode(concatenated([video] + ahead, dim: 2))
    }

    /// Decodes latents to a whole video.
    package func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try makeDecoder().decode(latents)
    }

    /// Creates an encoder at the beginning of a video.
    package func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        Encoder(
            base: base,
            session: Session(groups) { [base] rows throws(SwanError) in
                guard let rows else { return try base.makeEncoder(normalizing: normalizing) }
                return try base.makeEncoder(normalizing: normalizing, rows: rows)
            }
        )
    }

    /// Creates a decoder at the beginning of a video.
    package func makeDecoder() throws(SwanError) -> any VideoDecoder {
        Decoder(
            session: Session(groups) { [base] rows throws(SwanError) in
                guard let rows else { return try base.makeDecoder() }
                return try base.makeDecoder(rows: rows)
            }
        )
    }

    private struct Encoder: VideoEncoder {
        let base: any RowwiseAutoencoder
        let session: Session<any VideoEncoder>

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor {
            try requireVideo(frames)
            let size = try base.latentSize(height: frames.size(3), width: frames.size(4))
            return try session(frames, height: size.height) { coder, part throws(SwanError) in
                try coder.encode(part)
            }
        }
    }

    private struct Decoder: VideoDecoder {
        let session: Session<any VideoDecoder>

        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            try requireVideo(latents)
            return try session(latents, height: latents.size(3)) { coder, part throws(SwanError) in
                try coder.decode(part)
            }
        }
    }
}

/// Throws unless x is [B, C, T, H, W] without empty dimensions.
private func requireVideo(_ x: Tensor) throws(SwanError) {
    guard x.shape.count == 5, x.count > 0 else {
        throw SwanError(.invalidArgument, "a video must be [B, C, T, H, W], not \(x.shape)")
    }
}

/// A coder of this rank's rows, made for the height of the first part.
private final class Session<Coder: Sendable>: @unchecked Sendable {
    private let groups: RankGroups
    private let open: @Sendable (NeighbourRows?) throws(SwanError) -> Coder
    private let lock = NSLock()
    private var opened: (coder: Coder, rows: NeighbourRows?, height: Int)?

    /// - Parameter open: Makes the coder; without rows, for whole pictures.
    init(
        _ groups: RankGroups,
        open: @escaping @Sendable (NeighbourRows?) throws(SwanError) -> Coder
    ) {
        self.groups = groups
        self.open = open
    }

    /// Codes this rank's rows of a part [B, C, T, H, W] and puts those of all ranks together.
    ///
    /// - Parameter height: The height in latents.
    func callAsFunction(
        _ part: Tensor,
        height: Int,
        _ code: (Coder, Tensor) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        lock.lock()
        defer { lock.unlock() }
        let (coder, rows) = try opened(height)
        guard let rows else { return try code(coder, part) }
        let stride = part.size(3) / height
        let own = try part.narrowed(3, rows.own.lowerBound * stride, rows.own.count * stride)
        return try rows.gathered(code(coder, own), dim: 3).contiguous()
    }

    private func opened(
        _ height: Int
    ) throws(SwanError) -> (coder: Coder, rows: NeighbourRows?) {
        if let opened {
            guard opened.height == height else {
                throw SwanError(
                    .invalidArgument,
                    "the size of a stream cannot change: its height in latents was "
                        + "\(opened.height) and is now \(height)"
                )
            }
            return (opened.coder, opened.rows)
        }
        let group = try groups.group(of: height)
        let rows = group.map { NeighbourRows($0, count: height) }
        let coder = try open(rows)
        opened = (coder, rows, height)
        return (coder, rows)
    }
}
