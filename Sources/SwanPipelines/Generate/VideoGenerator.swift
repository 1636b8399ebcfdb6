public import Logging
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
public import SwanThreads
import Synchronization
import Torch

/// Makes videos by one model, one after the other.
///
/// Wan, https://arxiv.org/abs/2503.20314. Prompts and pictures are encoded, the transformer is
/// followed from noise to latents, and these are decoded frame by frame; each part is in memory while
/// it works, unless nothing is offloaded.
public final class VideoGenerator: Sendable {
    /// The model.
    public let model: GenerationModel
    let log: Logger
    /// Parts that stay, where nothing is offloaded.
    private let kept = Mutex<[ModelFolder.Part: any Sendable]>([:])

    /// What the text encoder made of prompts, on the device; few and small beside a video.
    let embeddings = Mutex<[String: PromptEmbedding]>([:])

    /// A generator of a model's videos.
    public init(_ model: GenerationModel, log: Logger = Logger(label: "swan")) {
        self.model = model
        self.log = log
    }

    /// Makes a video.
    ///
    /// - Parameters:
    ///   - stop: ends it with a `CancellationError`, within a step.
    ///   - handle: told of all that happens, on the calling thread; the frames come by it.
    public func generate(
        _ request: GenerationRequest,
        stop: CancellationFlag = CancellationFlag(),
        _ handle: @escaping (GenerationEvent) throws -> Void
    ) throws -> GeneratedVideo {
        let plan = try GenerationPlan(request, model)
        do {
            return try inference {
                try GenerationJob(self, request, plan, stop, handle).run()
            }
        } catch let error as SwanError {
            throw GenerationMemory.advising(error, model.options)
        }
    }

    /// A part that stays if nothing is offloaded, and else goes with its holder.
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

/// A prompt as the transformer takes it.
struct PromptEmbedding: Sendable {
    /// [1, T, C]
    let embedding: Tensor
    /// What was changed in the prompt so that it could be used.
    let issues: [PromptIssue]
}
