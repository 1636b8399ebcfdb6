import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Untrusted names with line breaks, which must not forge lines in the program's output.
@Suite struct NameTests {
    private static let forged = "swan: error: forged"
    private static let name = "x\n\(forged)\n  sound\n"

    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    /// Expects the program to fail and to print the name, escaped, within one line.
    private func refused(_ code: Int32, _ arguments: [String]) throws {
        let outcome = try Program(arguments, in: folder.url.path).end()
        let said = outcome.text + "\n" + outcome.messages
        #expect(outcome.code == code, "\(said)")
        #expect(said.contains("\\u{a}\(Self.forged)\\u{a}"), "\(arguments): \(said)")
        for line in said.split(separator: "\n") {
            #expect(!line.hasPrefix(Self.forged) && line != "  sound", "\(arguments): \(said)")
        }
    }

    private func inspected(_ model: String, as code: Int32 = 65) throws {
        try refused(code, ["models", "inspect", model])
        try refused(code, ["models", "verify", model])
        try refused(
            code,
            [
                "generate", "--model", model, "--prompt", "a", "--size", "32x32", "--frames", "5",
                "--device", "cpu", "-o", "out.mp4",
            ]
        )
        #expect(try !folder.names.contains("out.mp4"))
    }

    private func copyOfAModel() throws -> String {
        let model = folder.path("model")
        let fixture = try GenerateFixture.shared.get()
        try FileManager.default.copyItem(atPath: fixture.path(.textToVideo), toPath: model)
        return model
    }

    /// The names of a missing weight and of a shard.
    @Test(arguments: [true, false]) func escapesNamesInAnIndex(namesAWeight: Bool) throws {
        let model = try copyOfAModel()
        let url = URL(fileURLWithPath: model + "/diffusion_pytorch_model.safetensors.index.json")
        let read = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
        var index = try #require(read as? [String: Any])
        var weights = try #require(index["weight_map"] as? [String: String])
        let some = try #require(weights.first)
        if namesAWeight {
            weights[Self.name] = some.value
        } else {
            weights[some.key] = Self.name + ".safetensors"
        }
        index["weight_map"] = weights
        try JSONSerialization.data(withJSONObject: index).write(to: url)
        try inspected(model)
    }

    @Test func escapesNamesOfFilesInAModel() throws {
        let model = try copyOfAModel()
        try FileManager.default.moveItem(
            atPath: model + "/Wan2.1_VAE.pth",
            toPath: model + "/" + Self.name + ".pth"
        )
        try inspected(model)
    }

    /// A folder may have any name, and a model in it can be used.
    @Test func escapesNamesOfFolders() throws {
        let model = folder.path(Self.name)
        let fixture = try GenerateFixture.shared.get()
        try FileManager.default.copyItem(atPath: fixture.path(.textToVideo), toPath: model)
        for command in ["inspect", "verify"] {
            let outcome = try Program(["models", command, model]).end()
            #expect(outcome.code == 0, "\(outcome.messages)")
            #expect(outcome.text.contains("\\u{a}\(Self.forged)\\u{a}"))
            #expect(!outcome.text.contains("\n\(Self.forged)"))
        }
        try FileManager.default.removeItem(atPath: model + "/Wan2.1_VAE.pth")
        try refused(65, ["models", "inspect", model])
        try refused(69, ["models", "inspect", model + "/none"])
        try refused(69, ["generate", "--model", model + "/none", "--prompt", "a", "-o", "out.mp4"])
    }

    @Test(arguments: [
        ("name: smallest", "name: NAME"), ("name: smallest", "name: smallest\nstart: NAME"),
        ("name: smallest", "name: smallest\nNAME: 1"), ("[none, sepia, night]", "[none, NAME]"),
        ("{procedural: 1}", "{videos: [{file: NAME, weight: 1}]}"),
        ("{procedural: 1}", "{stills: {files: [NAME], weight: 1}}"),
    ]) func escapesNamesInARecipe(_ found: String, _ replaced: String) throws {
        let quoted = "\"" + Self.name.replacing("\n", with: "\\n") + "\""
        let text = TinyTraining.recipe.replacing(
            found,
            with: replaced.replacing("NAME", with: quoted)
        )
        _ = try folder.file("recipe.yaml", text: text)
        try refused(65, ["train", "recipe.yaml", "-o", "out", "--device", "cpu"])
    }

    /// The YAML parser quotes lines of the file.
    @Test func escapesLinesOfInvalidYAML() throws {
        _ = try folder.file("recipe.yaml", text: "a: 1\n\(Self.forged): 'x\nb: [\n")
        let outcome = try Program(["train", "recipe.yaml", "-o", "out"], in: folder.url.path).end()
        #expect(outcome.code == 65)
        #expect(!outcome.messages.contains("\n\(Self.forged)"), "\(outcome.messages)")
    }

    @Test func refusesControlCharactersInNamesOfLooks() throws {
        let model = folder.path("model")
        try FileManager.default.copyItem(atPath: Fixture.shared.get().model, toPath: model)
        let path = model + "/stream.yaml"
        let looks = "looks: {no_change: [a], known: [{name: \"x\\n\(Self.forged)\", phrases: [b]}]}"
        let text = try String(contentsOfFile: path, encoding: .utf8) + "\n" + looks + "\n"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let outcome = try Program(["styles", "--model", model]).end()
        #expect(outcome.code == 65)
        #expect(outcome.messages.contains("without control characters"), "\(outcome.messages)")
        #expect(!outcome.text.contains(Self.forged))
    }
}
