import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch

// What a run shows of a student.
extension StudentDistillation {
    /// How the student makes pictures.
    func sampling() -> StudentSampling {
        var sampling = StudentSampling()
        sampling.latentChannels = model.config.inDim
        sampling.isParity = settings.isParity
        guard !settings.isParity else { return sampling }
        sampling.steps = settings.teacherSteps ?? model.steps
        sampling.shift = settings.teacherShift ?? model.shift
        return sampling
    }

    func view(
        _ method: StudentMethod,
        _ samples: [String],
        _ sampling: StudentSampling,
        _ heldOut: Range<Int>,
        _ side: (height: Int, width: Int)
    ) throws -> StudentView {
        var view = StudentView()
        for row in heldOut {
            let batch = try method.batch([row], seed: Seed.mixed(settings.seed, 35, UInt64(row)))
            // All ranks ask the teacher.
            view.heldOut.append((batch, try method.target(batch).to(.cpu)))
        }
        guard !samples.isEmpty, ranks?.isFirst ?? true else { return view }
        let (embeddings, lengths) = try StudentData.joined(samples.map(texts.read))
        let drawing = StudentDrawing(
            sampling: sampling,
            text: try LiteStudent2D.pooled(
                embeddings.to(.float32),
                lengths: settings.isParity ? nil : lengths
            ),
            noise: try Tensor.randn(
                [samples.count, settings.student.channels, side.height, side.width],
                Generator(seed: Seed.mixed(settings.seed, 36))
            ),
            autoencoder: try model.autoencoder.load(from: model.folder, .float32, options.device),
            caption: samples.joined(separator: "; ")
        )
        view.draw = drawing.sheets
        return view
    }
}

/// Draws pictures of the same prompts and noise at any time of a run.
private struct StudentDrawing: Sendable {
    let sampling: StudentSampling
    /// The prompts' means [B, textDim].
    let text: Tensor
    /// [B, C, H, W].
    let noise: Tensor
    let autoencoder: any VideoAutoencoder
    let caption: String

    func sheets(_ student: ProjectedStudent) throws -> [SampleSheet] {
        let latents = try sampling.latents(
            from: noise.to(student.device),
            student,
            text: text.to(student.device),
            publishedEnd: .zeros
        )
        let videos = try autoencoder.video(of: latents.to(.float32).unsqueezed(2))
        let pictures = try (videos * 0.5 + 0.5).clamped(min: 0, max: 1).to(.cpu).squeezed(2)
        return [try SampleSheet([pictures.unbound()], caption: caption)]
    }
}
