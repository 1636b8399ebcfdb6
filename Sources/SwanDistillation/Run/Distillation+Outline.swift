package import SwanCheckpoints
import SwanSystem
package import SwanTraining
import Torch

extension Distillation {
    /// What a run would do. Opens the models and the data; writes nothing, and throws what would keep the run from
    /// starting.
    package static func outline(_ file: File, _ options: RunOptions) throws -> JobOutline {
        let settings = file.settings
        try DistillationFolder.check(options.output, settings, resume: options.resume)
        let usual = "wan_models/Wan2.1-\(settings.modelType ?? "T2V-1.3B")"
        let path = Self.path(settings.modelPath ?? usual, options.root)
        let model = try WanParts(path)
        let teacherPath = settings.realModelPath.map { Self.path($0, options.root) }
        let memory = DistillationMemory(
            settings: settings,
            model: model,
            teacher: try teacherPath.map { try WanParts($0) } ?? model,
            data: try dataShape(settings, options.root),
            ranks: 1,
            local: 1,
            threads: options.threads,
            device: options.device
        )
        if options.device == .cpu { try memory.require(in: ProcessFacts.usableMemoryBytes) }
        let data = Self.path(settings.dataPath, options.root)
        let isPrompts = settings.loss != .ode && settings.isSimulated
        var outline = JobOutline()
        outline.add("command", "train")
        outline.add("kind", "distillation: \(settings.loss.rawValue)")
        outline.add(run: options.output, resume: options.resume, begunBy: "distillation.yaml")
        outline.add("model", path)
        outline.add("teacher", teacherPath ?? path)
        outline.add("data", .text(data), shown: try described(data, isPrompts: isPrompts))
        let steps = options.maximumSteps ?? settings.maximumSteps ?? usualSteps
        outline.add("steps", .whole(steps))
        outline.add("batch", .whole(settings.batch * settings.accumulation))
        outline.add("device", "\(options.device)")
        outline.add("dtype", settings.usesBFloat16 ? "bfloat16" : "float32")
        outline.add("threads", .whole(options.threads))
        outline.add("memory_bytes", bytes: try memory.need().total)
        outline.add("estimated_time_seconds", .unknown("the first steps say how long one takes"))
        outline.add("notes", .list(settings.notes))
        return outline
    }

    private static func described(_ path: String, isPrompts: Bool) throws -> String {
        switch try DistillationData(path: path, isPrompts: isPrompts) {
        case .prompts(let list): "\(path), \(list.count) prompts"
        case .rows(let rows): "\(path), \(rows.count) rows"
        }
    }
}
