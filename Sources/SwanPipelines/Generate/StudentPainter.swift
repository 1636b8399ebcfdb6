package import Logging
package import SwanCheckpoints
package import SwanMedia
import SwanModels
import SwanSystem
import SwanText
package import SwanThreads
package import Torch

/// A student for pictures with the other parts of its folder.
///
/// A student has learned its teacher's guided flow, so it runs once a step, by Euler's method.
package final class StudentPainter {
    /// The device that the student runs on, and the dtype that it computes in.
    package let device: Device
    package let dtype: DType
    /// How pictures are made.
    package let sampling: StudentSampling
    /// The size of pictures in pixels.
    package let size: GenerationSettings.PictureSize
    private let student: LiteStudentFolder
    private let folder: ModelFolder
    private let autoencoder: AutoencoderChoice
    private let options: GenerationOptions
    private var loaded: (student: ProjectedStudent, autoencoder: any VideoAutoencoder)?

    /// Finds the parts; no weights are read.
    ///
    /// - Parameter settings: The size, the steps and the shift, if they are not the student's own.
    package init(
        _ student: LiteStudentFolder,
        _ options: GenerationOptions,
        _ settings: GenerationSettings = GenerationSettings()
    ) throws {
        (self.student, self.options) = (student, options)
        device = try Device(named: options.device)
        dtype = options.dtype ?? .suited(to: device)
        folder = try ModelFolder(student.path, choosing: options.files)
        let own: [ModelFolder.Part] = options.vae == nil ? [.vae] : []
        try folder.require([.textEncoder, .tokenizer] + own)
        var sampling = student.sampling
        autoencoder = try AutoencoderChoice(
            options.vae,
            in: folder,
            latentChannels: sampling.latentChannels
        )
        guard autoencoder.latentChannels == sampling.latentChannels else {
            throw SwanError(
                .invalidModel,
                "\(student.path): the autoencoder has \(autoencoder.latentChannels) channels, but "
                    + "the student was trained for \(sampling.latentChannels)"
            )
        }
        sampling.steps = settings.steps ?? sampling.steps
        sampling.shift = settings.shift ?? sampling.shift
        self.sampling = sampling
        size = try Self.size(settings, student, stride: autoencoder.spatialStride)
    }

    private static func size(
        _ settings: GenerationSettings,
        _ student: LiteStudentFolder,
        stride: Int
    ) throws(SwanError) -> GenerationSettings.PictureSize {
        let side =
            student.sampling.isParity
            ? student.config.imageSize / student.config.patchSize * stride
            : student.config.imageSize
        let size = settings.size ?? .init(width: side, height: side)
        guard size.width.isMultiple(of: stride), size.height.isMultiple(of: stride) else {
            throw SwanError(
                .invalidRequest,
                "the width and height must be multiples of \(stride), not "
                    + "\(size.width)x\(size.height)"
            )
        }
        return size
    }

    /// The means [1, textDim] of prompts' embeddings. The encoder is then released.
    package func means(
        of prompts: [String],
        _ log: Logger = Logger(label: "swan"),
        _ stop: CancellationFlag = CancellationFlag()
    ) throws -> [String: Tensor] {
        var sizes = WanConfig()
        sizes.textDim = student.config.textDim
        let (files, source, config) = try folder.textEncoder(for: sizes)
        let onCPU = options.textEncoderOnCPU
        let place = onCPU ? Device.cpu : device
        let asked = onCPU ? options.dtype ?? .suited(to: .cpu) : dtype
        // UMT5's activations exceed the range of float16.
        let type = asked != .float16 ? asked : place == .cpu ? .suited(to: .cpu) : .bfloat16
        let encoder = try files.network(source, type, place) { weights throws(SwanError) in
            try UMT5Encoder(weights, config)
        }
        let tokenizer = try folder.tokenizer(for: config)
        var means: [String: Tensor] = [:]
        for prompt in prompts {
            try stop.check()
            let found = try tokenizer.encode(prompt, maxTokens: sizes.textLen)
            for issue in found.issues { log.warning("\(issue)") }
            means[prompt] = try inference {
                try LiteStudent2D.pooled(encoder.encode([found.tokens]).to(.float32))
                    .to(device, dtype)
            }
        }
        return means
    }

    /// Loads the student and its autoencoder.
    package func load() throws {
        loaded = (
            try student.load(dtype, device), try autoencoder.load(from: folder, .float32, device)
        )
    }

    /// Makes latents [1, Z, 1, h, w] for a prompt's mean.
    ///
    /// - Parameter onStep: Called after each step with its number, from 1.
    package func latents(
        _ text: Tensor,
        seed: UInt64,
        onStep: (Int) throws -> Void = { _ in }
    ) throws -> Tensor {
        let network = try require().student
        let stride = autoencoder.spatialStride
        let shape = [1, student.config.channels, size.height / stride, size.width / stride]
        return try inference {
            let noise = try Tensor.randn(shape, Generator(seed: seed)).to(device, dtype)
            let latents = try sampling.latents(from: noise, network, text: text, onStep: onStep)
            guard try latents.isAllFinite() else {
                throw SwanError(
                    .invalidWeights,
                    "\(student.path): the student's latents are not finite (NaN or infinite); it "
                        + "was not trained to the end, or values exceed the range of \(dtype)"
                )
            }
            return try latents.to(.float32).unsqueezed(2)
        }
    }

    /// Decodes latents.
    package func picture(of latents: Tensor) throws -> VideoFrame {
        let decoded = try inference { try frames(of: require().autoencoder.video(of: latents)) }
        guard let picture = decoded.first else {
            throw SwanError(.invalidModel, "\(student.path): its autoencoder makes no frames")
        }
        return picture
    }

    private func require() throws(SwanError) -> (
        student: ProjectedStudent, autoencoder: any VideoAutoencoder
    ) {
        guard let loaded else {
            throw SwanError(.invalidArgument, "\(student.path): is not loaded")
        }
        return loaded
    }
}
