import SwanTraining
import Torch

/// Trains the kernels of a linear chain jointly to reconstruct clips with less error.
///
/// Levels that were each optimized separately are not optimal together: each loses information that
/// others could keep, and with nearest-neighbor upsampling one kernel serves four pixels. This
/// costs a twentieth of training the whole network, and achieves as much as its first thousand
/// steps.
struct LinearFit: Method {
    /// The trained role.
    static let trainedRole = "chain"

    /// The chain, whose kernels are the initial weights.
    let chain: LinearChain
    /// Returns the patches [T, C, H, W] of clip `index`.
    let clips: @Sendable (Int) throws -> Tensor

    var roles: [Role] { [.trained(Self.trainedRole, by: Self.optimizer)] }

    func updates(at step: Int) -> [Update<Tensor>] { [Update(of: Self.trainedRole, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Tensor { try clips(place.number) }

    func loss(
        _ batch: Tensor,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        var chain = chain
        chain.kernels = networks[Self.trainedRole]
        let patches = try batch.to(chain.kernels.values.first?.device ?? .cpu)
        let latents = try chain.latents(of: chain.signals(of: patches))
        let error = try chain.patches(of: chain.picture(of: latents)) - patches
        let squared = try error.pow(2).mean()
        let loss = try squared + (squared + 1e-4).log() * 0.02
        return Loss(total: loss, parts: ["squared_error": squared])
    }

    private static let optimizer = OptimizerOptions(
        learningRate: 1e-3,
        warmUpSteps: 50,
        decayFrom: 0.4,
        finalRate: 0.01,
        betas: [0.9, 0.99],
        weightDecay: 0,
        maximumGradientNorm: 1,
        averageDecay: 0.99,
        microBatches: 2
    )
}
