import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import Torch
import TorchNN

/// The memory of a rank of a run in bytes, computed from sizes before anything is loaded.
///
/// What PyTorch's operators need for a moment is not counted, so that no run is refused that could
/// work.
struct StudentMemory: Equatable {
    /// The student's weights, their average, Adam's moments, and gradients.
    var weights = 0, moments = 0, gradients = 0
    /// What the backward pass keeps of a micro-batch.
    var activations = 0
    /// The teacher's weights that this rank keeps, and what one of its forward passes holds.
    var teacher = 0, teacherWork = 0
    /// Whether the teacher's weights stay in mapped files, which the system can drop and read again.
    var isMapped = false
    /// Whether the teacher is on another device than the student.
    var isApart = false

    /// What must fit on the device of the student.
    var onDevice: Int {
        weights + moments + gradients + activations
            + (isApart ? 0 : teacherWork + (isMapped ? 0 : teacher))
    }

    /// What must fit in the memory of the teacher's device, if that is another one.
    var apart: Int { isApart ? teacherWork + (isMapped ? 0 : teacher) : 0 }

    /// What the memory of a run follows from.
    struct Run: Sendable {
        var settings: StudentSettings
        let config: WanConfig
        /// The parameters of all transformers, and of the largest block.
        let teacherParameters, blockParameters: Int
        let height, width: Int
        let ranks: Int
        /// The micro-batches that are computed at the same time.
        let threads: Int
        /// Whether the student is on a GPU.
        let isOnGPU: Bool
        /// The number of GPUs of this machine.
        let gpuCount: Int

        /// The strategy, with `auto` decided.
        var strategy: StudentSettings.Strategy? {
            guard settings.strategy == .auto else { return settings.strategy }
            return gpuCount > 1 ? .balanced : .cpu
        }
    }

    /// Computes the memory of a rank, the first one if they differ.
    init(_ run: Run) {
        let (settings, student) = (run.settings, run.settings.student)
        let float = DType.float32.size
        let parameters = Self.parameters(of: student, latentChannels: run.config.inDim)
        weights = 2 * float * parameters
        moments = 2 * float * parameters
        let isSummed = run.ranks > 1 || settings.accumulation > 1
        gradients = (isSummed ? 2 : 1) * float * parameters * max(1, run.threads)
        let tokens = run.height * run.width * settings.batch
        let kept = tokens * student.hiddenSize * float
        let (block, blocks) = (Self.keptPerBlock(student) * kept, student.depth)
        activations =
            max(1, run.threads)
            * ((settings.checkpointsGradients ? blocks * kept + block : blocks * block) + 2 * kept)
        let size = settings.teacherDType.size
        let isDivided = run.strategy == .balanced && run.ranks > 1
        let share = isDivided ? run.ranks : 1
        // A block that runs and the next one are whole.
        teacher = size * (run.teacherParameters / share + (isDivided ? 2 * run.blockParameters : 0))
        isApart = run.strategy == .cpu && run.isOnGPU
        isMapped = (isApart || !run.isOnGPU) && !isDivided
        teacherWork = Self.work(of: run)
    }

    /// The values that a block keeps for the backward pass, in widths of its tokens: the inputs of
    /// norms (2), of the joined projection and of the output (2), queries, keys, values and what
    /// attention returns (4), the input of the feed-forward network (1), and its hidden values
    /// before and after the activation (8); queries and keys again if they are rotated (2).
    private static func keptPerBlock(_ config: LiteStudentConfig) -> Int {
        config.positions == .rope ? 19 : 17
    }

    /// The parameters of a student and of the convolution after it.
    static func parameters(of config: LiteStudentConfig, latentChannels: Int) -> Int {
        let (dim, channels) = (config.hiddenSize, config.channels)
        let ends = 18 * channels * dim + dim + channels
        let embeddings = 8 * dim * dim + 5 * dim + config.textDim * dim + dim
        let block = 12 * dim * dim + 13 * dim
        let output = channels == latentChannels ? 0 : latentChannels * (channels + 1)
        return ends + embeddings + config.depth * block + output
    }

    /// A forward pass of the teacher: tokens of a block, and keys and values of the text in all.
    private static func work(of run: Run) -> Int {
        let (settings, config) = (run.settings, run.config)
        let isGuided = !settings.isParity && settings.guidance != 1
        let rows = settings.batch * (isGuided ? 2 : 1)
        let patch = config.patchSize[1] * config.patchSize[2]
        let tokens = rows * run.height * run.width / patch
        let wide = tokens * (8 * config.dim + 2 * config.ffnDim)
        let texts = rows * config.textLen * config.dim * 2 * config.layers
        return (wide + texts) * settings.teacherDType.size * max(1, run.threads)
    }

    // MARK: - Words

    /// What a run needs, for a reader.
    func summary(_ run: Run) -> String {
        let device = run.isOnGPU ? "the GPU" : "memory"
        var parts = [
            "weights \(Self.text(weights))", "moments \(Self.text(moments))",
            "gradients \(Self.text(gradients))", "activations \(Self.text(activations))",
        ]
        let place = isApart ? "the CPU's memory" : device
        parts.append(
            "the teacher's \(Self.text(teacher)) in \(isMapped ? "mapped files" : place) and "
                + "\(Self.text(teacherWork)) of work"
        )
        let names = run.strategy.map { " (teacher_device_strategy \($0.rawValue))" } ?? ""
        return "a rank needs about \(Self.text(onDevice + apart))\(names): "
            + parts.joined(separator: ", ")
    }

    private static func text(_ bytes: Int) -> String {
        bytes < 100_000_000
            ? String(format: "%.1f MB", Double(bytes) / 1e6)
            : String(format: "%.1f GB", Double(bytes) / 1e9)
    }

    /// Throws if the ranks of this machine need more than what is free, with what would fit.
    ///
    /// - Parameters:
    ///   - free: The free bytes in the memory of the processors.
    ///   - localRanks: The ranks on this machine.
    static func require(_ run: Run, free: Int, localRanks: Int) throws(SwanError) {
        func needed(_ run: Run) -> Int {
            let memory = StudentMemory(run)
            return localRanks * (run.isOnGPU ? memory.apart : memory.onDevice + memory.apart)
        }
        guard needed(run) > free else { return }
        var advice: [String] = []
        func suggest(_ words: String, _ change: (inout StudentSettings) -> Void) {
            var changed = run
            change(&changed.settings)
            guard changed.settings != run.settings, needed(changed) <= free else { return }
            advice.append(words)
        }
        suggest("gradient_checkpointing: true") { $0.checkpointsGradients = true }
        suggest("batch_size: 1") { $0.batch = 1 }
        suggest("teacher_dtype: bfloat16") { $0.teacherDType = .bfloat16 }
        if run.ranks > 1 {
            suggest("teacher_device_strategy: balanced") { $0.strategy = .balanced }
        }
        suggest("teacher_device_strategy: cpu") { $0.strategy = .cpu }
        suggest("gradient_checkpointing: true with batch_size: 1 and teacher_dtype: bfloat16") {
            $0.checkpointsGradients = true
            ($0.batch, $0.teacherDType) = (1, .bfloat16)
        }
        let remedy =
            advice.isEmpty
            ? "use a student with a smaller hidden_size, depth or image_size"
            : "use " + advice.joined(separator: ", or ")
        throw SwanError(
            .outOfMemory,
            "\(localRanks == 1 ? "the run" : "the \(localRanks) ranks on this machine") would need "
                + "about \(text(needed(run))), but \(text(free)) are free; \(remedy)"
        )
    }
}

extension TeacherModel {
    /// The parameters of all transformers, and of the largest block.
    func parameterCounts() throws -> (all: Int, block: Int) {
        var (all, blocks) = (0, [String: Int]())
        for part in parts {
            let source = try weights(of: part)
            for key in source.keys {
                let count = try source.shape(key)?.reduce(1, *) ?? 0
                all += count
                let steps = key.split(separator: ".")
                guard steps.count > 2, steps[0] == "blocks" else { continue }
                blocks["\(part.rawValue).\(steps[1])", default: 0] += count
            }
        }
        return (all, blocks.values.max() ?? 0)
    }
}
