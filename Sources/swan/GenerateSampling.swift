public import ArgumentParser
import SwanPipelines
import SwanSchedulers
import SwanSystem
import Torch

/// Options for the solver and guidance.
struct SamplingOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "The number of denoising steps.")
    var steps: Int?

    @Option(help: "The solver; defaults to the checkpoint's scheduler, or unipc.")
    var solver: FlowSolverKind?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The decreasing timesteps of a distilled model; adds new noise between steps.",
            valueName: "t,t,…"
        )
    )
    var timesteps: TimestepsArgument?

    @Option(parsing: .unconditional, help: "How far to shift the schedule toward more noise.")
    var shift: Double?

    @Option(
        help: "The code whose noise levels to use; defaults to that of the checkpoint's layout."
    )
    var schedule: FlowScheduleKind?

    @Option(parsing: .unconditional, help: "The guidance scale; 1 disables guidance.")
    var guidance: Double?

    @Option(
        name: .customLong("guidance-low"),
        parsing: .unconditional,
        help: "The guidance scale of the low-noise expert."
    )
    var lowGuidance: Double?

    @Option(
        name: .customLong("guidance-high"),
        parsing: .unconditional,
        help: "The guidance scale of the high-noise expert."
    )
    var highGuidance: Double?

    @Option(
        parsing: .unconditional,
        help: "The noise level (0 to 1) at which to switch experts."
    )
    var boundary: Double?

    @Flag(
        name: .customLong("batch-guidance"),
        inversion: .prefixedNo,
        help: """
            Run both branches of the guidance as one batch: more memory. The default for small videos.
            """
    )
    var batchesGuidance: Bool?

    @Option(
        name: .customLong("cache"),
        parsing: .unconditional,
        help: ArgumentHelp(
            "Reuse block outputs while the first block changes less than this, such as 0.05.",
            valueName: "threshold"
        )
    )
    var cacheThreshold: Double?

    @Option(
        name: .customLong("init-latents"),
        help: ArgumentHelp(
            "Start from the tensor 'latents', or the only tensor, of a safetensors file instead of noise.",
            valueName: "file"
        )
    )
    var initialLatents: String?

    func apply(to settings: inout GenerationSettings) {
        settings.steps = steps
        settings.solver = solver
        settings.timesteps = timesteps?.values
        settings.shift = shift
        settings.schedule = schedule
        settings.guidance = guidance
        (settings.lowNoiseGuidance, settings.highNoiseGuidance) = (lowGuidance, highGuidance)
        settings.boundary = boundary
        settings.batchesGuidance = batchesGuidance
        settings.cacheThreshold = cacheThreshold
    }

    /// The tensor that replaces the initial noise.
    func readInitialLatents() throws -> Tensor? {
        guard let initialLatents else { return nil }
        let file = try SafetensorsFile(path: initialLatents)
        let key = file.keys.count == 1 ? file.keys[0] : "latents"
        let latents = try file.tensor(key)
        guard try !latents.dtype.isFloatingPoint || latents.isAllFinite() else {
            throw SwanError(
                .invalidData,
                "\(initialLatents): \(key.printable()) is not finite (NaN or infinite)"
            )
        }
        return latents
    }
}

/// Comma-separated timesteps such as `1000,750,500,250`.
struct TimestepsArgument: ExpressibleByArgument {
    let values: [Double]

    init?(argument: String) {
        let values = argument.split(separator: ",").map { Double($0.trimmingPrefix(" ")) }
        guard !values.isEmpty, !values.contains(nil) else { return nil }
        self.values = values.compactMap { $0 }
    }
}

extension FlowSolverKind: ExpressibleByArgument {}
extension FlowScheduleKind: ExpressibleByArgument {}
extension GenerationOptions.Offload: ExpressibleByArgument {}
