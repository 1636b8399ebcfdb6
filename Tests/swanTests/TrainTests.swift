import Foundation
import GoldenSupport
import ModelSupport
import Testing
import Torch

/// `swan train` as a process: killed, stopped and resumed.
@Suite struct TrainTests {
    private let folder: TemporaryDirectory
    private let recipe: String

    init() throws {
        folder = try TemporaryDirectory()
        recipe = try folder.file(
            "recipe.yaml",
            text: TinyTraining.recipe.replacing("every_steps: 4", with: "every_steps: 2")
        )
    }

    /// When a process is killed.
    private enum Moment {
        /// While a file is being written to a folder.
        case writing(String)
        /// After a file exists.
        case after(String)
    }

    /// No process can handle SIGKILL, so resuming depends on complete files and exact numbers.
    @Test func resumeAfterKillsIsExact() throws {
        let whole = try train("whole")
        let checkpoints = "killed/checkpoints/"
        let moments: [Moment] = [
            .after(checkpoints + "vae/step-00000002.safetensors"),
            .writing(checkpoints + "vae"),
            .writing("killed/vae"),
            .after(checkpoints + "transformer/step-00000002.safetensors"),
            .writing(checkpoints + "transformer"),
        ]
        var halfWritten = 0
        for moment in moments {
            let program = try train("killed", "--resume")
            while program.isRunning, !isReached(moment) { usleep(500) }
            program.send(SIGKILL)
            _ = try program.end()
            halfWritten += try partialFiles("killed").count
        }
        #expect(halfWritten > 0, "no process was killed while writing")
        let outcome = try train("killed", "--resume").end()
        #expect(outcome.code == 0, "\(outcome.messages)")
        #expect(try whole.end().code == 0)
        let (expected, found) = (try contents("whole"), try contents("killed"))
        #expect(expected.keys.sorted() == found.keys.sorted())
        #expect(expected.keys.contains("transformer/diffusion_pytorch_model.safetensors"))
        for (name, bytes) in expected {
            #expect(found[name] == bytes, "\(name) differs")
        }
    }

    @Test func signalsEndARunWithACheckpoint() throws {
        let recipe = try folder.file(
            "long.yaml",
            text: TinyTraining.recipe.replacing("steps: 6,", with: "steps: 10000,")
                .replacing("every_steps: 4", with: "every_steps: 10000")
        )
        let program = try Program([
            "train", recipe, "-o", folder.path("out"), "--device", "cpu", "--progress", "json",
        ])
        program.wait(for: #""stage":"vae""#)
        program.send(SIGTERM)
        let outcome = try program.end()
        #expect(outcome.code == 143, "\(outcome.messages)")
        #expect(outcome.messages.contains("--resume continues from there"))
        let names = try FileManager.default.contentsOfDirectory(
            atPath: folder.path("out/checkpoints/vae")
        )
        // The initial weights, and those after the last step.
        #expect(names.count == 2)
        let newest = try #require(names.max())
        let file = try SafetensorsFile(path: folder.path("out/checkpoints/vae/\(newest)"))
        let step = try #require(file.metadata["step"])
        #expect(outcome.messages.contains("after step \(step) of 10000, stage vae"))
        #expect(file.metadata["stage"] == "vae")
        #expect(file.metadata["recipe"]?.contains("every_steps: 10000") == true)
        #expect(file.keys.allSatisfy { file.entry($0)?.dtype == .float32 })
    }

    @Test func refusesAMissingDevice() throws {
        let outcome = try Program.run(
            "train",
            recipe,
            "-o",
            folder.path("out"),
            "--device",
            "cuda:99"
        )
        #expect(outcome.code == 69)
        #expect(outcome.messages.contains("GPU"))
        #expect(try folder.names == ["recipe.yaml"])
    }

    /// Errors say what is wrong and where, and leave no folder behind.
    @Test(arguments: [
        ("seed: 7", "seed: [", 65, "not YAML"),
        ("seed: 7", "seeds: 7", 65, "seed is missing"),
        ("data: {procedural: 1}", "data: {videos: [{file: a.mp4, weight: 1}]}", 66, "a.mp4"),
        (
            "data: {procedural: 1}", "data: {videos: [{file: /dev/zero, weight: 1}]}", 65,
            "data.videos: /dev/zero is not a path inside"
        ),
        (
            "data: {procedural: 1}", "data: {videos: [{file: a/../../b.mp4, weight: 1}]}", 65,
            "not a path inside the --data folder"
        ),
        (
            "data: {procedural: 1}", "data: {stills: {files: [../private.png], weight: 0.5}}", 65,
            "data.stills.files: ../private.png is not a path inside"
        ),
        (
            "data: {procedural: 1}", "data: {procedural: 1, stills: {files: [..], weight: 0}}", 65,
            "data.stills.files: .. is not a path inside"
        ),
        ("seed: 7", "seed: 7\nstart: nowhere", 66, "nowhere"),
        ("frames: [5, 1]", "frames: [4093, 1]", 65, "vae.training.frames is 4093"),
        ("latent_frames: 2", "latent_frames: 2049", 65, "transformer.training.latent_frames is"),
        ("size: 32, batch: 2", "size: 33, batch: 2", 65, "multiple of 16"),
    ])
    func refusesInvalidRecipes(_ found: String, _ replaced: String, _ code: Int32, _ words: String)
        throws
    {
        let wrong = try folder.file(
            "wrong.yaml",
            text: TinyTraining.recipe.replacing(found, with: replaced)
        )
        let outcome = try Program.run("train", wrong, "-o", folder.path("out"), "--device", "cpu")
        #expect(outcome.code == code)
        #expect(outcome.messages.contains(words), "\(outcome.messages)")
        #expect(try folder.names.sorted() == ["recipe.yaml", "wrong.yaml"])
    }

    /// A folder that no run created is not written to, whatever model layout it contains.
    @Test(arguments: [
        "Wan2.1_VAE.pth", "diffusion_pytorch_model.safetensors.index.json", "config.json",
        "model.pt",
        "google/umt5-xxl/spiece.model", "my.safetensors", "samples/vae-00000005.png",
        "events/vae/notes.txt", "vae/config.json",
    ])
    func refusesAForeignFolder(name: String) throws {
        let file = URL(fileURLWithPath: folder.path("out/" + name))
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try Data("precious".utf8).write(to: file)
        for option in [[], ["--resume"]] {
            let arguments = ["train", recipe, "-o", folder.path("out"), "--device", "cpu"]
            let outcome = try Program(arguments + option).end()
            #expect(outcome.code == 73, "\(outcome.messages)")
            #expect(outcome.messages.contains("no recipe.yaml"), "\(outcome.messages)")
            #expect(try Data(contentsOf: file) == Data("precious".utf8))
            #expect(try files("out") == [name])
        }
    }

    // MARK: - Helpers

    private func train(_ output: String, _ options: String...) throws -> Program {
        try Program(
            ["train", recipe, "-o", folder.path(output), "--device", "cpu", "--progress", "none"]
                + options
        )
    }

    private func isReached(_ moment: Moment) -> Bool {
        switch moment {
        case .writing(let place):
            do {
                return try FileManager.default.contentsOfDirectory(atPath: folder.path(place))
                    .contains { $0.contains(".swan-partial-") }
            } catch {
                // The folder does not exist yet.
                return false
            }
        case .after(let file): return FileManager.default.fileExists(atPath: folder.path(file))
        }
    }

    private func partialFiles(_ place: String) throws -> [String] {
        try files(place).filter { $0.contains(".swan-partial-") }
    }

    /// The files in a folder and its subfolders, or none if the folder does not exist.
    private func files(_ place: String) throws -> [String] {
        let found = FileManager.default.enumerator(atPath: folder.path(place))
        return (found?.compactMap { $0 as? String } ?? []).filter { name in
            var isFolder: ObjCBool = false
            let isThere = FileManager.default.fileExists(
                atPath: folder.path(place + "/" + name),
                isDirectory: &isFolder
            )
            return isThere && !isFolder.boolValue
        }
    }

    /// The files of a run, without its events, which contain the time.
    private func contents(_ place: String) throws -> [String: Data] {
        var contents: [String: Data] = [:]
        for name in try files(place) where !name.hasPrefix("events/") {
            contents[name] = try Data(
                contentsOf: URL(fileURLWithPath: folder.path(place + "/" + name))
            )
        }
        return contents
    }
}
