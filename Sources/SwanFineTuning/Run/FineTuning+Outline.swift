package import SwanCheckpoints
import SwanDatasets
import SwanDistillation
import SwanSystem
package import SwanTraining
import Torch

extension FineTuning {
    /// What a run would do. Opens the model and lists the data; writes nothing, and throws what would keep the run
    /// from starting.
    package static func outline(_ file: File, _ options: RunOptions) throws -> JobOutline {
        let settings = file.settings
        try FineTuningFolder.check(options.output, file, resume: options.resume)
        let path = BundledModels.folder(settings.model) ?? Self.path(settings.model, options.root)
        let model = try TunedModel(path, settings)
        var outline = JobOutline()
        outline.add("command", "train")
        outline.add("kind", "fine-tuning: \(settings.kind.rawValue)")
        outline.add(run: options.output, resume: options.resume, begunBy: "fine-tuning.yaml")
        outline.add("model", path)
        outline.add("trained", .list(model.experts.map(\.role)))
        if settings.kind == .lora { outline.add("rank", .whole(settings.rank)) }
        for source in settings.data {
            let path = Self.path(source.path, options.root)
            outline.add("data", .text(path), shown: try Self.described(path))
        }
        outline.add("buckets", .list(settings.buckets.map(\.description)))
        outline.add("steps", .whole(options.maximumSteps ?? settings.steps))
        outline.add("batch", .whole(settings.batch))
        outline.add("device", "\(options.device)")
        outline.add("threads", .whole(Engine.threads))
        let parameters = try ModelInspection(path).parameters
        outline.add("weights_bytes", bytes: parameters * DType.float32.size)
        outline.add("estimated_time_seconds", .unknown("the first steps say how long one takes"))
        return outline
    }

    private static func described(_ path: String) throws -> String {
        if path.hasSuffix(".safetensors") || LatentFiles.isDatabase(path) {
            guard case .rows(let rows) = try DistillationData(path: path, isPrompts: false) else {
                return path
            }
            return "\(path), \(rows.count) rows of latents"
        }
        return "\(path), \(try CaptionedVideos(path).videos.count) videos"
    }
}

/// Files of latents by their names.
private enum LatentFiles {
    /// Whether a folder is a database.
    static func isDatabase(_ path: String) -> Bool { FileIdentity(path + "/data.mdb") != nil }
}
