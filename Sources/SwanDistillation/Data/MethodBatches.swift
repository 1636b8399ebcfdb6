import SwanSystem
import Torch

extension ODERegression.Batch {
    /// A micro-batch of `BatchMaker`, which must have states.
    init(_ made: (text: Tensor, states: Tensor?)) throws(SwanError) {
        guard let states = made.states else {
            throw SwanError(
                .invalidData,
                "data_path: regression needs states of videos, not prompts alone"
            )
        }
        self.init(text: made.text, states: states)
    }
}

extension DistributionMatching.Rows {
    /// A micro-batch of `BatchMaker`; the last of its states are the clean latents.
    init(_ made: (text: Tensor, states: Tensor?)) throws(SwanError) {
        let latents = try made.states.map { states throws(SwanError) in
            try states.selected(1, states.size(1) - 1)
        }
        self.init(text: made.text, latents: latents)
    }
}
