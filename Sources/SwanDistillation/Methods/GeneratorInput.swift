import SwanModels
import SwanSchedulers
import SwanSystem
import Torch

/// The noisy latents that the generator is trained on, and their timesteps.
struct GeneratorInput {
    /// [B, C, F, H, W].
    let latents: Tensor
    /// One for each row and frame.
    let timesteps: [[Double]]

    /// Chooses an entry of `states` for each row and frame.
    ///
    /// - Parameters:
    ///   - states: Latents [B, C, F, H, W] at each step of the schedule.
    ///   - entries: The steps, already equal where the task type wants it.
    init(
        choosing entries: [[Int]],
        from states: [Tensor],
        _ schedule: DistillationSchedule
    ) throws(SwanError) {
        guard var chosen = states.first else {
            throw SwanError(.invalidArgument, "there are no states to choose from")
        }
        for (step, state) in states.enumerated().dropFirst() {
            let isChosen = entries.flatMap { $0.map { $0 == step } }
            let mask = try Tensor(isChosen, [entries.count, 1, entries[0].count, 1, 1])
            chosen = try choose(mask.to(state.device), state, chosen)
        }
        latents = chosen
        timesteps = entries.map { $0.map { schedule.steps[$0] } }
    }

    /// Clean latents with the noise of the chosen steps; those at timestep 0 stay as they are.
    init(
        from clean: Tensor,
        _ draws: PassDraws,
        entries: [[Int]],
        _ schedule: DistillationSchedule
    ) throws(SwanError) {
        var states: [Tensor] = []
        for (noise, step) in zip(draws.noises, schedule.steps) {
            let noise = try noise.to(clean.device)
            states.append(
                step == 0 ? clean : try schedule.flow.addNoise(clean, noise, at: .all(step))
            )
        }
        try self.init(choosing: entries, from: states, schedule)
    }

    /// States that the generator itself reaches from noise: DMD2, https://arxiv.org/abs/2405.14867, section
    /// 4.5.
    ///
    /// Each state is the prediction from the one before, with noise again.
    ///
    /// - Parameter runsAll: Whether also steps are computed that no entry needs, so that all ranks
    ///   read the network's weights equally often.
    init(
        simulatedBy generator: CleanPredictor,
        _ text: TextConditioning,
        _ draws: PassDraws,
        entries: [[Int]],
        _ schedule: DistillationSchedule,
        on device: Device,
        runsAll: Bool
    ) throws(SwanError) {
        let last = runsAll ? schedule.steps.count - 1 : entries.joined().max() ?? 0
        var states = [try draws.noises[0].to(device)]
        for step in 0..<last {
            let timesteps = entries.map { $0.map { _ in schedule.steps[step] } }
            let clean = try generator(states[step], timesteps: timesteps, text: text).clean
            let noise = try draws.noises[step + 1].to(device)
            states.append(
                try schedule.flow.addNoise(clean, noise, at: .all(schedule.steps[step + 1]))
            )
        }
        try self.init(choosing: entries, from: states, schedule)
    }
}
