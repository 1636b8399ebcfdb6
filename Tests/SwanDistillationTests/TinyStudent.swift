import Foundation
import GoldenSupport
import ModelSupport
import SwanSystem
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

/// A pair of tiny experts shaped as Wan 2.2 T2V-A14B, prompts, and the keys of a student.
struct TinyStudent {
    let directory: TemporaryDirectory
    /// The layouts of the teacher's folder.
    let layout: RandomCheckpoint.Layout

    static let prompts = ["a red ball", "a cat at night", "neon rain", "the sea", "fog"]

    init(_ layout: RandomCheckpoint.Layout = .diffusers) throws {
        directory = try TemporaryDirectory()
        self.layout = layout
        _ = try RandomCheckpoint(.textToVideoExperts, layout, at: directory.path("teacher"))
        let lines = Self.prompts.joined(separator: "\n\n") + "\n"
        _ = try directory.file("prompts.txt", text: lines)
    }

    /// The file of a run, with `changes` in place of its own keys.
    func file(
        _ changes: [String: String] = [:],
        student: [String: String] = [:]
    ) throws -> StudentSettings.File {
        var sizes = [
            "hidden_size": "24", "depth": "2", "num_heads": "2", "num_channels": "16",
            "image_size": "32", "text_encoder_output_dim": "16",
        ]
        sizes.merge(student) { _, new in new }
        let config = sizes.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        var keys = [
            "teacher_path": "teacher", "data_path": "prompts.txt", "teacher_steps": "2",
            "student_config": "{\(config.joined(separator: ", "))}", "lr": "1.0e-3", "seed": "4",
        ]
        keys.merge(changes) { _, new in new }
        let lines = keys.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)\n" }
        let path = try directory.file("\(UUID().uuidString).yaml", text: lines.joined())
        return try #require(try StudentSettings.File(path, root: directory.url.path))
    }

    func options(_ output: String, steps: Int? = nil) -> RunOptions {
        var options = RunOptions(output: directory.path(output))
        options.root = directory.url.path
        options.maximumSteps = steps
        options.threads = 1
        return options
    }

    /// The numbers of a file of a run's result.
    func numbers(
        _ output: String,
        _ name: String = "diffusion_pytorch_model"
    ) throws -> [String: [Float]] {
        let file = try SafetensorsFile(path: directory.path("\(output)/\(name).safetensors"))
        var found: [String: [Float]] = [:]
        for key in file.keys { found[key] = try file.tensor(key).array() }
        return found
    }

    /// The method of a file, with everything that it needs made.
    func method(_ file: StudentSettings.File) throws -> (StudentMethod, TeacherModel) {
        let model = try TeacherModel(directory.path("teacher"))
        var options = PictureTeacher.Options()
        options.guidance = file.settings.guidance ?? (file.settings.isParity ? 1 : nil)
        options.isParity = file.settings.isParity
        let texts = TensorCache(directory.path("method/text"), stamp: "texts")
        let pictures = TensorCache(directory.path("method/pictures"), stamp: "pictures")
        let random = try Generator(seed: 8)
        try texts.fill(Self.prompts + [""], .first(nil), progress: { _, _, _ in }) { prompts in
            try prompts.map { try .randn([1 + $0.count / 4, 16], random) }
        }
        let data = StudentData(
            Self.prompts,
            repeats: 1,
            texts: texts,
            pictures: file.settings.isParity ? nil : pictures
        )
        try pictures.fill(data.pictureNames, .first(nil), progress: { _, _, _ in }) { names in
            try names.map { _ in try .randn([16, 4, 4], random) }
        }
        let teacher = try PictureTeacher(
            model,
            options,
            negative: texts.read("").unsqueezed(0),
            on: .cpu
        )
        let initialization = initialization(file.settings)
        return (
            StudentMethod(
                options: StudentMethod.Options(
                    config: file.settings.student,
                    latentChannels: 16,
                    height: 4,
                    width: 4,
                    lift: try initialization.lift(),
                    optimizer: file.settings.optimizer(ranks: 1),
                    batch: file.settings.batch,
                    shift: file.settings.shift,
                    isRecomputed: file.settings.checkpointsGradients,
                    isParity: file.settings.isParity,
                    seed: file.settings.seed
                ),
                data: data,
                rows: StudentRows(seed: 1, count: 5, batch: 2, multiple: 1),
                teacher: SharedTeacher(teacher, .own(.cpu))
            ), model
        )
    }

    func initialization(
        _ settings: StudentSettings,
        outputs: Int = 1
    ) -> StudentInitialization {
        StudentInitialization(
            config: settings.student,
            latentChannels: 16,
            projection: settings.projection,
            isParity: settings.isParity,
            seed: settings.seed,
            outputCount: outputs
        )
    }
}
