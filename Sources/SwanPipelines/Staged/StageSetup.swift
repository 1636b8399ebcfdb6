import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
import Torch

/// The sizes of a model, which all ranks know before they load it.
struct StagedSizes: Sendable {
    let config: WanConfig
    /// The pixels and frames that a latent stands for.
    let strides: (spatial: Int, temporal: Int)
    let dtype: DType
    let device: Device
}

/// What the stages of a stream have in common.
struct StageSetup: Sendable {
    private(set) var plan: DenoisingPlan
    private var options: StreamOptions
    let cache: KVCacheOptions
    let tokensPerFrame: Int
    let dtype: DType
    let device: Device

    init(_ model: StagedSizes, _ options: StreamOptions) throws {
        plan = try DenoisingPlan(options, dtype: model.dtype, device: model.device)
        guard plan.contextTimestep == nil else {
            throw SwanError(
                .invalidRequest,
                "this model runs finished chunks once more (context_noise in its stream.yaml), "
                    + "which several ranks cannot do; stream it with one process"
            )
        }
        cache = KVCacheOptions(options.configuration)
        tokensPerFrame = model.config.tokensPerFrame(
            height: options.height / model.strides.spatial,
            width: options.width / model.strides.spatial
        )
        (dtype, device) = (model.dtype, model.device)
        self.options = options
    }

    /// The setup with other steps and noise.
    func changed(_ terms: StagedTerms) throws(SwanError) -> StageSetup {
        var changed = self
        terms.apply(to: &changed.options)
        do {
            changed.plan = try DenoisingPlan(changed.options, dtype: dtype, device: device)
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(.invalidData, "a plan that no stream has: \(error)", cause: error)
        }
        return changed
    }

    /// The number of denoising steps.
    var stepCount: Int { plan.steps.count }
    /// The number of rows of a forward.
    var rowCount: Int { plan.cacheRowCount }
}

/// The most bytes of what messages carry.
struct StagedLimits: Sendable {
    /// The latents and the tokens of all rows.
    let latents, tokens: Int
    /// The embeddings of a prompt.
    let text: Int
    /// The decoded frames of a chunk.
    let frames: Int

    /// - Parameter steps: The most denoising steps that the stream will have.
    init(_ model: StagedSizes, steps: Int, _ setup: StageSetup, _ options: StreamOptions) {
        let configuration = options.configuration
        let config = model.config
        // The longest chunk fills the cache.
        let chunk = max(configuration.cacheFrames, configuration.framesPerBlock + 1)
        let area =
            (options.height / model.strides.spatial) * (options.width / model.strides.spatial)
        let rows = steps * chunk * model.dtype.size
        latents = rows * area * max(config.inDim, config.outDim)
        tokens = rows * setup.tokensPerFrame * config.dim
        text = config.textLen * config.textDim * DType.float32.size
        let pixels =
            (options.outputHeight ?? options.height) * (options.outputWidth ?? options.width)
        frames = 3 * pixels * chunk * model.strides.temporal + 64
    }
}

/// The groups of all ranks of a stream.
struct StagedGroups: Sendable {
    /// For messages, which come often enough to notice a rank that stands still.
    let data: ProcessGroup
    /// For what may be waited for long: the input's size, caches of moved blocks.
    let patient: ProcessGroup
    /// Of the ranks that decode parts of each picture; nil on others, and if one rank decodes.
    let decoding: ProcessGroup?
    private let world: World

    /// How long a rank may wait for the input, or for another rank's forward. That one has ended or
    /// stands still is seen in the other group.
    private static let patience = Duration.seconds(3_600)

    /// Makes the groups. All ranks call this together.
    ///
    /// - Parameters:
    ///   - decoders: The ranks that decode.
    ///   - patient: The group of `makePatient`, if it is there already.
    init(
        _ world: World,
        decoders: Range<Int> = 0..<0,
        patient: ProcessGroup? = nil
    ) throws(SwanError) {
        self.world = world
        if let patient {
            self.patient = patient
        } else {
            self.patient = try Self.makePatient(world)
        }
        guard let data = try world.makeGroup(Array(0..<world.size), on: .cpu) else {
            throw SwanError(.invalidArgument, "rank \(world.rank) is not in its own job")
        }
        self.data = data
        decoding =
            decoders.count > 1
            ? try world.makeGroup(Array(decoders), deadline: Self.patience) : nil
    }

    /// The groups that end with the channels.
    var others: [ProcessGroup] { [patient, decoding].compactMap { $0 } }

    /// Tells the other ranks of an error that is about to end this rank's part.
    func announce(_ error: any Error) { world.announce(error) }

    /// Makes the group that waits long.
    static func makePatient(_ world: World) throws(SwanError) -> ProcessGroup {
        let ranks = Array(0..<world.size)
        guard let group = try world.makeGroup(ranks, on: .cpu, deadline: patience) else {
            throw SwanError(.invalidArgument, "rank \(world.rank) is not in its own job")
        }
        return group
    }
}
