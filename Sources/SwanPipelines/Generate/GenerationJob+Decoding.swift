import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
import Torch

extension GenerationJob {
    /// Decodes latents frame by frame and delivers the frames.
    func decode(_ latents: Tensor) throws {
        let vae = try autoencoder()
        try timed(\.decode) {
            // Decoding frame by frame would keep the state of every tile, which is more memory than
            // tiling saves. Instead, each tile is decoded to the end of the video before the next.
            let whole = vae is TiledAutoencoder ? try vae.video(of: latents) : nil
            let decoder = try vae.makeDecoder()
            let count = vae.temporalStride
            for frame in 0..<latents.size(2) {
                try checkStop()
                let video =
                    if let whole {
                        frame == 0
                            ? try whole.narrowed(2, 0, 1)
                            : try whole.narrowed(2, 1 + count * (frame - 1), count)
                    } else {
                        try decoder.decode(latents.narrowed(2, frame, 1))
                    }
                if frame == 0 { try model.requireFinite(video, .vae, "the first frame") }
                try handle(.frames(SwanPipelines.frames(of: video), of: plan.frames))
            }
        }
    }

    /// Emits a preview of the middle frame of the clean latents that the flow points to.
    ///
    /// Uses the published linear map to colors, or the autoencoder for latents without such a map.
    func showPreview(_ clean: Tensor, step: Int) throws {
        let middle = try clean.narrowed(2, clean.size(2) / 2, 1)
        let picture: VideoFrame?
        if let map = LatentPreview.known(latentChannels: clean.size(1)) {
            let pixels = try map.frames(of: middle).unsqueezed(0).transposed(1, 2)
            picture = try SwanPipelines.frames(of: pixels * 2 - 1).first.map { small in
                try small.resized(width: 4 * small.width, height: 4 * small.height)
            }
        } else {
            let vae = try autoencoder()
            picture = try SwanPipelines.frames(of: vae.video(of: middle)).first
        }
        if let picture { try handle(.preview(picture, step: step)) }
    }
}
