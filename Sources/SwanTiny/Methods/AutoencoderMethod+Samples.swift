import SwanTraining
import Torch

extension AutoencoderMethod {
    /// Draws the frames of each clip above their reconstructions.
    func samples(_ networks: Networks) throws -> [SampleSheet] {
        guard samples > 0 else { return [] }
        let codec = try LatentCodec(whole(networks), config)
        return try withoutGradients {
            var rows: [[Tensor]] = []
            for number in 0..<samples {
                let clip = try clips.example(
                    number,
                    frames: options.frames.max() ?? 1,
                    height: options.size,
                    width: options.size
                )
                let result = try codec.decode(codec.encode(clip.unsqueezed(0))).squeezed(0)
                rows += [try clip.unbound(0), try result.unbound(0)]
            }
            let caption =
                "For each clip, its frames, and below them their reconstructions."
            return [try SampleSheet(rows, caption: caption)]
        }
    }
}
