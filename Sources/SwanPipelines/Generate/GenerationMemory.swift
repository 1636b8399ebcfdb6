import SwanCheckpoints
import SwanModels
import Torch
import SwanSystem

/// The approximate memory that a video needs in addition to the model's weights, in bytes.
///
/// On a CPU, weights are memory-mapped: the kernel can evict and reread them. What is counted here
/// must stay in memory. Temporary memory of operators is not counted, so that no request is
/// rejected that could work.
struct GenerationMemory {
    private let model: GenerationModel
    private let batches: Bool
    private let isGuided: Bool
    private let hasControl: Bool
    /// The number of processes that divide the autoencoder's rows, that divide the tokens, and that
    /// are on this machine.
    private var (ranks, tokenRanks, localRanks) = (1, 1, 1)

    /// Creates an estimate for a model.
    ///
    /// - Parameters:
    ///   - isGuided: Whether guidance uses a negative prompt.
    ///   - batches: Whether both prompts go through the network as one batch.
    ///   - ranks: The processes that divide the work.
    init(
        _ model: GenerationModel,
        isGuided: Bool,
        batches: Bool,
        _ ranks: GenerationRanks? = nil
    ) {
        self.model = model
        self.isGuided = isGuided
        let dividesGuidance = ranks?.division.dividesGuidance ?? false
        self.batches = batches && isGuided && !dividesGuidance
        hasControl = model.variant.task == .controlToVideo
        guard let ranks else { return }
        (self.ranks, localRanks) = (ranks.size, ranks.localSize)
        tokenRanks = dividesGuidance ? max(1, ranks.size / 2) : ranks.size
    }

    /// Returns the peak memory of the processes on this machine; parts run one at a time.
    func peak(width: Int, height: Int, latentFrames: Int) -> Int {
        let latents = latents(width, height, latentFrames)
        let divided = max(
            transformer(width, height, latentFrames) / tokenRanks,
            autoencoder(width, height, latentFrames) / ranks
        )
        return localRanks * (latents + divided)
    }

    /// The sample, the network's input and output, and the state of a second-order solver.
    private func latents(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let config = model.transformerConfig
        let places = frames * (height / model.spatialStride) * (width / model.spatialStride)
        let channels = 6 * config.outDim + 2 * config.inDim + (config.vaceInDim ?? 0)
        return places * channels * DType.float32.size
    }

    /// The tokens and a block's activations. Attention scores are never materialized as a whole.
    private func transformer(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let config = model.transformerConfig
        let perFrame = config.tokensPerFrame(
            height: height / model.spatialStride,
            width: width / model.spatialStride
        )
        // The residual stream, and either queries, keys, values and their rotations, or the
        // feed-forward network.
        let wide = 2 * config.dim + max(6 * config.dim, config.dim + 2 * config.ffnDim)
        let branch = hasControl ? (2 + (config.vaceLayers?.count ?? 0)) * config.dim : 0
        let texts = (isGuided ? 2 : 1) * 2 * config.layers * config.dim * config.textLen
        // In floating point to avoid overflow: the largest sizes combined exceed any memory.
        let tokens = Double((batches ? 2 : 1) * perFrame * frames) * Double(wide + branch)
        return Int(min((tokens + Double(texts)) * Double(model.dtype.size), 1e17))
    }

    /// The decoder's activations for one latent frame, its state, and the control video.
    private func autoencoder(_ width: Int, _ height: Int, _ frames: Int) -> Int {
        let choice = model.autoencoderChoice
        let (patch, numbers) = choice.decoderFeatures
        let video = 4 * frames * width * height
        let tile = min(width * height, model.options.tilesVAE ? 256 * 256 : Int.max)
        let features = tile / (patch * patch) * (numbers + choice.decoderMemory)
        // Each tile is decoded to the end of the video before the next.
        let tiles = tile < width * height ? 2 * 3 * video : 0
        // The video, its parts to keep and to repaint, and its masks.
        let control = hasControl ? 12 * video : 0
        return (features + max(tiles, control)) * DType.float32.size
    }
}

extension AutoencoderChoice {
    /// The decoder's state from earlier frames: values per patch of pixels at its last level.
    ///
    /// Every temporal convolution keeps the previous two frames; each lower level has a quarter of
    /// the positions.
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
    /// Throws if a video does not fit into the free memory; the error suggests settings that would.
    func require(width: Int, height: Int, latentFrames: Int, free: Int) throws(SwanError) {
        let needed = peak(width: width, height: height, latentFrames: latentFrames)
        guard needed > free else { return }
        func fits(_ width: Int, _ height: Int, _ frames: Int) -> Bool {
            peak(width: width, height: height, latentFrames: frames) <= free
        }
        var advice: [String] = []
        if fits(width, height, 1) {
            var (most, tooMany) = (1, latentFrames)
            while tooMany - most > 1 {
                let middle = (most + tooMany) / 2
                if fits(width, height, middle) { most = middle } else { tooMany = middle }
            }
            advice.append("--frames \(model.autoencoderChoice.videoFrames(ofLatents: most))")
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
            autoencoder(width, height, latentFrames) / ranks
            > transformer(width, height, latentFrames) / tokenRanks
        if isDecoder, !model.options.tilesVAE { advice.append("--vae-tiling") }
        let shorter =
            advice.isEmpty ? "a smaller and shorter video" : advice.joined(separator: ", or ")
        throw SwanError(
            .outOfMemory,
            "\(model.autoencoderChoice.videoFrames(ofLatents: latentFrames)) frames of \(width)x\(height) need about "
                + "\(Self.gigabytes(needed)) GB in addition to the weights, but only "
                + "\(Self.gigabytes(free)) GB are free; try \(shorter)"
        )
    }

    /// Adds suggestions to an error of a device that ran out of memory.
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
