public import Logging
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
public import SwanThreads
import Synchronization
import Torch

/// Generates videos with one model, one at a time.
///
/// Wan, https://arxiv.org/abs/2503.20314. Prompts and images are encoded, the transformer denoises
/// latents, and these are decoded frame by frame. Each part is in memory only while it is in use,
/// unless offloading is off.
public final class VideoGenerator: Sendable {
    /// The model that generates the videos.
    public let model: GenerationModel
    let log: Logger
    /// The processes that generate each video together; nil for this one alone.
    let ranks: GenerationRanks?
    /// The parts kept in memory when offloading is off.
    private let kept = Mutex<[ModelFolder.Part: any Sendable]>([:])

    /// The encoded prompts on the device; these are few, and small compared to a video.
    let embeddings = Mutex<[String: PromptEmbedding]>([:])

    /// Creates a generator for a model.
    public init(_ model: GenerationModel, log: Logger = Logger(label: "swan")) {
        self.model = model
        self.log = log
        ranks = nil
    }

    /// Creates a generator of videos that several processes generate together.
    package init(
        _ model: GenerationModel,
        log: Logger = Logger(label: "swan"),
        ranks: GenerationRanks?
    ) {
        self.model = model
        self.log = log
        self.ranks = ranks
    }

    /// Generates a video.
    ///
    /// - Parameters:
    ///   - stop: A flag that ends the generation with a `CancellationError`, within a step.
    ///   - handle: Called on the calling thread with each event, including the video's frames.
    public func generate(
        _ request: GenerationRequest,
        stop: CancellationFlag = CancellationFlag(),
        _ handle: @escaping (GenerationEvent) throws -> Void
    ) throws -> GeneratedVideo {
        try generate(request, GenerationPlan(request, model, ranks), stop, handle)
    }

    /// Generates the video of a plan that was made for the request.
    func generate(
        _ request: GenerationRequest,
        _ plan: GenerationPlan,
        _ stop: CancellationFlag,
        _ handle: @escaping (GenerationEvent) throws -> Void
    ) throws -> GeneratedVideo {
        do {
            return try inference {
                try GenerationJob(self, request, plan, stop, handle).run()
            }
        } catch let error as SwanError {
            throw GenerationMemory.advising(error, model.options)
        }
    }

    /// Returns a part; it is kept if offloading is off and otherwise released by the caller.
    func part<Network: Sendable>(
        _ part: ModelFolder.Part,
        _ make: () throws -> Network
    ) throws -> Network {
        if let network = kept.withLock({ $0[part] }) as? Network { return network }
        let network = try make()
        if model.options.offload == .none { kept.withLock { $0[part] = network } }
        return network
    }
}

/// An encoded prompt.
struct PromptEmbedding: Sendable {
    /// [1, T, C]
    let embedding: Tensor
    /// The changes that had to be made to the prompt.
    let issues: [PromptIssue]
}
