import SwanCheckpoints
package import SwanMedia
import SwanPipelines
import SwanSystem
package import SwanTiny
import SwanTraining
import Torch

/// How many prompts a model of drawn scenes meets, by classifiers that follow from how scenes are
/// drawn. The prompts' combinations of color, shape and direction are not in training.
package struct SceneBenchmark {
    /// What to measure.
    package struct Options: Sendable {
        /// The name of a bundled model, or a model folder.
        package var model: String
        /// The number of prompts, and the seed that they and the noise are drawn by.
        package var prompts = 100
        package var seed: UInt64 = 0
        /// The denoising steps and the guidance scale; nil for the model's own.
        package var steps: Int?
        package var guidance: Double?
        /// Whether single pictures are made, and judged by all but motion. Students for pictures
        /// make no others.
        package var makesPictures = false
        /// The device to run on.
        package var device = "auto"
        /// Where to write frames of the first videos as a picture; nil for nowhere.
        package var sheet: String?
        /// Whether the picture replaces another one.
        package var overwrites = false

        /// Creates the default options for a model.
        package init(model: String) { self.model = model }

        /// The files that are read and written.
        package var files: JobFiles {
            var files = JobFiles()
            files.models = [ModelLocation.path(model)]
            files.outputs = sheet.map { [.file($0)] } ?? []
            return files
        }
    }

    /// The result of the measurement.
    package struct Report: Sendable, Encodable {
        /// The version of the schema; it increases when a key is removed or its meaning changes.
        package let schemaVersion = 1
        /// The model, as specified.
        package let model: String
        /// The seed of prompts and noise.
        package let seed: UInt64
        /// The share of prompts that are met, and those of the kinds of words and scenes.
        package let figures: [Figure]
        /// The prompts that are not met, and the words that the video does not show.
        package let missed: [String]

        /// Whether enough prompts are met.
        package var holds: Bool { figures.allSatisfy(\.holds) }

        private enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version", model, seed, figures, missed
        }
    }

    /// The share of held-out prompts that a finished model meets.
    private static let bound = 0.9
    /// The number of videos on the picture.
    private static let shown = 24
    /// The frames of the clips that pictures' prompts are of.
    private static let framesOfClips = 21

    /// What makes a clip.
    private enum Maker {
        case videos(VideoGenerator)
        case pictures(StudentPainter)
    }

    private let options: Options
    private let maker: Maker
    private let frames: Int

    /// Opens the model.
    package init(_ options: Options) throws {
        try NumberLimits.require(
            options.prompts,
            in: 1...100_000,
            "the number of prompts",
            of: "bench tiny-t2v",
            .invalidOption
        )
        if let sheet = options.sheet {
            guard sheet.lowercased().hasSuffix(".png") else {
                throw SwanError(
                    .invalidOption,
                    "\(sheet): the sheet is a PNG file; specify a name that ends in .png"
                )
            }
            try OutputPath.requireWritable(sheet)
        }
        var opening = GenerationOptions()
        opening.device = options.device
        opening.offload = .none
        var options = options
        if let student = try LiteStudentFolder(options.model) {
            options.makesPictures = true
            var settings = GenerationSettings()
            settings.steps = options.steps
            let painter = try StudentPainter(student, opening, settings)
            try painter.load()
            (maker, frames) = (.pictures(painter), Self.framesOfClips)
        } else {
            let model = try GenerationModel(options.model, options: opening)
            maker = .videos(VideoGenerator(model))
            frames = max(Self.framesOfClips, model.variant.defaults.frames)
        }
        self.options = options
    }

    /// Generates the videos and measures them.
    ///
    /// - Parameter onVideo: Called with the number of videos done and what has been met so far.
    package func run(onVideo: (Int, SceneScore) -> Void = { _, _ in }) throws -> Report {
        let scenes = SceneSampler(frames: frames, seed: options.seed)
        let prompts = ScenePrompts(seed: options.seed)
        var score = SceneScore()
        var missed: [String] = []
        var rows: [[Tensor]] = []
        var index = 0
        while score.count < options.prompts {
            defer { index += 1 }
            let scene = scenes.scene(UInt64(index), .heldOut)
            // A picture has no change of scene.
            guard !options.makesPictures || scene.kind != .change else { continue }
            let (claim, text) = prompts.prompt(for: scene, index: UInt64(index))
            let clip = try clip(text, seed: UInt64(index))
            let verdict =
                options.makesPictures
                ? try SceneMeasure.verdict(onPicture: clip.selected(0, 0), claim)
                : try SceneMeasure.verdict(clip, claim)
            score.add(verdict, claim.kind)
            if !verdict.isMet {
                missed.append("\(text): \(verdict.missing.joined(separator: ", "))")
            }
            if rows.count < Self.shown {
                let last = clip.size(0) - 1
                let shown = last == 0 ? 1 : 6
                rows.append(try (0..<shown).map { try clip.selected(0, $0 * last / 5) })
            }
            onVideo(score.count, score)
        }
        if let sheet = options.sheet { try write(rows, to: sheet) }
        return Report(
            model: options.model,
            seed: options.seed,
            figures: figures(of: score),
            missed: missed
        )
    }

    private func figures(of score: SceneScore) -> [Figure] {
        var figures = score.figures
        if options.makesPictures {
            for name in ["heading", "pace"] { figures[name] = nil }
        }
        return figures.sorted { $0.key < $1.key }.map { name, share in
            Figure(name, share, "", name == "met" ? .atLeast(Self.bound) : nil)
        }
    }

    /// Generates a clip: [T, 3, H, W] in [0, 1].
    private func clip(_ prompt: String, seed: UInt64) throws -> Tensor {
        let seed = Seed.mixed(options.seed, seed)
        switch maker {
        case .videos(let generator): return try clip(prompt, seed, generator)
        case .pictures(let painter):
            guard let text = try painter.means(of: [prompt])[prompt] else { break }
            return try Tensor(
                clip: [painter.picture(of: painter.latents(text, seed: seed))],
                of: options.model
            )
        }
        throw SwanError(.invalidModel, "\(options.model): encodes no prompt")
    }

    private func clip(
        _ prompt: String,
        _ seed: UInt64,
        _ generator: VideoGenerator
    ) throws -> Tensor {
        var request = GenerationRequest(prompt: prompt)
        request.settings.seed = seed
        if options.makesPictures { request.settings.frames = 1 }
        request.settings.steps = options.steps
        request.settings.guidance = options.guidance
        var frames: [VideoFrame] = []
        _ = try generator.generate(request) { event in
            if case .frames(let next, _) = event { frames += next }
        }
        return try Tensor(clip: frames, of: options.model)
    }

    private func write(_ rows: [[Tensor]], to path: String) throws {
        let half = (rows.count + 1) / 2
        var lines = Array(rows.prefix(half))
        for (index, row) in rows.dropFirst(half).enumerated() { lines[index] += row }
        // Rows have the same width.
        let whole = lines.filter { $0.count == lines[0].count }
        let sheet = try SampleSheet(whole, caption: "held-out prompts")
        try OutputPath.write(sheet.frame().png(), to: path, replaces: options.overwrites)
    }
}
