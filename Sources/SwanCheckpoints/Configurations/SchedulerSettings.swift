package import SwanSchedulers
import SwanSystem

/// The solver that a `scheduler_config.json` names, and how it is set.
///
/// Each key is honored as in diffusers, has no effect there either for a network that predicts a
/// flow, or is refused with its name. Keys of other schedulers, which diffusers keeps in the file
/// when one scheduler is made from another one's settings, have no effect, as in diffusers.
package struct SchedulerSettings: Sendable, Equatable {
    /// The solver.
    package let solver: FlowSolverKind
    /// How it deviates from its usual form.
    package let settings: FlowSolverSettings
    /// The code whose noise levels the class has; nil for that of the checkpoint's layout.
    package let schedule: FlowScheduleKind?

    /// Throws `invalidModel` for a class, a key or a value that has no equivalent.
    init(_ file: SchedulerFile) throws(SwanError) {
        let kind = try SchedulerClass(file)
        try Self.requireKnown(file)
        try Self.requireFlow(file, kind)
        var settings = FlowSolverSettings()
        switch kind {
        case .unipc, .wanUniPC:
            solver = .unipc
            try settings.readUniPC(file)
        case .dpm, .wanDPM:
            let isStochastic = try file.word("algorithm_type", Self.algorithms) ?? false
            solver = isStochastic ? .dpmppSDE : .dpmpp
            try settings.readDPM(file)
        case .euler:
            solver = .euler
            settings.renewsNoise = try file.truth("stochastic_sampling") ?? false
            try Self.refuse(file, "invert_sigmas", "Wan's videos end without noise: false")
        }
        try settings.readLevels(file, kind)
        self.settings = settings
        schedule = kind.isOfWan ? .wan : nil
        guard kind.isOfWan, settings.levels != FlowLevelSettings() else { return }
        throw file.invalid("final_sigmas_type", "Wan's own noise levels end at 0: 'zero'")
    }

    /// "deis" is what diffusers takes for "dpmsolver++".
    private static let algorithms: KeyValuePairs<String, Bool> = [
        "dpmsolver++": false, "sde-dpmsolver++": true, "deis": false,
    ]

    /// Throws unless the scheduler takes a network's flow from 1,000 timesteps.
    private static func requireFlow(
        _ file: SchedulerFile,
        _ kind: SchedulerClass
    ) throws(SwanError) {
        let flows = "Wan's networks predict a flow"
        if kind != .euler {
            _ = try file.word("prediction_type", ["flow_prediction": true])
            if !kind.isOfWan, try file.truth("use_flow_sigmas") == false {
                throw file.invalid("use_flow_sigmas", "\(flows): true")
            }
            if try file.truth("predict_x0") == false {
                throw file.invalid("predict_x0", "a flow is turned into a clean sample: true")
            }
        }
        let timesteps = "num_train_timesteps"
        if let value = file[timesteps], value != .number(1_000) {
            throw file.invalid(timesteps, "Wan's networks know timesteps up to 1000")
        }
        try refuse(file, "thresholding", "it is for pixels, and Wan's samples are latents: false")
        try refuse(
            file,
            "use_dynamic_shifting",
            "it shifts by a value that only a pipeline has, and Wan's has none: false and a "
                + "\(kind.shiftKey)"
        )
        if let value = file["variance_type"] {
            _ = value
            throw file.invalid("variance_type", "Wan's networks predict no variance: null")
        }
        if file["solver_p"] != nil {
            throw file.invalid("solver_p", "UniPC predicts with itself: null")
        }
        _ = try file.word(
            "timestep_spacing",
            ["linspace": true, "leading": true, "trailing": true]
        )
        _ = try file.word("time_shift_type", ["exponential": true, "linear": true])
    }

    /// Throws if a switch is on.
    static func refuse(
        _ file: SchedulerFile,
        _ key: String,
        _ right: String
    ) throws(SwanError) {
        if try file.truth(key) ?? false { throw file.invalid(key, right) }
    }

    /// Throws for a setting that no scheduler has, unless it is off.
    private static func requireKnown(_ file: SchedulerFile) throws(SwanError) {
        for key in file.keys where !known.contains(key) {
            guard let value = file[key], !value.isOff else { continue }
            let hint = nearestName(to: key, in: known).map { "did you mean '\($0)'?" }
            throw SwanError(
                .invalidModel,
                "\(file.path): \(key.printable(limit: 100)) is \(value.description); Swan knows no "
                    + "such setting, \(hint ?? "so remove it or choose a solver with --solver")"
            )
        }
    }

    /// The settings of the classes that Swan has, and those of others that have no effect on them.
    private static let known: Set<String> = [
        "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
        "solver_order", "prediction_type", "thresholding", "dynamic_thresholding_ratio",
        "sample_max_value", "predict_x0", "algorithm_type", "solver_type", "lower_order_final",
        "euler_at_final", "disable_corrector", "solver_p", "use_karras_sigmas",
        "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas",
        "flow_shift", "timestep_spacing", "steps_offset", "final_sigmas_type",
        "rescale_betas_zero_snr", "lambda_min_clipped", "variance_type", "use_dynamic_shifting",
        "time_shift_type", "sigma_min", "sigma_max", "shift_terminal", "shift", "base_shift",
        "max_shift", "base_image_seq_len", "max_image_seq_len", "invert_sigmas",
        "stochastic_sampling",
        // DDIM, DDPM, PNDM, EulerDiscrete, LCM, DEIS, SA-Solver.
        "clip_sample", "clip_sample_range", "set_alpha_to_one", "skip_prk_steps",
        "interpolation_type", "timestep_type", "original_inference_steps", "timestep_scaling",
        "predictor_order", "corrector_order", "tau_func", "scale_factors", "upscale_mode",
        "use_uniform_flow_sigmas", "snr_shift_scale",
    ]
}

/// The classes of schedulers that Swan has an equivalent of.
enum SchedulerClass: Equatable {
    case unipc, dpm, euler, wanUniPC, wanDPM

    /// Whether it is a class of Wan's own code.
    var isOfWan: Bool { self == .wanUniPC || self == .wanDPM }

    /// The key of the shift.
    var shiftKey: String { self == .euler || isOfWan ? "shift" : "flow_shift" }

    /// Reads the class; a file without one is for UniPC, as Wan's are.
    init(_ file: SchedulerFile) throws(SwanError) {
        let key = "_class_name"
        guard let value = file[key] else {
            self = .unipc
            return
        }
        guard case .text(let name) = value, let kind = Self.names[name] else {
            let known = Self.names.keys.sorted().joined(separator: ", ")
            throw file.invalid(
                key,
                "Swan has \(known); choose one of their solvers with --solver"
            )
        }
        self = kind
    }

    private static let names: [String: SchedulerClass] = [
        "UniPCMultistepScheduler": .unipc,
        "DPMSolverMultistepScheduler": .dpm,
        "FlowMatchEulerDiscreteScheduler": .euler,
        "FlowUniPCMultistepScheduler": .wanUniPC,
        "FlowDPMSolverMultistepScheduler": .wanDPM,
    ]
}

// MARK: - Solvers and noise levels

extension FlowSolverSettings {
    /// The settings of UniPC.
    fileprivate mutating func readUniPC(_ file: SchedulerFile) throws(SwanError) {
        order = try file.whole("solver_order", in: Self.orders) ?? order
        // Those of DPM-Solver++ are what diffusers takes for "bh2".
        form =
            try file.word(
                "solver_type",
                ["bh2": .usual, "bh1": .bh1, "midpoint": .usual, "heun": .usual, "logrho": .usual]
            ) ?? form
        lowersFinalOrder = try file.truth("lower_order_final") ?? lowersFinalOrder
        if let steps = try file.numbers("disable_corrector", in: 0...1_000) {
            uncorrectedSteps = Set(steps.compactMap(Int.init(exactly:)))
            guard uncorrectedSteps.count == Set(steps).count else {
                throw file.invalid("disable_corrector", "it must be a list of steps, from 0")
            }
        }
        let endsAtZero = try file.word("final_sigmas_type", Self.ends) ?? true
        guard lowersFinalOrder || order == 1 || !endsAtZero else {
            throw file.invalid(
                "lower_order_final",
                "a last step of order \(order) to no noise is infinite: true, or final_sigmas_type "
                    + "'sigma_min'"
            )
        }
        if !endsAtZero { levels.end = .last }
    }

    /// The settings of DPM-Solver++.
    fileprivate mutating func readDPM(_ file: SchedulerFile) throws(SwanError) {
        order = try file.whole("solver_order", in: 1...3) ?? order
        // Those of UniPC and DEIS are what diffusers takes for "midpoint".
        form =
            try file.word(
                "solver_type",
                ["midpoint": .usual, "heun": .heun, "logrho": .usual, "bh1": .usual, "bh2": .usual]
            ) ?? form
        lowersFinalOrder = try file.truth("lower_order_final") ?? lowersFinalOrder
        endsWithEuler = try file.truth("euler_at_final") ?? endsWithEuler
        if try file.word("final_sigmas_type", Self.ends) == false {
            levels.end = .level(try TrainingNoise(file).lowest)
        }
    }

    /// Whether the level after the last step is 0.
    private static let ends: KeyValuePairs<String, Bool> = ["zero": true, "sigma_min": false]

    /// How noise levels are spread.
    fileprivate mutating func readLevels(
        _ file: SchedulerFile,
        _ kind: SchedulerClass
    ) throws(SwanError) {
        let spreads: KeyValuePairs<String, FlowLevelSettings.Spread> = [
            "use_karras_sigmas": .karras, "use_exponential_sigmas": .exponential,
            "use_beta_sigmas": .beta,
        ]
        var chosen: (key: String, spread: FlowLevelSettings.Spread)?
        for (key, spread) in spreads where try file.truth(key) ?? false {
            if let chosen { throw file.invalid(key, "\(chosen.key) is true as well: only one") }
            chosen = (key, spread)
        }
        if kind == .dpm || kind.isOfWan {
            let why = "diffusers' levels are then no noise levels of a flow (above 1): false"
            if let chosen { throw file.invalid(chosen.key, why) }
            try SchedulerSettings.refuse(file, "use_lu_lambdas", why)
        }
        if kind == .unipc, let chosen, chosen.spread != .karras {
            throw file.invalid(
                chosen.key,
                "diffusers' levels are then no noise levels of a flow (above 1): false, or "
                    + "use_karras_sigmas"
            )
        }
        levels.spread = chosen?.spread ?? .even
        if kind == .unipc || kind == .euler {
            levels.terminal = try file.number("shift_terminal", in: 0...0.999)
        }
        guard chosen != nil else { return }
        let bounds = 1e-6...1e6
        levels.bounds.lowest = try file.number("sigma_min", in: bounds)
        levels.bounds.highest = try file.number("sigma_max", in: bounds)
        guard kind == .unipc else { return }
        let noise = try TrainingNoise(file)
        levels.bounds.lowest = levels.bounds.lowest ?? noise.lowest
        levels.bounds.highest = levels.bounds.highest ?? noise.highest
    }
}

extension TrainingNoise {
    /// The noise that a scheduler's betas describe, with diffusers' defaults.
    fileprivate init(_ file: SchedulerFile) throws(SwanError) {
        let range = 0...0.999_999
        let start = try file.number("beta_start", in: range) ?? 0.000_1
        let end = try file.number("beta_end", in: range) ?? 0.02
        let named =
            try file.word(
                "beta_schedule",
                [
                    "linear": Growth.linear(start, end), "scaled_linear": .scaledLinear(start, end),
                    "squaredcos_cap_v2": .squaredCosine,
                ]
            ) ?? .linear(start, end)
        let betas = try file.numbers("trained_betas", in: range)
        let endsInNoise = try file.truth("rescale_betas_zero_snr") ?? false
        do {
            try self.init(betas.map(Growth.list) ?? named, endsInNoise: endsInNoise)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(file.path): beta_start, beta_end or trained_betas: \(error.message)"
            )
        }
    }
}
