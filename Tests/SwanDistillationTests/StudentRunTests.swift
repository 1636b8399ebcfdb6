import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanModels
import SwanPipelines
import SwanSystem
import SwanThreads
import SwanTraining
import Testing
import Torch

@testable import SwanDistillation

/// Runs from their files to their folders.
@Suite struct StudentRunTests {
    /// A way to train a student.
    struct Way: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var layout = RandomCheckpoint.Layout.diffusers
        var changes: [String: String] = [:]
        var student: [String: String] = [:]

        static let all = [
            Way(testDescription: "right", changes: ["held_out_rows": "1"]),
            Way(
                testDescription: "lifted, original layout",
                layout: .original,
                changes: [
                    "gradient_checkpointing": "true", "projection_method": "svd",
                    "gradient_accumulation_steps": "2", "samples_per_prompt": "2",
                    "teacher_on_cpu": "true",
                ],
                student: ["num_channels": "4", "positions": "none"]
            ),
            Way(
                testDescription: "as published",
                changes: ["parity": "true", "projection_method": "average"],
                student: ["num_channels": "4"]
            ),
            Way(
                testDescription: "bfloat16 teacher, balanced",
                changes: [
                    "teacher_dtype": "bfloat16", "teacher_device_strategy": "balanced",
                    "guidance_scale": "1",
                ]
            ),
        ]
    }

    /// Ends with the same bits, stopped or not, and writes a folder that makes pictures.
    @Test(.timeLimit(.minutes(10)), arguments: Way.all)
    func resumes(way: Way) throws {
        let tiny = try TinyStudent(way.layout)
        let file = try tiny.file(way.changes, student: way.student)
        try StudentDistillation.run(file, tiny.options("whole", steps: 5))
        var options = tiny.options("parts", steps: 2)
        try StudentDistillation.run(file, options)
        options.resume = true
        options.maximumSteps = 5
        try StudentDistillation.run(file, options)
        let whole = try tiny.numbers("whole")
        #expect(try tiny.numbers("parts") == whole)
        #expect(whole.values.joined().allSatisfy { $0.isFinite })
        let samples = Folder.names(in: tiny.directory.path("whole/samples")).sorted()
        #expect(samples.last == "student-00000005.png" && samples.count > 1)
        try generates(tiny, "whole")
        guard way.student["num_channels"] != nil else { return }
        #expect(try tiny.numbers("parts", "output_proj") == tiny.numbers("whole", "output_proj"))
        let hasLift = way.changes["parity"] == nil
        let path = tiny.directory.path("whole/input_proj.safetensors")
        #expect(FileManager.default.fileExists(atPath: path) == hasLift)
    }

    private func generates(_ tiny: TinyStudent, _ model: String) throws {
        let output = tiny.directory.path("\(model).png")
        var request = FileGenerationRequest(
            model: tiny.directory.path(model),
            prompt: "a red ball",
            output: output
        )
        request.generation.settings.frames = 1
        request.options.device = "cpu"
        let summary = try FileGeneration(request).run()
        #expect(summary.videos.count == 1 && summary.frames == 1)
        #expect(FileManager.default.fileExists(atPath: output))
        let bytes = try Data(contentsOf: URL(fileURLWithPath: output))
        _ = try FileGeneration(request).run()
        #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == bytes)
    }

    /// Files of other prompts, models or settings are found and made again; others are kept.
    @Test func staleFilesAreMadeAgain() throws {
        let tiny = try TinyStudent()
        let cache = ["cache_path": "cache"]
        try StudentDistillation.run(tiny.file(cache), tiny.options("one", steps: 2))
        func stamps(_ kind: String) throws -> [String: Date] {
            let folder = tiny.directory.path("cache/\(kind)")
            var found: [String: Date] = [:]
            for name in Folder.names(in: folder) {
                let values = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
                found[name] = values[.modificationDate] as? Date
            }
            return found
        }
        let (texts, pictures) = (try stamps("text"), try stamps("pictures"))
        #expect(texts.count == 6 && pictures.count == 5)
        var stages: [String: Double?] = [:]
        func note(_ progress: TrainingProgress) {
            stages[progress.stage] = .some(progress.losses["stale"])
        }
        try StudentDistillation.run(
            tiny.file(cache),
            tiny.options("two", steps: 2),
            onProgress: note
        )
        #expect(stages.keys.sorted() == ["student"])
        #expect(try stamps("text") == texts && stamps("pictures") == pictures)
        #expect(try tiny.numbers("one") == tiny.numbers("two"))
        // Other steps of the teacher make other pictures, of the same prompts.
        try StudentDistillation.run(
            tiny.file(cache.merging(["teacher_steps": "3"]) { $1 }),
            tiny.options("three", steps: 2),
            onProgress: note
        )
        #expect(stages["pictures"] == .some(5) && stages["text"] == nil)
        #expect(try stamps("text") == texts)
        let now = try stamps("pictures")
        #expect(now.keys == pictures.keys && now.allSatisfy { pictures[$0.key] != $0.value })
    }

    /// Latents of a store are noised in place of the teacher's own pictures.
    @Test func learnsFromLatents() throws {
        let tiny = try TinyStudent()
        func write(_ side: Int, _ name: String) throws {
            try Safetensors.write(
                ["latents": .randn([3, 1, 16, side, side], Generator(seed: 1))],
                metadata: ["prompts": #"["a", "b", "c d"]"#],
                to: tiny.directory.path(name)
            )
        }
        try write(4, "latents.safetensors")
        try write(6, "wide.safetensors")
        let file = try tiny.file(["data_path": "latents.safetensors"])
        try StudentDistillation.run(file, tiny.options("student", steps: 2))
        let cache = tiny.directory.path("student/cache")
        #expect(Folder.names(in: cache) == ["text"])
        let error = #expect(throws: SwanError.self) {
            try StudentDistillation.run(
                tiny.file(["data_path": "wide.safetensors"]),
                tiny.options("wide", steps: 2)
            )
        }
        #expect(error?.message.contains("[16, 6, 6]") ?? false)
    }

    @Test(arguments: [
        (["held_out_rows": "5"], [:], "held_out_rows"),
        ([:], ["image_size": "40"], "image_size 40"),
        ([:], ["text_encoder_output_dim": "17"], "text_encoder_output_dim is 17"),
        (["teacher_path": "nowhere"], [:], "nowhere"), (["data_path": "none.txt"], [:], "none.txt"),
        ([:], ["num_channels": "17"], "num_channels is 17"),
    ])
    func refusesWhatDoesNotFit(
        changes: [String: String],
        student: [String: String],
        words: String
    ) throws {
        let tiny = try TinyStudent()
        let file = try tiny.file(changes, student: student)
        let error = #expect(throws: SwanError.self) {
            try StudentDistillation.run(file, tiny.options("student", steps: 1))
        }
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
    }

    @Test func refusesAnotherRunsFolder() throws {
        let tiny = try TinyStudent()
        var options = tiny.options("student", steps: 1)
        try StudentDistillation.run(tiny.file(), options)
        var error = #expect(throws: SwanError.self) {
            try StudentDistillation.run(tiny.file(), options)
        }
        #expect(error?.message.contains("--resume") ?? false)
        options.resume = true
        error = #expect(throws: SwanError.self) {
            try StudentDistillation.run(tiny.file(["lr": "0.5"]), options)
        }
        #expect(error?.message.contains("differ") ?? false)
        try StudentDistillation.run(tiny.file(["num_steps": "7"]), options)
    }

    @Test func stopsBeforeTraining() throws {
        let tiny = try TinyStudent()
        let stop = CancellationFlag()
        _ = stop.cancel()
        let error = #expect(throws: SwanError.self) {
            try StudentDistillation.run(tiny.file(), tiny.options("student"), stop: stop)
        }
        #expect(error?.code == .interrupted)
    }

    /// A student makes single pictures; what it lacks is an error that names it.
    @Test func picturesOnly() throws {
        let tiny = try TinyStudent()
        try StudentDistillation.run(tiny.file(), tiny.options("student", steps: 1))
        func message(_ change: (inout FileGenerationRequest) -> Void) -> String {
            var request = FileGenerationRequest(
                model: tiny.directory.path("student"),
                prompt: "a",
                output: tiny.directory.path("a.png")
            )
            request.options.device = "cpu"
            change(&request)
            do {
                _ = try FileGeneration(request).run()
                return ""
            } catch {
                return "\(error)"
            }
        }
        #expect(message { $0.generation.settings.size = .init(width: 48, height: 16) } == "")
        #expect(message { $0.generation.settings.frames = 5 }.contains("--frames 1"))
        #expect(message { $0.output += ".mp4" }.contains("ends in .png"))
        #expect(message { $0.generation.settings.guidance = 4 }.contains("guidance"))
        #expect(message { $0.options.loras = [.init("x")] }.contains("LoRAs"))
        #expect(
            message { $0.generation.settings.size = .init(width: 20, height: 16) }
                .contains("multiples of 8")
        )
    }
}
