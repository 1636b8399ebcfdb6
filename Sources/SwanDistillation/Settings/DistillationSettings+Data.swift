import SwanModels
import SwanSystem

extension DistillationSettings {
    /// Throws unless rows fit these settings and the model.
    func check(
        _ rows: any LatentRows,
        _ model: WanConfig,
        _ path: String
    ) throws(SwanError) {
        let shape = rows.shape
        let expected = self.shape.map { Array($0.dropFirst()) } ?? Array(shape.dropFirst())
        guard Array(shape.dropFirst()) == expected else {
            throw SwanError(
                .invalidData,
                "\(path): latents \(Array(shape.dropFirst())) of each video, but "
                    + "image_or_video_shape says \(expected)"
            )
        }
        guard shape[2] == model.inDim else {
            throw SwanError(
                .invalidData,
                "\(path): latents have \(shape[2]) channels, the model has \(model.inDim)"
            )
        }
        if loss == .ode, shape[0] != steps.count {
            throw SwanError(
                .invalidData,
                "\(path): has \(shape[0]) states of each video, but denoising_step_list has "
                    + "\(steps.count); make pairs for this list"
            )
        }
        try (generatorTask ?? task).check(
            frames: shape[1],
            framesPerBlock: framesPerBlock
        )
    }
}
