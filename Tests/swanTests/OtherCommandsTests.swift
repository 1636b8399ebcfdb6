import Foundation
import GoldenSupport
import ModelSupport
import Testing

/// Commands other than `swan stream`.
@Suite struct OtherCommandsTests {
    @Test func printsVersionAndHelp() throws {
        let version = try Program.run("--version")
        #expect(version.code == 0)
        #expect(version.text.split(separator: ".").count == 3)
        for command in [
            [], ["stream"], ["doctor"], ["models"], ["bench"], ["bench", "tiny-quality"], ["serve"],
            ["mcp"],
        ] {
            let help = try Program(command + ["--help"]).end()
            #expect(help.code == 0)
            #expect(help.text.contains("USAGE: swan"))
            #expect(help.messages.isEmpty)
        }
    }

    @Test func doctorListsItsFindings() throws {
        let outcome = try Program.run("doctor")
        for word in ["libtorch", "processor", "memory", "GPU", "FFmpeg", "H.264", "model tiny"] {
            #expect(outcome.text.contains(word), "\(word)")
        }
        #expect(outcome.code == (outcome.text.contains("MISSING") ? 69 : 0))
        let json = try StreamTests.fields(try Program.run("doctor", "--json").output)
        #expect(json["findings"] is [Any])
    }

    @Test func inspectsModels() throws {
        let fixture = try Fixture.shared.get()
        let outcome = try Program.run("models", "inspect", fixture.model)
        #expect(outcome.code == 0)
        for word in ["2 layers of width 32", "float32", "d_model 16", "multiples of 16"] {
            #expect(outcome.text.contains(word), "\(word) in \(outcome.text)")
        }
        let json = try StreamTests.fields(
            try Program.run("models", "inspect", fixture.model, "--json").output
        )
        let parts = try #require(json["parts"] as? [[String: Any]])
        #expect(
            parts.map { $0["name"] as? String } == [
                "transformer", "vae", "text_encoder", "tokenizer",
            ]
        )
        #expect(parts.allSatisfy { ($0["bytes"] as? Int ?? 0) > 0 })
    }

    @Test func verifiesModels() throws {
        let fixture = try Fixture.shared.get()
        let outcome = try Program.run("models", "verify", fixture.model)
        #expect(outcome.code == 0)
        #expect(outcome.text.hasSuffix("  sound\n"))
        let json = try StreamTests.fields(
            try Program.run("models", "verify", fixture.model, "--json").output
        )
        #expect((json["parts"] as? [Any])?.count == 4)
        let directory = try TemporaryDirectory()
        let broken = directory.path("broken")
        try FileManager.default.copyItem(atPath: fixture.model, toPath: broken)
        try FileManager.default.removeItem(atPath: broken + "/vae")
        let unsound = try Program.run("models", "verify", broken)
        #expect(unsound.code == 65)
        #expect(unsound.text.contains("PROBLEM: missing: vae"))
    }

    @Test func convertsWeights() throws {
        let fixture = try Fixture.shared.get()
        let directory = try TemporaryDirectory()
        let (source, there) = (fixture.model + "/transformer", directory.path("there"))
        let outcome = try Program.run("models", "convert", source, there, "--to", "diffusers")
        #expect(outcome.code == 0)
        #expect(outcome.text == there + "/diffusion_pytorch_model.safetensors\n")
        #expect(try Program.run("models", "convert", source, there).code == 73)
        let file = directory.path("back.safetensors")
        let back = try Program.run(
            "models",
            "convert",
            there,
            file,
            "--to",
            "original",
            "--dtype",
            "bfloat16",
            "--json"
        )
        #expect(back.code == 0)
        #expect(try StreamTests.fields(back.output)["part"] as? String == "transformer")
        #expect(try Program.run("models", "convert", "/nowhere", file).code == 66)
        #expect(try Program.run("models", "convert", source, file, "--shard-size", "5").code == 64)
        let other = try Program.run("models", "convert", source, directory.path("out.pth"))
        #expect(other.code == 64 && other.messages.contains("ends in .safetensors"))
        #expect(try directory.names.sorted() == ["back.safetensors", "there"])
    }

    @Test func listsModels() throws {
        let outcome = try Program.run("models", "list")
        #expect(outcome.code == 0)
        #expect(outcome.text.hasPrefix("tiny\t"))
        #expect(outcome.text.hasSuffix("\tpencil sketch, \(Self.otherLooks)\n"))
        let json = try Program.run("models", "list", "--json").text
        #expect(json.contains("\"pixel art\""))
    }

    private static let otherLooks =
        "neon edges, thermal camera, at night, sepia, comic, pixel art, autumn"

    @Test func listsTheLooksOfAModel() throws {
        let outcome = try Program.run("styles")
        #expect(outcome.code == 0 && outcome.messages.isEmpty)
        let lines = outcome.text.split(separator: "\n")
        #expect(lines.count == 8)
        #expect(lines[0].hasPrefix("pencil sketch   sketch, pencil drawing, "))
        #expect(try Program.run("styles", "--model", "tiny").text == outcome.text)
        let json = try StreamTests.fields(try Program.run("styles", "--json").output)
        let looks = try #require(json["looks"] as? [String: Any])
        let known = try #require(looks["known"] as? [[String: Any]])
        #expect(known.map { $0["name"] as? String }.last == "autumn")
        #expect((looks["no_change"] as? [String])?.first == "no change")

        let fixture = try Fixture.shared.get()
        let other = try Program.run("styles", "--model", fixture.model)
        #expect(other.code == 0 && other.text.contains("any prompt"))
        let none = try Program.run("styles", "--model", fixture.model, "--json")
        #expect(try StreamTests.fields(none.output)["looks"] is NSNull)
        #expect(try Program.run("styles", "--model", "/nowhere").code == 69)
    }

    /// Other files are refused with the same message as by `swan models inspect`.
    @Test(arguments: ["/dev/zero", "/etc/passwd", "empty"])
    func refusesToListTheLooksOfOtherFiles(_ model: String) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: folder.path("empty"),
            withIntermediateDirectories: false
        )
        let inspected = try Program.run("models", "inspect", model, in: folder.url.path)
        let outcome = try Program.run("styles", "--model", model, in: folder.url.path)
        #expect(outcome.code == 65 && inspected.code == 65)
        #expect(outcome.text.isEmpty && !outcome.messages.isEmpty)
        #expect(model == "empty" || outcome.messages == inspected.messages)
    }

    @Test func refusesAMissingModel() throws {
        #expect(try Program.run("models", "inspect", "/nowhere").code == 69)
    }
}
