import Foundation
package import SwanDistributed
import SwanCheckpoints
import SwanModels
import SwanSchedulers
import SwanSystem
package import SwanThreads
package import SwanTraining
import Torch

/// A run of a distillation, from its settings to a model's folder.
package struct Distillation {
    /// The number of steps if neither the settings nor the command say one: distribution matching
    /// saturates around it.
    package static let usualSteps = 1_000

    private let settings: DistillationSettings
    private let options: RunOptions
    private let folder: DistillationFolder
    private let ranks: TrainingRanks?
    private let stop: CancellationFlag
    private let model, teacher: WanParts
    private let schedule: DistillationSchedule
    private let microBatches: Int
    private let sharesWeights: Bool

    /// Runs a distillation.
    ///
    /// - Parameters:
    ///   - file: The settings; the output folder keeps a copy of the file.
    ///   - world: The processes that train together; nil for one.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - onNote: Gets what the user should know before the run starts, on the first process.
    package static func run(
        _ file: File,
        _ options: RunOptions,
        world: World? = nil,
        stop: CancellationFlag = CancellationFlag(),
        onNote: (String) -> Void = { _ in },
        onProgress: (TrainingProgress) -> Void = { _ in }
    ) throws {
        let budget = ComputeBudget.current
        defer { budget.apply() }
        let run = try Distillation(file, options, world, stop, onNote)
        switch file.settings.loss {
        case .ode: try run.regress(onNote, onProgress)
        case .dmd, .selfForcing, .sid: try run.match(onNote, onProgress)
        }
    }

    private init(
        _ file: File,
        _ options: RunOptions,
        _ world: World?,
        _ stop: CancellationFlag,
        _ onNote: (String) -> Void
    ) throws {
        settings = file.settings
        self.options = options
        self.stop = stop
        let size = world?.size ?? 1
        let sharding = ParallelOptions(shard: file.settings.sharding)
        ranks = try size > 1 ? world.map { try TrainingRanks($0, sharding) } : nil
        microBatches = settings.accumulation * size
        sharesWeights = size > 1 && settings.sharding != .none
        schedule = try settings.schedule()
        let usual = "wan_models/Wan2.1-\(settings.modelType ?? "T2V-1.3B")"
        let path = Self.path(settings.modelPath ?? usual, options.root)
        model = try WanParts(path)
        if let path = settings.realModelPath {
            teacher = try WanParts(Self.path(path, options.root))
        } else {
            teacher = model
        }
        let memory = DistillationMemory(
            settings: settings,
            model: model,
            teacher: teacher,
            data: try Self.dataShape(settings, options.root),
            ranks: size,
            local: world?.launch.localSize ?? 1,
            threads: options.threads,
            device: options.device
        )
        if world?.rank ?? 0 == 0 { onNote("memory: \(try memory.need().text)") }
        if options.device == .cpu { try memory.require(in: ProcessFacts.usableMemoryBytes) }
        let text = file.text
        func folder(isWriter: Bool) throws -> DistillationFolder {
            try DistillationFolder(
                options.output,
                file.settings,
                text: text,
                resume: options.resume,
                isWriter: isWriter,
                owner: RunOwner(world)
            )
        }
        guard let ranks else {
            self.folder = try folder(isWriter: true)
            return
        }
        if options.saves { try ranks.requireShared(options.output) }
        try ranks.requireSame(
            "the distillation's file",
            "checksum \(String(Seed.named(text), radix: 16))",
            remedy: "start all ranks with the same file and options"
        )
        self.folder = try ranks.inTurn { try folder(isWriter: ranks.isFirst) }
    }

    /// The shape of the states of a row [T, F, C, H, W]; nil for prompts.
    static func dataShape(
        _ settings: DistillationSettings,
        _ root: String
    ) throws -> [Int]? {
        let isPrompts = settings.loss != .ode && settings.isSimulated
        let path = Self.path(settings.dataPath, root)
        guard !isPrompts,
            case .rows(let rows) = try DistillationData(path: path, isPrompts: false)
        else { return nil }
        return rows.shape
    }

    static func path(_ path: String, _ root: String) -> String {
        path.hasPrefix("/") ? path : root + "/" + path
    }

    private var steps: Int {
        options.maximumSteps ?? settings.maximumSteps ?? Self.usualSteps
    }

    private var precision: Precision { settings.usesBFloat16 ? .bfloat16 : .float32 }

    // MARK: - Methods

    private func regress(
        _ onNote: (String) -> Void,
        _ onProgress: (TrainingProgress) -> Void
    ) throws {
        TrainingPhase.begin("reading the text encoder and the data")
        let maker = try batches(isPrompts: false, textEncoder(onNote))
        let method = ODERegression(
            schedule,
            task: settings.generatorTask ?? settings.task,
            framesPerBlock: settings.framesPerBlock,
            generator: form(of: .generator, model),
            precision: precision,
            sharesWeights: sharesWeights,
            optimizer: settings.generatorOptions(microBatches: microBatches),
            draws: SeededDraws(seed: settings.seed),
            heldOut: heldOut { place in try ODERegression.Batch(maker.heldOut(place)) }
        ) { place in try ODERegression.Batch(maker.batch(place)) }
        try train(method, "ode", onProgress) { [Roles.generator: try generatorWeights()] }
    }

    private func match(
        _ onNote: (String) -> Void,
        _ onProgress: (TrainingProgress) -> Void
    ) throws {
        TrainingPhase.begin("reading the text encoder and the data")
        let encoder = try textEncoder(onNote)
        let maker = try batches(isPrompts: settings.isSimulated, encoder)
        TrainingPhase.begin("reading the teacher")
        var parts = DistributionMatching.Parts(
            generator: form(of: .generator, model),
            critic: form(of: .critic, model),
            real: try teacher.frozen(
                form(of: .teacher, teacher),
                schedule.flow,
                precision.dtype,
                options.device
            ),
            negative: try encoder([settings.negativePrompt])
        )
        if settings.trainingFrames != nil { parts.firstFrame = try firstFrame() }
        let options = try matchingOptions()
        let numbers = BatchNumbers(
            ratio: options.ratio,
            areSeparate: options.separatesBatches
        )
        let method = try DistributionMatching(
            options,
            parts,
            optimizers: (
                settings.generatorOptions(microBatches: microBatches),
                settings.criticOptions(microBatches: microBatches)
            ),
            draws: SeededDraws(seed: settings.seed),
            decode: decoder(),
            heldOut: heldOut { place in
                DistributionMatching.Batch(
                    critic: try DistributionMatching.Rows(maker.heldOut(place))
                )
            }
        ) { place in
            DistributionMatching.Batch(
                generator: try numbers.generator(place).map { place in
                    try DistributionMatching.Rows(maker.batch(place))
                },
                critic: try DistributionMatching.Rows(maker.batch(numbers.critic(place)))
            )
        }
        try train(method, settings.loss.rawValue, onProgress) {
            [Roles.generator: try generatorWeights(), Roles.critic: try model.weights()]
        }
    }

    /// The rows that are measured; nil for none.
    private func heldOut<Batch>(
        batch: @escaping @Sendable (BatchPlace) throws -> Batch
    ) -> HeldOut<Batch>? {
        settings.heldOutRows > 0 ? HeldOut(settings.heldOutRows, batch: batch) : nil
    }

    private func matchingOptions() throws(SwanError) -> MatchingOptions {
        let shape = settings.shape ?? [settings.batch, 1, model.config.inDim, 1, 1]
        var options = MatchingOptions(
            schedule,
            task: settings.task,
            shape: LatentShape(
                rows: settings.batch,
                frames: shape[1],
                channels: shape[2],
                height: shape[3],
                width: shape[4]
            )
        )
        options.generatorTask = settings.generatorTask ?? settings.task
        options.realTask = settings.realTask ?? settings.task
        options.fakeTask = settings.fakeTask ?? settings.task
        options.framesPerBlock = settings.framesPerBlock
        options.realGuidance = settings.realGuidance
        options.fakeGuidance = settings.fakeGuidance
        options.denoisingLoss = settings.denoisingLoss
        options.isSimulated = settings.isSimulated
        if let alpha = settings.rollout.alpha(for: settings.loss) {
            options.generatorLoss = .scoreIdentity(alpha: alpha)
        }
        options.rollout = settings.rolloutOptions
        options.separatesBatches = settings.hasSeparateBatches
        options.ratio = settings.ratio
        options.precision = precision
        options.sharesWeights = sharesWeights
        return options
    }

    private func train<M: Method>(
        _ method: M,
        _ stage: String,
        _ onProgress: (TrainingProgress) -> Void,
        start: () throws -> [String: [String: Tensor]]
    ) throws {
        let loop = TrainingLoop(
            stage,
            steps: steps,
            method: method,
            saving: options.saves ? try folder.saving(stage, settings) : nil,
            device: options.device,
            stop: stop,
            threads: options.threads,
            record: StageRecord(
                stage,
                in: folder.url,
                SampleOptions(everySteps: settings.logSteps, clips: 1)
            ),
            ranks: ranks
        )
        let state = try loop.run(from: start, onProgress: onProgress)
        try folder.write(
            state.averages[Roles.generator],
            model.config,
            settings,
            from: model.folder
        )
    }

    // MARK: - Networks and data

    private enum Roles {
        static let generator = DistributionMatching.generator
        static let critic = DistributionMatching.critic
    }

    private enum NetworkUse { case generator, critic, teacher }

    private func form(of use: NetworkUse, _ parts: WanParts) -> NetworkForm {
        let blocks = NetworkForm.CausalView(framesPerBlock: settings.framesPerBlock)
        return switch use {
        case .generator:
            NetworkForm(
                parts.config,
                causal: settings.causalView,
                isRecomputed: settings.checkpointsGradients
            )
        case .critic:
            NetworkForm(
                parts.config,
                causal: settings.fake == .causalWan ? blocks : nil,
                isRecomputed: settings.checkpointsGradients
            )
        case .teacher:
            NetworkForm(parts.config, causal: settings.real == .causalWan ? blocks : nil)
        }
    }

    private func generatorWeights() throws -> [String: Tensor] {
        guard let checkpoint = settings.generatorCheckpoint else { return try model.weights() }
        let path = Self.path(checkpoint, options.root)
        return try model.weights(of: path, key: settings.generatorCheckpointKey)
    }

    private func textEncoder(_ onNote: (String) -> Void) throws -> PromptEncoder {
        // The activations of a text encoder exceed the range of float16.
        let encoder = try model.textEncoder(
            precision.dtype,
            options.device,
            cache: settings.textCache.map { Self.path($0, options.root) }
        )
        if let stale = encoder.cache?.stale, !stale.isEmpty, ranks?.isFirst ?? true {
            onNote(
                "text_cache: embeddings of other encoders are not used and can be removed: "
                    + stale.joined(separator: ", ")
            )
        }
        return encoder
    }

    /// What decodes samples; nil if none are wanted, or the model has no autoencoder.
    private func decoder() throws -> DistributionMatching.Decode? {
        guard options.draws, ranks?.isFirst ?? true,
            let autoencoder = try model.autoencoder(options.device)
        else { return nil }
        return { latents in
            let video = try autoencoder.video(of: latents.to(autoencoder.device))
            return try (video * 0.5 + 0.5).clamped(min: 0, max: 1).to(.cpu, .float32)
        }
    }

    /// What encodes the last picture of a video's beginning as the first one of its end; nil if the
    /// model has no autoencoder.
    private func firstFrame() throws -> (@Sendable (Tensor) throws -> Tensor)? {
        guard let autoencoder = try model.autoencoder(options.device) else { return nil }
        return { latents in
            let latents = try latents.to(autoencoder.device)
            let decoder = try autoencoder.makeDecoder()
            var picture = try decoder.decode(latents.narrowed(2, 0, 1))
            for frame in 1..<latents.size(2) {
                picture = try decoder.decode(latents.narrowed(2, frame, 1))
            }
            let last = try picture.narrowed(2, picture.size(2) - 1, 1)
            return try autoencoder.latents(of: last)
        }
    }

    private func batches(isPrompts: Bool, _ encoder: PromptEncoder) throws -> BatchMaker {
        let path = Self.path(settings.dataPath, options.root)
        let data = try DistillationData(path: path, isPrompts: isPrompts)
        if case .rows(let rows) = data { try settings.check(rows, model.config, path) }
        return try BatchMaker(
            data,
            size: settings.batch,
            limit: settings.maximumRows,
            heldOut: settings.heldOutRows,
            seed: settings.seed
        ) { prompts in try encoder(prompts) }
    }
}
