import SwanCheckpoints
package import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

/// What a distillation of a model of drawn scenes has achieved: teacher, regression and student on
/// prompts whose combinations of color, shape and direction are not in training.
package struct DistillBenchmark {
    /// What to measure.
    package struct Options: Sendable {
        /// The student and the teacher: names of bundled models, or folders.
        package var model, teacher: String
        /// The student after regression alone; nil to leave it out.
        package var regression: String?
        /// The number of prompts, and the seed that they and the noise are drawn by.
        package var prompts = 100
        package var seed: UInt64 = 0
        /// The frames of a long stream, and the number of streams; 0 for none.
        package var streamFrames = 2_000
        package var streams = 4
        /// The device to run on.
        package var device = "auto"
        /// Where to write frames of the first videos as a picture; nil for nowhere.
        package var sheet: String?
        /// Whether the picture replaces another one.
        package var overwrites = true

        /// Creates options for two models.
        package init(model: String, teacher: String) {
            (self.model, self.teacher) = (model, teacher)
        }

        /// The files that are read and written.
        package var files: JobFiles {
            var files = JobFiles()
            files.models = [model, teacher, regression].compactMap { $0 }
                .map { ModelLocation.path($0) }
            files.outputs = sheet.map { [.file($0)] } ?? []
            return files
        }

        func check() throws(SwanError) {
            func require(
                _ value: Int,
                in range: ClosedRange<Int>,
                _ what: String
            ) throws(SwanError) {
                let name = "bench distill"
                try NumberLimits.require(value, in: range, what, of: name, .invalidOption)
            }
            try require(prompts, in: 1...100_000, "the number of prompts")
            try require(streams, in: 0...1_000, "the number of streams")
            // Each tenth has at least one clip of 21 frames.
            try require(streamFrames, in: 210...1_000_000, "the number of frames of a stream")
            guard let sheet else { return }
            guard sheet.lowercased().hasSuffix(".png") else {
                throw SwanError(
                    .invalidOption,
                    "\(sheet): the sheet is a PNG file; specify a name that ends in .png"
                )
            }
            try OutputPath.requireWritable(sheet)
        }
    }

    let options: Options
    let teacher: TeacherVideos
    let student: CausalVideos
    /// Student after regression, and the teacher's weights in causal form.
    private let regression: CausalVideos?
    private let untrained: CausalVideos
    let onProgress: (String) -> Void

    /// Opens the models.
    ///
    /// - Parameter onProgress: Called with what has been measured.
    package init(_ options: Options, onProgress: @escaping (String) -> Void = { _ in }) throws {
        try options.check()
        self.options = options
        self.onProgress = onProgress
        let device = try Device(named: options.device)
        teacher = try TeacherVideos(options.teacher, options.device)
        student = try CausalVideos(options.model, device)
        let folder = ModelLocation.path(options.model)
        untrained = try CausalVideos(
            options.teacher,
            device,
            configuration: folder + "/stream.yaml",
            steps: 1
        )
        regression = try options.regression.map { try CausalVideos($0, device, steps: 1) }
    }

    /// Makes the videos and measures them.
    package func run() throws -> DistillReport {
        var report = DistillReport(
            model: options.model,
            teacher: options.teacher,
            regression: options.regression,
            seed: options.seed,
            prompts: options.prompts
        )
        let asked = AskedScenes(options.prompts, frames: teacher.frames, seed: options.seed)
        let best = try measured("teacher", asked) { try teacher.video($0, seed: $1) }
        report.figures = [
            Figure("teacher_met", best.met, "", .atLeast(0.9)),
            Figure("teacher_seconds", best.median, "s"),
        ]
        var rows = best.pictures
        let early = try sharpness(asked, best, &rows)
        report.figures += early
        for steps in [1, 2, 4] where steps <= student.options.configuration.steps.count {
            report.figures += try figures(of: steps, asked, best, &rows)
        }
        report.figures += try restyling()
        if options.streams > 0 { report.figures += try holding() }
        if let sheet = options.sheet { try write(rows, to: sheet) }
        return report
    }

    /// Makes and measures the video of each prompt.
    ///
    /// - Parameter make: Makes the video of a prompt with a seed.
    func measured(
        _ name: String,
        _ asked: AskedScenes,
        _ make: (String, UInt64) throws -> Tensor
    ) throws -> VideoFigures {
        var figures = VideoFigures()
        for (index, (text, claim)) in zip(asked.texts, asked.claims).enumerated() {
            let began = ContinuousClock.now
            let clip = try make(text, Seed.mixed(options.seed, UInt64(index)))
            let seconds = (ContinuousClock.now - began).seconds
            try figures.add(clip, claim, seconds: seconds)
        }
        onProgress("\(name): \(figures.score)")
        return figures
    }

    /// Sharpness at one step before the student was trained, and after regression.
    private func sharpness(
        _ asked: AskedScenes,
        _ best: VideoFigures,
        _ rows: inout [[Tensor]]
    ) throws -> [Figure] {
        let stages: [(name: String, videos: CausalVideos?, bound: Bound)] = [
            ("causal_sharpness", untrained, .atMost(0.3)),
            ("ode_sharpness", regression, .atLeast(0.75)),
        ]
        var found: [Figure] = []
        for stage in stages {
            guard let videos = stage.videos else { continue }
            let figures = try measured("\(stage.name), 1 step", asked) { text, seed in
                try videos.video(text, frames: teacher.frames, seed: seed)
            }
            rows = Self.joined(rows, figures.pictures)
            let ratio = figures.texture.sharpness / best.texture.sharpness
            found.append(Figure(stage.name, ratio, "", stage.bound))
        }
        return found
    }

    /// The student in a number of steps.
    private func figures(
        of steps: Int,
        _ asked: AskedScenes,
        _ best: VideoFigures,
        _ rows: inout [[Tensor]]
    ) throws -> [Figure] {
        let videos = try student.taking(steps: steps)
        let own = try measured("student, \(steps) steps", asked) { text, seed in
            try videos.video(text, frames: teacher.frames, seed: seed)
        }
        rows = Self.joined(rows, own.pictures)
        let leastMet = [1: 0.8, 2: 0.85, 4: 0.88]
        let name = "student_\(steps)"
        let speed = best.median / own.median
        return [
            Figure(
                "\(name)_sharpness",
                own.texture.sharpness / best.texture.sharpness,
                "",
                .atLeast(0.85)
            ),
            Figure(
                "\(name)_contrast",
                own.texture.contrast / best.texture.contrast,
                "",
                .within(0.9...1.1)
            ),
            Figure("\(name)_met", own.met, "", leastMet[steps].map { .atLeast($0) }),
            Figure("\(name)_speed", speed, "x", steps == 1 ? .atLeast(20) : nil),
        ]
    }

    private static func joined(_ rows: [[Tensor]], _ more: [[Tensor]]) -> [[Tensor]] {
        zip(rows, more).map { $0 + $1 }
    }

    private func write(_ rows: [[Tensor]], to path: String) throws {
        let caption = "held-out prompts: teacher, causal, regression, student"
        let sheet = try SampleSheet(rows, caption: caption)
        try OutputPath.write(sheet.frame().png(), to: path, replaces: options.overwrites)
    }
}
