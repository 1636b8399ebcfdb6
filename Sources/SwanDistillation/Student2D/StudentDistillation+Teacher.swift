import Foundation
import SwanCheckpoints
import SwanDatasets
import SwanDistributed
import SwanModels
import SwanSchedulers
import SwanSystem
import SwanText
import SwanThreads
import SwanTraining
import Torch

// What is made before training: encoded prompts, and the teacher's pictures.
extension StudentDistillation {
    /// The prompts of the pictures that are drawn: those asked for, or the first two of the data.
    func samplePrompts(_ rows: StudentSource) -> [String] {
        guard settings.drawsSamples, options.draws else { return [] }
        let asked = settings.samplePrompts
        return asked.isEmpty ? Array(rows.prompts.prefix(2)) : asked
    }

    /// Throws if the run was asked to stop before training.
    private func checkStop() throws(SwanError) {
        guard stop.isCancelled else { return }
        throw SwanError(
            .interrupted,
            "stopped before training; --resume continues with what is in the cache"
        )
    }

    /// Encodes prompts that are not in the cache.
    func encode(_ prompts: [String]) throws {
        var seen: Set<String> = []
        let unique = prompts.filter { seen.insert($0).inserted }
        var encoder: PromptEncoder.Network?
        let makers: TensorCache.Makers =
            if let ranks, let shards = place.shards { .all(ranks, shards) } else { .first(ranks) }
        let dtype = settings.teacherDType == .float16 ? DType.bfloat16 : settings.teacherDType
        try texts.fill(unique, makers, progress: report(Stage.text)) { prompts in
            try checkStop()
            let open = try encoder ?? model.textEncoder(dtype, place)
            encoder = open
            return try open.rows(prompts)
        }
    }

    func loadTeacher(negative: Tensor) throws -> PictureTeacher? {
        guard place.hasTeacher else { return nil }
        var options = PictureTeacher.Options()
        options.dtype = settings.teacherDType
        options.guidance = settings.guidance ?? (settings.isParity ? 1 : nil)
        options.isParity = settings.isParity
        return try PictureTeacher(
            model,
            options,
            negative: negative,
            on: place.device,
            sharedBy: place.shards
        )
    }

    /// The rows of the run, after making the teacher's pictures that are not in the cache.
    func data(
        _ source: StudentSource,
        _ teacher: PictureTeacher?,
        _ side: (height: Int, width: Int)
    ) throws -> StudentData {
        if let latents = source.latents {
            return try StudentData(latents, texts: texts, isUsed: !settings.isParity)
        }
        guard !settings.isParity else {
            return StudentData(source.prompts, repeats: 1, texts: texts, pictures: nil)
        }
        let path = EulerPath(
            steps: settings.teacherSteps ?? model.steps,
            shift: settings.teacherShift ?? model.shift
        )
        let cache = TensorCache(
            Self.cache(settings, options, "pictures"),
            stamp: try [
                model.flowDigest(), model.textDigest(), "\(settings.teacherDType)",
                "\(path.steps) \(path.shift)", settings.guidance.map { "\($0)" } ?? "own",
                settings.negativePrompt ?? "own", "\(side.height)x\(side.width)",
                "\(settings.seed)",
            ].joined(separator: " | ")
        )
        let data = StudentData(
            source.prompts,
            repeats: settings.samplesPerPrompt,
            texts: texts,
            pictures: cache
        )
        let prompts = Dictionary(
            zip(data.pictureNames, data.prompts),
            uniquingKeysWith: { first, _ in first }
        )
        try cache.fill(data.pictureNames, makers(), progress: report(Stage.pictures)) { names in
            guard let teacher else { return [] }
            return try pictures(names, prompts, teacher, path, side)
        }
        return data
    }

    private func makers() -> TensorCache.Makers {
        guard let ranks, let world else { return .first(nil) }
        return switch place {
        case .own: .each(ranks, rank: world.rank, size: world.size)
        case .divided(let group): .all(ranks, group)
        case .first: .first(ranks)
        }
    }

    private func pictures(
        _ names: [String],
        _ prompts: [String: String],
        _ teacher: PictureTeacher,
        _ path: EulerPath,
        _ side: (height: Int, width: Int)
    ) throws -> [Tensor] {
        let embeddings = try names.map { try texts.read(prompts[$0] ?? "") }
        let (text, _) = try StudentData.joined(embeddings)
        let noise = try names.map { name in
            let random = try Generator(seed: Seed.mixed(settings.seed, 34, Seed.named(name)))
            return try Tensor.randn([model.config.inDim, side.height, side.width], random)
        }
        return try inference {
            // Ranks that share a teacher stop together, after this.
            let check = { if place.shards == nil { try checkStop() } }
            return try teacher.pictures(from: stacked(noise), text: text, path, check: check)
                .unbound().map { try $0.to(.float32).cloned() }
        }
    }

    private func report(_ stage: String) -> (Int, Int, Int) -> Void {
        let began = ContinuousClock.now
        var shown: Duration?
        return { done, count, stale in
            let now = ContinuousClock.now - began
            guard done == count || now - (shown ?? .seconds(-9)) > .seconds(2) else { return }
            shown = now
            onProgress(
                TrainingProgress(
                    stage: stage,
                    step: done,
                    of: count,
                    losses: stale > 0 ? ["stale": Double(stale)] : [:],
                    secondsPerStep: now.seconds / Double(max(1, done))
                )
            )
        }
    }
}

/// Prompts, and latents if there are any, of `data_path`.
struct StudentSource {
    let prompts: [String]
    let latents: (any LatentRows)?

    init(_ settings: StudentSettings, _ root: String) throws(SwanError) {
        let path =
            settings.dataPath.hasPrefix("/") ? settings.dataPath : root + "/" + settings.dataPath
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        let isText = !(exists && isFolder.boolValue) && !path.hasSuffix(".safetensors")
        switch try DistillationData(path: path, isPrompts: isText) {
        case .prompts(let list):
            var found: [String] = []
            for index in 0..<list.count { found.append(try list.prompt(index)) }
            (prompts, latents) = (found, nil)
        case .rows(let rows):
            var found: [String] = []
            for index in 0..<rows.count { found.append(try rows.row(index).prompt) }
            (prompts, latents) = (found, rows)
        }
    }
}

extension TeacherModel {
    /// Opens what encodes prompts, on the teacher's device.
    fileprivate func textEncoder(
        _ dtype: DType,
        _ place: TeacherPlace
    ) throws -> PromptEncoder.Network {
        let (files, source, config) = try folder.textEncoder(for: self.config)
        let shared =
            try place.shards.map {
                try ShardedLayers(of: source, $0, as: dtype, on: place.device)
            } ?? source
        let encoder = try files.network(
            shared,
            dtype,
            place.device,
            late: place.shards != nil
        ) { weights throws(SwanError) in try UMT5Encoder(weights, config) }
        return PromptEncoder.Network(
            encoder: encoder,
            tokenizer: try folder.tokenizer(for: config),
            limit: self.config.textLen
        )
    }
}

extension PromptEncoder.Network {
    /// Encodes prompts to [L, D] each, without padding, in float32.
    fileprivate func rows(_ prompts: [String]) throws -> [Tensor] {
        let tokens = try prompts.map { try self.tokens($0) }
        let rows = try withoutGradients { try encoder.encode(tokens).to(.cpu, .float32) }
        return try tokens.enumerated().map { row, prompt in
            try rows.selected(0, row).narrowed(0, 0, prompt.count).cloned()
        }
    }
}
