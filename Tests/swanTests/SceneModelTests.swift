import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import Testing

/// The way of a model of drawn scenes: `swan train`, `swan generate`, `swan bench tiny-t2v`.
@Suite(.timeLimit(.minutes(3))) struct SceneModelTests {
    @Test func trainedModelsGenerateAndAreMeasured() throws {
        let folder = try TemporaryDirectory()
        let recipe = folder.path("recipe.yaml")
        try TinyTraining.textToVideoRecipe.write(toFile: recipe, atomically: true, encoding: .utf8)
        let model = folder.path("model")
        let training = try Program(["train", recipe, "--output", model, "--device", "cpu"]).end()
        #expect(training.code == 0, "\(training.messages)")

        let video = folder.path("ball.mp4")
        let generated = try Program([
            "generate", "--model", model, "--prompt", "a red ball rolls left", "-o", video,
            "--device", "cpu",
        ]).end()
        #expect(generated.code == 0, "\(generated.messages)")
        // The size, the length and the steps are the recipe's.
        #expect(generated.messages.contains("13 frames of 32x32"), "\(generated.messages)")
        #expect(generated.messages.contains("2 steps"), "\(generated.messages)")

        let picture = try Program([
            "generate", "--model", model, "--prompt", "a ball", "--image", folder.path("a.png"),
            "-o", folder.path("b.mp4"),
        ]).end()
        #expect(picture.code != 0)

        let sheet = folder.path("sheet.png")
        let measured = try Program([
            "bench", "tiny-t2v", "--model", model, "--prompts", "3", "--sheet", sheet, "--json",
            "--check", "--device", "cpu",
        ]).end()
        // Nothing is learned in twelve steps.
        #expect(measured.code == 65, "\(measured.messages)")
        let report = try StreamTests.fields(measured.output)
        let figures = try #require(report["figures"] as? [[String: Any]])
        let names = figures.compactMap { $0["name"] as? String }
        #expect(Set(["met", "backdrop", "hue", "form", "heading", "pace"]).isSubset(of: names))
        #expect((report["missed"] as? [String])?.count == 3)
        let image = try readImage(sheet)
        #expect(image.width == 2 * 6 * 32 && image.height == 32)
    }

    @Test(arguments: [
        (["--model", "tiny", "--prompts", "0"], "number of prompts"),
        (["--model", "tiny", "--sheet", "a.jpg"], ".png"), (["--model", "nowhere"], "nowhere"),
        (["--model", "tiny"], "causal model"), ([], "--model"),
    ])
    func invalidOptionsAreRefused(options: [String], word: String) throws {
        let outcome = try Program(["bench", "tiny-t2v"] + options).end()
        #expect(outcome.code != 0 && outcome.messages.contains(word), "\(outcome.messages)")
    }
}
