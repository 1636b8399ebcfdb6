import Foundation
import Logging
package import SwanCheckpoints
import SwanMedia
import SwanSystem
import Torch

extension FileStreamRequest {
    /// What the job would do. Opens the input and the model's small files; writes nothing, and throws what would
    /// keep the job from starting.
    package func outline() throws -> JobOutline {
        try files.check()
        let draft = try draft()
        let input = try openInput()
        let plan = try draft.plan(for: input.map { FrameShape($0.info) })
        let shape = shape(of: input, plan, draft)
        try FileStreamOutput.requireRoom(self, shape)
        try TrialOutput.check(output) { path in
            var trial = self
            trial.output = path
            try FileStreamOutput(trial, shape, Logger(label: "swan")).cancel()
        }
        var outline = JobOutline()
        outline.add("command", "stream")
        if let input { add(input, to: &outline) } else { outline.add("input", "none") }
        outline.add("output", output == "-" ? "standard output" : output)
        outline.add("size", "\(shape.width)x\(shape.height)")
        if let frames = shape.frames {
            outline.add("frames", .whole(frames))
        } else {
            outline.add("frames", .unknown("the input does not say how long it is"))
        }
        outline.add("frame_rate", .number(shape.frameRate.value))
        outline.add("sound", .flag(input?.info.hasAudio ?? false))
        plan.add(to: &outline, self)
        return outline
    }

    private func add(_ input: FileStreamInput, to outline: inout JobOutline) {
        let info = input.info
        let rate = String(format: "%.6g", info.frameRate.value)
        outline.add(
            "input",
            .text(self.input ?? ""),
            shown: "\(self.input == "-" ? "standard input" : self.input ?? ""), "
                + "\(info.width)x\(info.height), \(rate) fps, \(info.format)"
        )
    }
}

extension StreamPlan {
    /// What `--verbose` says of a job.
    func description(
        of request: FileStreamRequest,
        _ input: FileStreamInput?,
        _ shape: FileStreamOutput.Shape
    ) -> [String] {
        var lines: [String] = []
        if let info = input?.info {
            lines.append(
                """
                \(request.input ?? ""): \(info.format), \(info.width)x\(info.height), \
                \(info.frameRate) frames per second, sound: \(info.hasAudio)
                """
            )
        }
        lines.append(
            """
            \(checkpoint.folder.path): \(options.width)x\(options.height), steps \
            \(options.configuration.steps), \(dtype) on \(device) with \(Engine.threads) threads
            """
        )
        lines.append(
            """
            \(request.output): \(shape.width)x\(shape.height), \(shape.frameRate) frames per second, \
            \(shape.frames.map(String.init) ?? "unknown") frames
            """
        )
        return lines
    }

    /// Adds the model, the prompts and the memory.
    func add(to outline: inout JobOutline, _ request: FileStreamRequest) {
        outline.add("model", request.model)
        outline.add("model_folder", checkpoint.folder.path)
        outline.add("loras", .list(request.loras.map(\.path)))
        outline.add("prompt", request.prompt)
        let later =
            request.laterPrompts.sorted { $0.key < $1.key }.map { "frame \($0.key): \($0.value)" }
            + request.timedPrompts.sorted { $0.key < $1.key }.map { "\($0.key) s: \($0.value)" }
        if !later.isEmpty { outline.add("later_prompts", .list(later)) }
        outline.add("steps", .numbers(options.configuration.steps))
        outline.add("seed", .seed(request.settings.seed))
        outline.add("device", "\(device)")
        outline.add("dtype", "\(dtype)")
        outline.add("threads", .whole(Engine.threads))
        let weights = ModelWeights.bytes(request.model, dtype)
        if let weights { outline.add("weights_bytes", bytes: weights) }
        outline.add(
            "memory_bytes",
            bytes: (weights ?? 0) + checkpoint.configs.streamBytes(options, dtype)
        )
        outline.add(
            "estimated_time_seconds",
            .unknown("'swan bench speed stream' measures this machine")
        )
        outline.add("notes", .list(notes + issues(request)))
    }

    /// What the model does not understand of the prompts.
    private func issues(_ request: FileStreamRequest) -> [String] {
        guard let styles = (try? KnownStyles.ofModel(request.model)) ?? nil else { return [] }
        let prompts =
            [request.prompt] + request.laterPrompts.values.sorted()
            + request.timedPrompts.values.sorted()
        return prompts.compactMap { styles.issue(with: $0) }.map { "\($0)" }
    }
}

/// The size of a model's weights in memory.
enum ModelWeights {
    /// The bytes of all parameters in a dtype; nil if the model's files do not say.
    static func bytes(_ model: String, _ dtype: DType) -> Int? {
        guard let inspection = try? ModelInspection(model) else { return nil }
        return inspection.parameters * dtype.size
    }
}

extension LiveStreamRequest {
    /// What the job would do, as far as it can be known without opening cameras and connections.
    package func outline() throws -> JobOutline {
        try files().check()
        let plan = try stream.plan()
        var outline = JobOutline()
        outline.add("command", "stream")
        outline.add("live", .flag(true))
        outline.add("input", stream.input ?? "none")
        outline.add("output", output ?? "window")
        let frames = stream.maxFrames.map { JobOutline.Value.whole($0) }
        outline.add("frames", frames ?? .unknown("the source is live"))
        if stream.settings.width != nil || stream.settings.height != nil {
            outline.add("size", "\(plan.outputSize.width)x\(plan.outputSize.height)")
        } else {
            outline.add("size", .unknown("it follows from the source"))
        }
        plan.add(to: &outline, stream)
        return outline
    }
}
