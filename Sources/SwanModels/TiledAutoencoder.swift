import Synchronization
public import Torch
public import SwanSystem

/// Computes several tiles of an image at once, each in its own place.
package protocol TileSharing: Sendable {
    /// The number of tiles that are computed at once.
    var width: Int { get }

    /// The results of up to `width` tiles in order. The first tile's number is a multiple of
    /// `width`; a tile with the same remainder is always computed in the same place, which keeps
    /// its state.
    func results(
        of tiles: Range<Int>,
        _ computed: (_ tile: Int) throws(SwanError) -> Tensor
    ) throws(SwanError) -> [Tensor]
}

/// An autoencoder that works on overlapping tiles of the image, so that its memory is that of a
/// tile.
///
/// Overlapping tiles are blended linearly, as in diffusers' `AutoencoderKLWan.tiled_decode`, with
/// two differences: a tile that lies inside the previous one is omitted, and pixels are clamped to
/// [-1, 1] before blending. A tile sees nothing beyond its edges, so results near them differ from
/// those of the whole image, as far as the receptive field reaches: with the bundled model's
/// decoder at 512x320 by 0.1 of 255 levels on average and by at most 6 (63 dB).
public struct TiledAutoencoder: VideoAutoencoder {
    /// The autoencoder that processes the tiles.
    public let base: any VideoAutoencoder
    /// The size of a tile and the step from one to the next, in pixels.
    public let tile, stride: Int
    /// Computes several tiles at once; nil to compute one after the other.
    package var sharing: (any TileSharing)?

    /// Creates a tiled autoencoder.
    ///
    /// Throws `invalidArgument` unless both sizes are multiples of the autoencoder's
    /// `spatialStride` and the step is at most the tile size.
    public init(
        _ base: any VideoAutoencoder,
        tile: Int = 256,
        stride: Int = 192
    ) throws(SwanError) {
        let unit = base.spatialStride
        guard stride > 0, tile >= stride, tile % unit == 0, stride % unit == 0 else {
            throw SwanError(
                .invalidArgument,
                "tiles of \(tile) pixels, \(stride) apart, are invalid: both must be multiples of "
                    + "\(unit), and the second at most the first"
            )
        }
        self.base = base
        self.tile = tile
        self.stride = stride
    }

    /// The number of channels of a latent.
    public var latentChannels: Int { base.latentChannels }
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { base.spatialStride }
    /// The number of frames of every latent after the first.
    public var temporalStride: Int { base.temporalStride }
    /// The number of frames after a latent's own that the encoder needs before it returns the
    /// latent.
    public var lookahead: Int { base.lookahead }
    /// The dtype of weights and results.
    public var dtype: DType { base.dtype }
    /// The device of the weights.
    public var device: Device { base.device }
}

// MARK: - Videos

extension TiledAutoencoder {
    /// Encodes a whole video, tile by tile.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try encoded(video) { _, part throws(SwanError) in try base.latents(of: part) }
    }

    /// Decodes latents to a whole video, tile by tile.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try decoded(latents) { _, part throws(SwanError) in try base.video(of: part) }
    }

    /// Creates an encoder at the beginning of a video, with state for every tile.
    public func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        Encoder(vae: self, normalizing: normalizing)
    }

    /// Creates a decoder at the beginning of a video, with state for every tile.
    public func makeDecoder() -> any VideoDecoder { Decoder(vae: self) }

    private final class Encoder: VideoEncoder {
        private let vae: TiledAutoencoder
        private let normalizing: Bool
        private let tiles = Mutex(Tiles<any VideoEncoder>())

        init(vae: TiledAutoencoder, normalizing: Bool) {
            self.vae = vae
            self.normalizing = normalizing
        }

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor {
            try tiles.withLock { tiles throws(SwanError) in
                try tiles.begin(frames, vae)
                return try vae.encoded(frames) { index, part throws(SwanError) in
                    try tiles.session(index) { () throws(SwanError) in
                        try vae.base.makeEncoder(normalizing: normalizing)
                    }.encode(part)
                }
            }
        }
    }

    private final class Decoder: VideoDecoder {
        private let vae: TiledAutoencoder
        private let tiles = Mutex(Tiles<any VideoDecoder>())

        init(vae: TiledAutoencoder) { self.vae = vae }

        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            try tiles.withLock { tiles throws(SwanError) in
                try tiles.begin(latents, vae)
                return try vae.decoded(latents) { index, part throws(SwanError) in
                    try tiles.session(index) { () throws(SwanError) in
                        try vae.base.makeDecoder()
                    }.decode(part)
                }
            }
        }
    }

    /// The sessions of all tiles.
    private struct Tiles<Session: Sendable> {
        private var sessions: [Int: Session] = [:]
        private var size: [Int] = []

        /// Throws if a part differs in size from the first.
        mutating func begin(_ part: Tensor, _ vae: TiledAutoencoder) throws(SwanError) {
            guard part.shape.count == 5 else { return }
            let next = [part.size(0), part.size(3), part.size(4), part.size(1)]
            try vae.requireSame(next, as: size)
            size = next
        }

        mutating func session(
            _ index: Int,
            _ make: () throws(SwanError) -> Session
        ) throws(SwanError) -> Session {
            if let session = sessions[index] { return session }
            let session = try make()
            sessions[index] = session
            return session
        }
    }
}

// MARK: - Tiles

extension TiledAutoencoder {
    private typealias Network = (_ index: Int, _ part: Tensor) throws(SwanError) -> Tensor

    private func encoded(_ video: Tensor, _ network: Network) throws(SwanError) -> Tensor {
        guard video.shape.count == 5 else {
            throw SwanError(.invalidArgument, "a video must be [B, 3, T, H, W], not \(video.shape)")
        }
        let size = try latentSize(height: video.size(3), width: video.size(4))
        return try tiled(video, size, from: spatialStride, to: 1, network)
    }

    private func decoded(_ latents: Tensor, _ network: Network) throws(SwanError) -> Tensor {
        guard latents.shape.count == 5, latents.shape.allSatisfy({ $0 > 0 }) else {
            throw SwanError(
                .invalidArgument,
                "latents must be [B, \(latentChannels), F, h, w], not \(latents.shape)"
            )
        }
        let size = (height: latents.size(3), width: latents.size(4))
        return try tiled(latents, size, from: 1, to: spatialStride, network)
    }

    /// Applies the network to x [B, C, T, h from, w from] by tiles: [B, C', T', h to, w to].
    ///
    /// - Parameters:
    ///   - size: The height and width in latents.
    ///   - from: The side of a latent in x.
    ///   - to: The side of a latent in the result.
    private func tiled(
        _ x: Tensor,
        _ size: (height: Int, width: Int),
        from: Int,
        to: Int,
        _ network: Network
    ) throws(SwanError) -> Tensor {
        let (rows, columns) = (starts(size.height), starts(size.width))
        guard rows.count * columns.count > 1 else { return try network(0, x) }
        let (tile, step) = (tile / spatialStride, stride / spatialStride)
        func place(_ index: Int) -> (top: Int, left: Int, height: Int, width: Int) {
            let (top, left) = (rows[index / columns.count], columns[index % columns.count])
            return (top, left, min(tile, size.height - top), min(tile, size.width - left))
        }
        func computed(_ index: Int) throws(SwanError) -> Tensor {
            let (top, left, height, width) = place(index)
            let part = try x.narrowed(3, top * from, height * from)
            return try network(index, part.narrowed(4, left * from, width * from))
        }
        /// The results of the next tiles.
        var ready: ArraySlice<Tensor> = []
        var canvas = Canvas(height: size.height * to, width: size.width * to)
        /// The parts beyond the step of the tiles in the row above.
        var above: [Tensor?] = Array(repeating: nil, count: columns.count)
        for row in rows.indices {
            /// The part beyond the step of the tile to the left.
            var before: Tensor?
            for column in columns.indices {
                let index = row * columns.count + column
                if ready.isEmpty {
                    ready = try results(from: index, of: rows.count * columns.count, computed)[...]
                }
                var output = ready.removeFirst()
                let (top, left, height, width) = place(index)
                if let edge = above[column] { output = try mixed(edge, output, dim: 3) }
                if let edge = before { output = try mixed(edge, output, dim: 4) }
                // A copy, since the tile is freed. The last tile of a row or column has no part
                // beyond its step that another one needs.
                above[column] = try output.sliced(3, from: min(step, height) * to).cloned()
                before = try output.sliced(4, from: min(step, width) * to).cloned()
                try canvas.lay(output, top: top * to, left: left * to)
            }
        }
        return try canvas.result()
    }

    /// The results of a tile, and of those after it that are computed at the same time.
    private func results(
        from first: Int,
        of count: Int,
        _ computed: (_ tile: Int) throws(SwanError) -> Tensor
    ) throws(SwanError) -> [Tensor] {
        guard let sharing else { return [try computed(first)] }
        return try sharing.results(of: first..<min(first + sharing.width, count), computed)
    }

    /// An image to which tiles are added from top left to bottom right.
    private struct Canvas {
        let height, width: Int
        private var tensor: Tensor?

        init(height: Int, width: Int) { (self.height, self.width) = (height, width) }

        /// Draws a tile; later tiles overwrite its edges.
        mutating func lay(_ x: Tensor, top: Int, left: Int) throws(SwanError) {
            let shape = Array(x.shape[..<3]) + [height, width]
            if tensor == nil { tensor = try .empty(shape, x.dtype, x.device) }
            var place = try result().narrowed(3, top, x.size(3)).narrowed(4, left, x.size(4))
            try place.copy(from: x)
        }

        func result() throws(SwanError) -> Tensor {
            guard let tensor else { throw SwanError(.invalidArgument, "an image without tiles") }
            return tensor
        }
    }

    /// The starts of the tiles along a side of `size` latents.
    private func starts(_ size: Int) -> [Int] {
        let overlap = (tile - stride) / spatialStride
        return Swift.stride(from: 0, to: max(1, size), by: stride / spatialStride)
            .filter { $0 == 0 || $0 + overlap < size }
    }

    /// x with its first rows (columns) blended with the overlapping `edge`.
    private func mixed(_ edge: Tensor, _ x: Tensor, dim: Int) throws(SwanError) -> Tensor {
        let extent = min(edge.size(dim), x.size(dim))
        guard extent > 0 else { return x }
        let shape = dim == 3 ? [extent, 1] : [extent]
        let ramp = try Tensor((0..<extent).map { Double($0) / Double(extent) }, shape)
            .to(x.device, x.dtype)
        let start = try x.narrowed(dim, 0, extent)
        let old = try edge.narrowed(dim, 0, extent)
        let first = try old * (1 - ramp) + start * ramp
        guard extent < x.size(dim) else { return first }
        return try concatenated([first, x.sliced(dim, from: extent)], dim: dim)
    }
}
