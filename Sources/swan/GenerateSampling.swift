import ArgumentParser
import SwanPipelines
import Torch

/// How the flow is followed.
struct SamplingOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "Steps of the solver.")
    var steps: Int?

    @Option(help: "What follows the flow; the checkpoint's scheduler or unipc if not given.")
    var solver: GenerationRequest.Solver?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The falling timesteps of a distilled model, noised again between them.",
            valueName: "t,t,…"
        )
    )
    var timesteps: TimestepsArgument?

    @Option(parsing: .unconditional, help: "How far noise levels are shifted to more noise.")
    var shift: Double?

    @Option(
        help: "Whose noise levels; that of the checkpoint's layout (wan, diffusers) if not given."
    )
    var schedule: GenerationRequest.Schedule?

    @Option(parsing: .unconditional, help: "How closely the prompt is followed; 1 for no guidance.")
    var guidance: Double?

    @Option(
        name: .customLong("guidance-low"),
        parsing: .unconditional,
        help: "The same below the boundary of two experts."
    )
    var lowGuidance: Double?

    @Option(
        name: .customLong("guidance-high"),
        parsing: .unconditional,
        help: "The same above the boundary of two experts."
    )
    var highGuidance: Double?

    @Option(
        parsing: .unconditional,
        help: "The noise level (0 ... 1) at which the experts change over."
    )
    var boundary: Double?

    @Flag(
        name: .customLong("batch-guidance"),
        inversion: .prefixedNo,
        help: "Run both branches of the guidance side by side: more memory. Small videos do so."
    )
    var batchesGuidance: Bool?

    @Option(
        name: .customLong("cache"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "Reuse a step's blocks while the first one's output changes less than this, such as 0.05.",
            valueName: "threshold"
        )
    )
    var cacheThreshold: Double?

    @Option(
        name: .customLong("init-latents"),
        help: ArgumentHelp(
            "Begin from 'latents' or the only tensor of a safetensors file, instead of the seed's noise.",
            valueName: "file"
        )
    )
    var initialLatents: String?

    func apply(to request: inout GenerationRequest) throws {
        request.steps = steps
        request.solver = solver
        request.timesteps = timesteps?.values
        request.shift = shift
        request.schedule = schedule
        request.guidance = guidance
        (request.lowNoiseGuidance, request.highNoiseGuidance) = (lowGuidance, highGuidance)
        request.boundary = boundary
        request.batchesGuidance = batchesGuidance
        request.cacheThreshold = cacheThreshold
        guard let initialLatents else { return }
        let file = try SafetensorsFile(path: initialLatents)
        let key = file.keys.count == 1 ? file.keys[0] : "latents"
        request.initialLatents = try file.tensor(key)
    }
}

/// `1000,750,500,250`
struct TimestepsArgument: ExpressibleByArgument {
    let values: [Double]

    init?(argument: String) {
        let values = argument.split(separator: ",").map { Double($0.trimmingPrefix(" ")) }
        guard !values.isEmpty, !values.contains(nil) else { return nil }
        self.values = values.compactMap { $0 }
    }
}

extension GenerationRequest.Solver: ExpressibleByArgument {}
extension GenerationRequest.Schedule: ExpressibleByArgument {}
extension GenerationOptions.Offload: ExpressibleByArgument {}
