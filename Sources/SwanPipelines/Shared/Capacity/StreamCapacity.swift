import SwanCheckpoints
import SwanModels
import Torch

/// What the stages of all streams take together, in seconds of work a second.
struct StageLoad: Sendable, Equatable {
    var encode = 0.0, denoise = 0.0, decode = 0.0

    /// The load of the busiest resource, where 1 is all of it: a stage, which has one thread, or the
    /// processors, which `parallel` stages can keep busy at once.
    func busiest(parallel: Double) -> Double {
        max(encode, denoise, decode, (encode + denoise + decode) / parallel)
    }
}

/// How much of a model streams use, and whether another one fits.
///
/// The cost of the stages is measured once and followed while streams run. Until it is known,
/// everything fits.
struct StreamCapacity: Sendable {
    /// The measured cost of the stages.
    struct Cost: Sendable, Equatable {
        /// By the pixels of a chunk.
        var encode, decode: LinearCost
        /// By the work of the rows of a pass.
        var denoise: LinearCost
    }

    /// The share of a resource that streams may use; the rest absorbs what varies.
    static let limit = 0.9
    /// The share of late chunks above which a stream does not keep its rate.
    static let lateLimit = 0.25

    private(set) var cost: Cost?
    private let config: WanConfig
    private let spatialStride: Int
    private let sizeMultiple: Int
    private let cacheFrames: Int
    private let latentFrames: Int
    private let framesPerChunk: Int
    /// The number of stages that can run at full speed at once.
    private let parallel: Double

    init(_ model: StreamModel, _ budget: ComputeBudget) {
        config = model.transformer.config
        spatialStride = model.vae.spatialStride
        sizeMultiple = model.sizeMultiple
        cacheFrames = model.configuration.cacheFrames
        latentFrames = model.configuration.framesPerBlock
        framesPerChunk = model.framesPerChunk
        // The stages of a GPU queue their work and seldom wait for it.
        parallel =
            model.device == .cpu
            ? Double(budget.threads) / Double(budget.divided(by: 2).threads) : 3
    }

    // MARK: - Cost

    /// Takes over what was measured.
    mutating func adopt(_ measured: Cost) { cost = measured }

    /// Follows the encoding of a chunk.
    mutating func follow(encoding pixels: Int, took seconds: Double) {
        cost?.encode.follow(Double(pixels), took: seconds)
    }

    /// Follows the decoding of a chunk.
    mutating func follow(decoding pixels: Int, took seconds: Double) {
        cost?.decode.follow(Double(pixels), took: seconds)
    }

    /// Follows a pass of rows of `tokens` tokens a latent frame.
    mutating func follow(rows: Int, tokens: Int, took seconds: Double) {
        let work = Double(rows) * rowWork(tokens)
        cost?.denoise.follow(work, took: seconds)
    }

    /// The number of floating-point operations of a row in a block of the transformer.
    func rowWork(_ tokens: Int) -> Double {
        let (width, inner) = (Double(config.dim), Double(config.ffnDim))
        let products = 2 * (6 * width * width + 2 * width * inner)
        let seen = Double(tokens * cacheFrames + config.textLen)
        return Double(latentFrames * tokens) * (products + 4 * width * seen)
    }

    /// The number of tokens in a latent frame of a size in pixels.
    func tokens(_ width: Int, _ height: Int) -> Int {
        config.tokensPerFrame(height: height / spatialStride, width: width / spatialStride)
    }

    // MARK: - Load

    /// The load of streams whose steps run one after another, or as rows of a stream batch; nil if
    /// the cost is not known yet.
    func load(_ demands: [StreamDemand], batch: Bool) -> StageLoad? {
        guard let cost else { return nil }
        var load = StageLoad()
        for demand in demands {
            let pixels = Double(demand.width * demand.height * framesPerChunk)
            let rate = demand.framesPerSecond / Double(framesPerChunk)
            load.encode += rate * cost.encode.seconds(pixels)
            load.decode += rate * cost.decode.seconds(pixels)
        }
        // Streams of one size share their passes.
        for group in Dictionary(grouping: demands, by: { [$0.width, $0.height] }).values {
            let rows = batch ? group.reduce(0) { $0 + $1.steps } : group.count
            let rowRate = group.reduce(0) {
                $0 + Double($1.steps) * $1.framesPerSecond / Double(framesPerChunk)
            }
            let work = rowWork(tokens(group[0].width, group[0].height))
            load.denoise += rowRate * cost.denoise.seconds(Double(rows) * work) / Double(rows)
        }
        return load
    }

    /// The load of the busiest resource with steps one after another, and with stream batches.
    func busiest(_ demands: [StreamDemand]) -> (steps: Double, batch: Double)? {
        guard let steps = load(demands, batch: false), let batch = load(demands, batch: true) else {
            return nil
        }
        return (steps.busiest(parallel: parallel), batch.busiest(parallel: parallel))
    }

    // MARK: - Admission

    /// Throws unless a stream fits beside others, of which `isLate` says that one does not keep its
    /// rate. A stream alone always fits: it may be slow.
    func require(
        _ demand: StreamDemand,
        beside others: [StreamDemand],
        isLate: Bool
    ) throws(CapacityError) {
        guard !others.isEmpty else { return }
        guard isLate || !fits(others + [demand]) else { return }
        let smaller = demand.alternatives(multiple: sizeMultiple)
        let fitting = isLate || cost == nil ? nil : smaller.first { fits(others + [$0]) }
        throw CapacityError(demand: demand, fits: fitting, streams: others.count)
    }

    private func fits(_ demands: [StreamDemand]) -> Bool {
        guard let load = busiest(demands) else { return true }
        return min(load.steps, load.batch) <= Self.limit
    }
}
