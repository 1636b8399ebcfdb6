import Foundation
import SwanCheckpoints
package import SwanDistributed
import SwanModels
import SwanSchedulers
import SwanSystem
package import SwanThreads
package import SwanTraining
import Torch

/// A run that makes a student for pictures of a text-to-video model.
package struct StudentDistillation {
    /// The stages that progress is reported for: encoding prompts, the teacher's pictures, the
    /// student.
    enum Stage { static let (text, pictures, student) = ("text", "pictures", "student") }

    let settings: StudentSettings
    let options: RunOptions
    let world: World?
    let ranks: TrainingRanks?
    let stop: CancellationFlag
    let onProgress: (TrainingProgress) -> Void
    let folder: StudentFolder
    let model: TeacherModel
    let place: TeacherPlace
    let texts: TensorCache

    /// Runs a distillation.
    ///
    /// - Parameters:
    ///   - file: The settings; the output folder keeps a copy.
    ///   - options: `saves`: whether checkpoints are written; `draws`: whether pictures are;
    ///     `maximumSteps`: in place of `num_steps`.
    ///   - world: The processes that train together; nil for one.
    ///   - stop: Ends the run early, which then throws `SwanError.Code.interrupted`.
    ///   - onNote: Called with what a reader should know before the run: the memory that it needs.
    package static func run(
        _ file: StudentSettings.File,
        _ options: RunOptions,
        world: World? = nil,
        stop: CancellationFlag = CancellationFlag(),
        onNote: (String) -> Void = { _ in },
        onProgress: @escaping (TrainingProgress) -> Void = { _ in }
    ) throws {
        let budget = ComputeBudget.current
        defer { budget.apply() }
        TrainingThreads.share(options.threads)
        let run = try StudentDistillation(file, options, world, stop, onProgress)
        try run.train(onNote)
    }

    private init(
        _ file: StudentSettings.File,
        _ options: RunOptions,
        _ world: World?,
        _ stop: CancellationFlag,
        _ onProgress: @escaping (TrainingProgress) -> Void
    ) throws {
        settings = file.settings
        self.options = options
        self.world = world.flatMap { $0.size > 1 ? $0 : nil }
        self.stop = stop
        self.onProgress = onProgress
        if settings.isParity, settings.strategy == .gpu0, self.world != nil {
            throw SwanError(
                .invalidRequest,
                "teacher_device_strategy: gpu0 ends ranks above 0 with an error in the reference; "
                    + "leave out 'parity' to let rank 0 compute for all"
            )
        }
        model = try TeacherModel(Self.path(settings.teacherPath, options.root))
        ranks = try self.world.map { try TrainingRanks($0, ParallelOptions()) }
        func folder(isWriter: Bool) throws -> StudentFolder {
            try StudentFolder(
                options.output,
                file,
                resume: options.resume,
                isWriter: isWriter,
                owner: RunOwner(world)
            )
        }
        if let ranks {
            try ranks.requireShared(options.output)
            try ranks.requireSame(
                "the student's file",
                "checksum \(String(Seed.named(file.text), radix: 16))",
                remedy: "start all ranks with the same file and options"
            )
            self.folder = try ranks.inTurn { try folder(isWriter: ranks.isFirst) }
        } else {
            self.folder = try folder(isWriter: true)
        }
        place = try TeacherPlace(settings.strategy, on: options.device, self.world)
        texts = TensorCache(
            Self.cache(settings, options, "text"),
            stamp: try "\(model.textDigest()) \(model.config.textLen) \(settings.teacherDType)"
        )
    }

    static func path(_ path: String, _ root: String) -> String {
        path.hasPrefix("/") ? path : root + "/" + path
    }

    static func cache(
        _ settings: StudentSettings,
        _ options: RunOptions,
        _ name: String
    ) -> String {
        let own = settings.cachePath.map { path($0, options.root) }
        return (own ?? options.output + "/cache") + "/" + name
    }

    private var size: Int { world?.size ?? 1 }

    // MARK: - The run

    private func train(_ onNote: (String) -> Void) throws {
        TrainingPhase.begin("reading the data")
        let rows = try StudentSource(settings, options.root)
        let side = try latentSide(rows)
        try requireMemory(side, onNote)
        let initialization = StudentInitialization(
            config: settings.student,
            latentChannels: model.config.inDim,
            projection: settings.projection,
            isParity: settings.isParity,
            seed: settings.seed,
            outputCount: settings.isParity ? size : 1
        )
        let lift = try initialization.lift()
        let samples = samplePrompts(rows)
        let negative = settings.negativePrompt ?? model.negativePrompt
        TrainingPhase.begin("encoding the prompts")
        try encode(rows.prompts + samples + [negative])
        TrainingPhase.begin("reading the teacher")
        let teacher = try loadTeacher(negative: texts.read(negative).unsqueezed(0))
        let data = try data(rows, teacher, side)
        let trained = data.prompts.count - settings.heldOutRows
        guard trained > 0 else {
            throw SwanError(
                .invalidRecipe,
                "held_out_rows: \(settings.heldOutRows) of \(data.prompts.count) rows leave none "
                    + "to train on"
            )
        }
        var method = StudentMethod(
            options: methodOptions(side, lift),
            data: data,
            rows: StudentRows(
                seed: settings.seed,
                count: trained,
                batch: settings.batch,
                multiple: settings.accumulation * size
            ),
            teacher: SharedTeacher(teacher, place)
        )
        let sampling = sampling()
        method.view = try view(method, samples, sampling, trained..<data.prompts.count, side)
        let state = try loop(method, rows: trained).run(
            from: {
                let part = settings.isParity ? model.publishedPart : .transformer
                return [
                    StudentMethod.student: try initialization.weights(
                        from: model.weights(of: part),
                        layers: model.config.layers
                    )
                ]
            },
            onProgress: onProgress
        )
        try folder.write(
            state.averages[StudentMethod.student],
            lift: lift,
            settings,
            sampling,
            from: model.folder
        )
    }

    /// Says what memory the run needs, and throws if it cannot fit.
    private func requireMemory(
        _ side: (height: Int, width: Int),
        _ onNote: (String) -> Void
    ) throws {
        let counts = try model.parameterCounts()
        let run = StudentMemory.Run(
            settings: settings,
            config: model.config,
            teacherParameters: settings.isParity ? counts.all / model.parts.count : counts.all,
            blockParameters: counts.block,
            height: side.height,
            width: side.width,
            ranks: size,
            threads: ranks == nil ? min(options.threads, settings.accumulation) : 1,
            isOnGPU: options.device != .cpu,
            gpuCount: try Engine.gpuCount()
        )
        onNote(StudentMemory(run).summary(run))
        guard let free = ProcessFacts.availableMemoryBytes else { return }
        let local = world?.launch.localSize ?? 1
        try StudentMemory.require(run, free: free, localRanks: local)
    }

    private func loop(_ method: StudentMethod, rows: Int) throws -> TrainingLoop<StudentMethod> {
        let perEpoch = settings.stepsPerEpoch(rows: rows, ranks: size)
        return TrainingLoop(
            Stage.student,
            steps: min(
                options.maximumSteps ?? .max,
                settings.stepCount(rows: rows, ranks: size)
            ),
            method: method,
            saving: options.saves ? try folder.saving(Stage.student, settings) : nil,
            device: options.device,
            stop: stop,
            threads: options.threads,
            record: StageRecord(
                Stage.student,
                in: folder.url,
                SampleOptions(everySteps: settings.sampleInterval * perEpoch, clips: 1),
                sheets: settings.sampleFolder.map {
                    URL(fileURLWithPath: Self.path($0, options.root), isDirectory: true)
                }
            ),
            ranks: ranks
        )
    }

    private func methodOptions(_ side: (height: Int, width: Int), _ lift: Tensor?)
        -> StudentMethod.Options
    {
        StudentMethod.Options(
            config: settings.student,
            latentChannels: model.config.inDim,
            height: side.height,
            width: side.width,
            lift: lift,
            optimizer: settings.optimizer(ranks: size),
            batch: settings.batch,
            shift: settings.shift,
            isRecomputed: settings.checkpointsGradients,
            isParity: settings.isParity,
            seed: settings.seed,
            outputCount: settings.isParity ? size : 1,
            ranks: size
        )
    }

    /// The height and width of latents: those of the data, or the student's pictures by the
    /// autoencoder's stride (as published, by `patch_size`).
    private func latentSide(_ rows: StudentSource) throws -> (height: Int, width: Int) {
        let config = settings.student
        let stride = settings.isParity ? config.patchSize : model.autoencoder.spatialStride
        let patch = model.config.patchSize
        let side = config.imageSize / stride
        guard config.imageSize.isMultiple(of: stride), side > 0,
            side.isMultiple(of: patch[1]), side.isMultiple(of: patch[2])
        else {
            throw SwanError(
                .invalidRecipe,
                "student_config: image_size \(config.imageSize) must be a multiple of \(stride) "
                    + "pixels times the teacher's patch of \(patch[1])x\(patch[2])"
            )
        }
        if let shape = rows.latents?.shape, !settings.isParity {
            guard Array(shape.suffix(3)) == [model.config.inDim, side, side] else {
                throw SwanError(
                    .invalidData,
                    "\(settings.dataPath): latents \(Array(shape.suffix(3))) of each frame, but the "
                        + "teacher and image_size \(config.imageSize) need "
                        + "\([model.config.inDim, side, side])"
                )
            }
        }
        guard config.textDim == model.config.textDim else {
            throw SwanError(
                .invalidRecipe,
                "student_config: text_encoder_output_dim is \(config.textDim), but the teacher's "
                    + "text encoder has a width of \(model.config.textDim)"
            )
        }
        return (side, side)
    }
}
