import SwanSystem
import SwanTraining
import Torch

extension StreamMethod {
    /// Draws the last frame of each clip: the original, then every style above its exact target.
    func samples(_ networks: Networks) throws -> [SampleSheet] {
        guard samples > 0, let pool = pools.last else { return [] }
        var alone = self
        // One rank draws samples, with whole weights.
        alone.sequence = nil
        let network = try StreamNetwork(networks, alone)
        return try withoutGradients {
            var rows: [[Tensor]] = []
            for number in 0..<samples {
                let clip = try pool.clips.example(
                    number,
                    frames: pool.codec.videoFrames(ofLatents: options.latentFrames),
                    height: pool.size,
                    width: pool.size
                )
                let source = try pool.codec.encode(clip.unsqueezed(0))
                let results = try restyled(source, network, number)
                func lastFrame(_ latents: Tensor) throws -> Tensor {
                    try pool.codec.decode(latents).squeezed(0).selected(0, -1)
                }
                rows.append([try clip.selected(0, -1)] + (try results.map(lastFrame)))
                let last = try clip.sliced(0, from: -1)
                let targets = try styles.map { try $0(last).squeezed(0) }
                rows.append([try lastFrame(source)] + targets)
            }
            let names = styles.map(\.name).joined(separator: ", ")
            let caption =
                "For each clip, on the left: a frame, and below it its reconstruction by the autoencoder. "
                + "Then: \(names), each after two steps, and below it its exact target."
            return [try SampleSheet(rows, caption: caption)]
        }
    }

    /// Returns latents [1, C, F, H, W] in each style, using a stream's first step at full noise and
    /// the noisiest of its later steps.
    private func restyled(
        _ source: Tensor,
        _ network: StreamNetwork,
        _ number: Int
    ) throws -> [Tensor] {
        let texts = try barePrompts.map { try tokens(of: $0) }
        let count = styles.count
        // The same noise for every style, so that differences come from the styles alone.
        let generator = try Generator(
            seed: seed,
            purpose: .streamSheet,
            index: UInt64(number)
        )
        func repeated(_ tensor: Tensor) throws(SwanError) -> Tensor {
            try tensor.repeated([count] + Array(repeating: 1, count: tensor.shape.count - 1))
        }
        let (input, timestep) = try StreamNetwork.first(
            source,
            noise: .full([1, source.size(2)], options.noiseScale),
            timestepOffset: options.firstTimestepOffset,
            generator
        )
        let first = try network(repeated(input), timesteps: repeated(timestep), prompts: texts)
        let largest = try Tensor.full(
            [count, source.size(2)],
            Double(options.laterTimesteps.max() ?? 0)
        )
        let again = try StreamNetwork.later(first, largest, generator)
        return try network(again, timesteps: largest, prompts: texts).split(
            Array(repeating: 1, count: count),
            dim: 0
        )
    }
}
