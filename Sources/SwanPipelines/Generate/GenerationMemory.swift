import SwanCheckpoints
import SwanModels
import Torch
import SwanSystem

/// What a video takes beside the weights of its model, about, in bytes.
///
/// On a CPU weights are mapped: the kernel drops what it has no room for, and reads it again. What is
/// counted here has to be there. What operators take for themselves is not counted, so that nothing
/// is refused that could work.
struct GenerationMemory {
    private let model: GenerationModel
    private let batches: Bool
    private let isGuided: Bool
    private let hasControl: Bool

    /// - Parameters:
    ///   - isGuided: whether the flow is led away from a second text.
    ///   - batches: whether that text goes through the network beside the first.
    init(_ model: GenerationModel, isGuided: Bool, batches: Bool) {
        self.model = model
        self.isGuided = isGuided
        self.batches = batches && isGuided
        hasControl = model.variant.task == .controlToVideo
    }

    /// The most at a time: parts work one after the other.
    func peak(width: Int, height: Int, latentFrames: Int) -> Int {
        let latents = latents(width, height, latentFrames)
        return latents
            + max(
                transformer(width, height, latentFrames),
                autoencoder(width, height, latentFrames)
            )
    }

    /// The sample, what goes into the network and comes out of it, and what a solver of order 2 keeps.
    private func latents(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let config = model.transformerConfig
        let places = frames * (height / model.spatialStride) * (width / model.spatialStride)
        let channels = 6 * config.outDim + 2 * config.inDim + (config.vaceInDim ?? 0)
        return places * channels * DType.float32.size
    }

    /// The tokens and what a block makes of them. Scores of attention are never there as a whole.
    private func transformer(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let config = model.transformerConfig
        let perFrame = config.tokensPerFrame(
            height: height / model.spatialStride,
            width: width / model.spatialStride
        )
        // The stream, and either queries, keys, values and their rotations, or the feed-forward network.
        let wide = 2 * config.dim + max(6 * config.dim, config.dim + 2 * config.ffnDim)
        let branch = hasControl ? (2 + (config.vaceLayers?.count ?? 0)) * config.dim : 0
        let texts = (isGuided ? 2 : 1) * 2 * config.layers * config.dim * config.textLen
        // By a number that cannot overflow: the largest sizes together are beyond any memory.
        let tokens = Double((batches ? 2 : 1) * perFrame * frames) * Double(wide + branch)
        return Int(min((tokens + Double(texts)) * Double(model.dtype.size), 1e17))
    }

    /// What the decoder has of a latent's frames and remembers of those before, and the control video.
    private func autoencoder(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let choice = model.autoencoderChoice
        let (patch, numbers) = choice.decoderFeatures
        let video = 4 * frames * width * height
        let tile = min(width * height, model.options.tilesVAE ? 256 * 256 : Int.max)
        let features = tile / (patch * patch) * (numbers + choice.decoderMemory)
        // Tiles are decoded one after the other, each to the video's end.
        let tiles = tile < width * height ? 2 * 3 * video : 0
        // The video, what stays of it and what is made anew, and its masks.
        let control = hasControl ? 12 * video : 0
        return (features + max(tiles, control)) * DType.float32.size
    }
}

extension AutoencoderChoice {
    /// What the decoder remembers of earlier frames: numbers for each square of pixels of its last level.
    ///
    /// Every convolution over frames keeps the two before; levels below have a quarter of the places.
    fileprivate var decoderMemory: Int {
        switch self {
        case .wan(_, let config):
            let blocks = 2 * 2 * (config.numResBlocks + 1)
            let levels = config.dimMult.enumerated().map { level, factor in
                blocks * config.decoderBaseDim * factor >> (2 * level)
            }
            return levels.reduce(0, +) + 2 * config.decoderBaseDim
        case .tiny(_, let config):
            return 4 * config.decoderDims[3]
        case .pair(_, let decoding):
            return decoding.decoderMemory
        }
    }
}

extension GenerationMemory {
    /// Throws where a video does not fit into the memory that is free, and says what would.
    func require(width: Int, height: Int, latentFrames: Int, free: Int) throws(SwanError) {
        let needed = peak(width: width, height: height, latentFrames: latentFrames)
        guard needed > free else { return }
        func fits(_ width: Int, _ height: Int, _ frames: Int) -> Bool {
            peak(width: width, height: height, latentFrames: frames) <= free
        }
        func videoFrames(_ latents: Int) -> Int {
            1 + model.autoencoderChoice.temporalStride * (latents - 1)
        }
        var advice: [String] = []
        if fits(width, height, 1) {
            var (most, tooMany) = (1, latentFrames)
            while tooMany - most > 1 {
                let middle = (most + tooMany) / 2
                if fits(width, height, middle) { most = middle } else { tooMany = middle }
            }
            advice.append("--frames \(videoFrames(most))")
        }
        var size = (width: width, height: height)
        while size.width > 1, size.height > 1, !fits(size.width, size.height, latentFrames) {
            size = (size.width * 7 / 8, size.height * 7 / 8)
        }
        let multiple = model.sizeMultiple
        size = (size.width / multiple * multiple, size.height / multiple * multiple)
        if size.width > 0, size.height > 0 { advice.append("--size \(size.width)x\(size.height)") }
        if batches { advice.append("--no-batch-guidance") }
        let isDecoder =
            autoencoder(width, height, latentFrames) > transformer(width, height, latentFrames)
        if isDecoder, !model.options.tilesVAE { advice.append("--vae-tiling") }
        let shorter =
            advice.isEmpty ? "a smaller and shorter video" : advice.joined(separator: ", or ")
        throw SwanError(
            .outOfMemory,
            "\(videoFrames(latentFrames)) frames of \(width)x\(height) need some "
                + "\(Self.gigabytes(needed)) GB beside the weights, and \(Self.gigabytes(free)) GB are "
                + "free: try \(shorter)"
        )
    }

    /// What to try where the memory of a device was not enough, added to what it said.
    static func advising(_ error: SwanError, _ options: GenerationOptions) -> SwanError {
        guard error.code == .outOfMemory, !error.message.contains("--") else { return error }
        var advice = ["fewer --frames", "a smaller --size"]
        if !options.tilesVAE { advice.append("--vae-tiling") }
        if options.offload != .block { advice.append("--offload block") }
        return SwanError(.outOfMemory, "\(error.message); try \(advice.joined(separator: ", "))")
    }

    private static func gigabytes(_ bytes: Int) -> String {
        let tenths = (bytes + 50_000_000) / 100_000_000
        return "\(tenths / 10).\(tenths % 10)"
    }
}
