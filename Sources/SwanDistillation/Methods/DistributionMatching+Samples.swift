package import SwanTraining
import Torch

extension DistributionMatching {
    /// Draws the latents that explain both losses on the first batch of the run, as pictures: one
    /// row for each, with its first, middle and last frame.
    package func samples(_ networks: Networks) throws -> [SampleSheet] {
        guard let decode else { return [] }
        return try withoutGradients {
            let place = BatchPlace(step: 0, part: 0, of: microBatches)
            let batch = try batch(place)
            return [
                try Self.sheet(
                    "dmdtrain",
                    generatorLoss(batch, place, networks),
                    ["clean_latent", "noisy_latent", "pred_real_image", "pred_fake_image"],
                    decode
                ),
                try Self.sheet(
                    "critictrain",
                    criticLoss(batch, place, networks),
                    ["latent", "noisy_latent", "pred_image"],
                    decode
                ),
            ]
        }
    }

    private static func sheet(
        _ name: String,
        _ explained: Explained,
        _ kinds: [String],
        _ decode: Decode
    ) throws -> SampleSheet {
        var rows: [[Tensor]] = []
        for kind in kinds {
            guard let latents = explained.latents["\(name)_\(kind)"] else { continue }
            let video = try decode(latents.narrowed(0, 0, 1)).squeezed(0)  // [3, T, H, W]
            let last = video.size(1) - 1
            rows.append(try [0, last / 2, last].map { try video.selected(1, $0) })
        }
        let times = explained.timesteps.first?.map { String(Int($0)) } ?? []
        let caption =
            "From top to bottom: \(kinds.joined(separator: ", ")). First, middle and last frame; "
            + "timesteps of the score: \(times.joined(separator: ", "))."
        return try SampleSheet(rows, name: name, caption: caption)
    }
}
