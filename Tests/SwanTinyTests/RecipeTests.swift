import Foundation
import GoldenSupport
import SwanCheckpoints
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem
import SwanModels

@Suite("Recipes")
struct RecipeTests {
    /// The bundled weights were trained with the shipped recipe, and can be trained further with
    /// it.
    @Test func shippedRecipeMatchesTheWeights() throws {
        let recipe = try Recipe(contentsOf: Self.file("configs/tiny.yaml"))
        #expect(recipe.name == "swan-tiny")
        _ = try StartModel("tiny", for: recipe)
        let folder = try #require(BundledModels.folder("tiny"))
        for path in [
            "vae/diffusion_pytorch_model", "transformer/diffusion_pytorch_model",
            "text_encoder/model",
        ] {
            let file = try SafetensorsFile(path: "\(folder)/\(path).safetensors")
            #expect(try Recipe(yaml: #require(file.metadata["recipe"])) == recipe)
        }
    }

    /// The bundled model contains the list of looks that training would write.
    @Test func bundledModelKnowsTheLooksOfItsRecipe() throws {
        let recipe = try Recipe(contentsOf: Self.file("configs/tiny.yaml"))
        #expect(try KnownStyles.ofModel("tiny") == KnownStyles(recipe.styles))
        let folder = try TemporaryDirectory()
        let model = try TrainingFolder(folder.path("out"), recipe: recipe, resume: false)
        try model.saveTransformer([:], of: recipe)
        let bundled = try #require(BundledModels.folder("tiny"))
        #expect(
            try String(contentsOfFile: folder.path("out/stream.yaml"), encoding: .utf8)
                == String(contentsOfFile: bundled + "/stream.yaml", encoding: .utf8)
        )
    }

    @Test func modelsWithoutANoChangeStyleListNoLooks() throws {
        #expect(KnownStyles([.sepia, .night]) == nil)
        #expect(KnownStyles([.none, .sepia])?.known.map(\.name) == ["sepia"])
    }

    /// A bundled style can be written out or given by its name.
    @Test func bundledStylesCanBeWrittenOut() throws {
        for style in Style.bundled where !style.changesNothing {
            let plain = Style(name: style.name, phrasings: style.phrasings, filters: style.filters)
            let text = try JSONEncoder().encode(plain)
            #expect(try JSONDecoder().decode(Style.self, from: text) == style)
            // A title is also a prompt for the style.
            #expect(style.phrasings.contains(style.title))
        }
    }

    /// The custom style in docs/training.md, with the rest from the shipped recipe.
    @Test func customStyleOfTheGuideIsAValidRecipe() throws {
        let guide = try String(contentsOfFile: Self.file("docs/training.md"), encoding: .utf8)
        let blocks = guide.components(separatedBy: "```yaml\n")
        let block = try #require(blocks.first { $0.hasPrefix("name: with-cyanotype") })
        let example = try #require(block.components(separatedBy: "```").first)
        let shipped = try String(contentsOfFile: Self.file("configs/tiny.yaml"), encoding: .utf8)
        let rest = shipped.split(separator: "\n").filter {
            !$0.hasPrefix("name:") && !$0.hasPrefix("styles:")
        }
        let recipe = try Recipe(yaml: example + rest.joined(separator: "\n"))
        #expect(recipe.styles.count == 10 && recipe.styles.last?.name == "cyanotype")
        let looks = try #require(KnownStyles(recipe.styles))
        #expect(looks.known.count == 9 && looks.recognizes("an engineering blueprint of a house"))
        #expect(!looks.recognizes("print this page") && looks.recognizes("sepia"))
        _ = try StartModel(#require(recipe.start), for: recipe)
    }

    /// The path of a file in the repository.
    private static func file(_ path: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../\(path)").standardizedFileURL.path
    }

    @Test func recipesRoundTripThroughYAML() throws {
        let recipe = try TinyRecipe.make()
        #expect(try Recipe(yaml: recipe.yaml()) == recipe)
    }

    @Test func namesUnknownKeys() throws {
        let text = TinyRecipe.text
            .replacing("seed: 7", with: "seed: 7\nsede: 8")
            .replacing("styled: 0.5", with: "styled: 0.5, stiled: 1")
        let error = #expect(throws: SwanError.self) { try Recipe(yaml: text) }
        #expect(error?.code == .invalidRecipe)
        #expect(
            error?.message == "unknown keys: sede (did you mean 'seed'?), "
                + "vae.training.stiled (did you mean 'styled'?)"
        )
    }

    @Test(arguments: [
        ("sentences: 300", "", "text.sentences"),
        ("sentences: 300", "sentences: 300\n  learning_rate: 0", "text.learning_rate is 0"),
        ("average_decay: 0.9", "average_decay: fast", "average_decay"),
        ("average_decay: 0.9", "average_decay: 0.9\n    muon: true", "vae.optimizer: muon"),
        ("styles: [none, sepia, night]", "styles: [none, sepias]", "sepias"),
        ("frames: [5, 1]", "frames: [5, 2]", "vae.training.frames"),
        ("in_dim: 8", "in_dim: 9", "in_dim"),
        ("noise_spread: 0.1", "noise_spread: 0.25", "noise_spread"),
        ("noise_spread: 0.1", "noise_spread: 0.4", "at most noise_scale"),
        ("fps: 16", "fps: 16\n  timestep_offset: 50", "timestep_offset must be the same"),
        ("procedural: 1", "procedural: -1", "data"),
        ("every_steps: 5", "every_steps: 0", "samples"),
        ("vocab_size: 400", "vocab_size: 259", "vocab_size"),
        ("latents_std: [1,", "latents_std: [1, 1,", "latents_std has 9 values"),
        ("height: 64", "height: 60", "multiples of 16"),
        ("night]", "{name: b, phrasings: [b], filters: [{blurr: 1}]}]", "'blurr'"),
        ("night]", "{name: b, phrasings: [b], filters: [{blur: 16}]}]", "b cannot be rendered at"),
        ("night]", "{name: b, phrasings: [b], filters: [{mosaic: 7}]}]", "at 32x32 pixels"),
        (
            "night]", "{name: b, phrasings: [b], filters: [{blur: 1, mosaic: 8}]}]",
            "not {blur, mosaic}"
        ),
    ])
    func namesInvalidValues(_ found: String, _ replaced: String, _ name: String) throws {
        let text = TinyRecipe.text.replacing(found, with: replaced)
        let error = #expect(throws: SwanError.self) {
            let recipe = try Recipe(yaml: text)
            _ = try ClipMix(recipe.data, seed: 0)
        }
        #expect(error?.code == .invalidRecipe)
        #expect(error?.message.contains(name) == true, "\(error?.message ?? "")")
    }

    /// A recipe with a hostile value in place of any number is refused, without a trap.
    @Test(arguments: [
        "threads: 1", "warm_up_steps: 2", "learning_rate: 1.0e-3", "decay_from: 0.5",
        "final_rate: 0.1", "betas: [0.9, 0.99]", "weight_decay: 0.01", "maximum_gradient_norm: 0.5",
        "average_decay: 0.9", "steps: 6", "linear_steps: 2", "batch: 1", "size: 32",
        "frames: [5, 1]", "styled: 0.5", "latent_noise: 0.02", "perceptual: 0.02",
        "divergence: 1.0e-5", "base_dim: 4", "z_dim: 8", "num_res_blocks: 1", "dim_mult: [1, 2, 3]",
        "vocab_size: 400", "d_model: 16", "sentences: 300", "dim: 48", "text_len: 16",
        "patch_size: [1, 2, 2]", "noise_scale: 0.3", "later_timesteps: [75, 50]",
        "latent_frames: 2", "window: 2", "pool: 3", "first_clips: 2", "steps_per_clip: 1",
        "every_steps: 4", "every_minutes: 5", "kept: 2", "clips: 2", "every_steps: 5",
        "denoising_step_list: [200, 75, 0]", "timestep_shift: 1", "num_kv_cache: 2",
        "num_frame_per_block: 1", "num_sink_tokens: 0", "height: 64", "fps: 16",
    ])
    func refusesHostileNumbers(_ line: String) throws {
        let key = String(line.prefix { $0 != ":" })
        for value in [
            "-9223372036854775808", "9223372036854775807", "1000000000000", "1e300", "-1e300",
            ".nan", ".inf", "[9223372036854775807]", "[.nan, .inf]", "[]",
        ] {
            let text = TinyRecipe.text.replacing(line, with: "\(key): \(value)")
            #expect(text != TinyRecipe.text)
            let error = #expect(throws: SwanError.self, "\(key): \(value)") {
                try Recipe(yaml: text)
            }
            #expect(error?.code == .invalidRecipe)
        }
    }

    /// Each size is valid, but the linear code does not support the combination.
    @Test func refusesSizesThatDoNotFitTogether() throws {
        let text = TinyRecipe.text.replacing("\n    base_dim: 4", with: "\n    base_dim: 7")
        let recipe = try Recipe(yaml: text)
        #expect(recipe.vae.model.baseDim == 7)
        let folder = try TemporaryDirectory()
        let error = #expect(throws: SwanError.self) {
            try Trainer.run(recipe: recipe, output: folder.path("out"))
        }
        #expect(error?.code == .invalidRecipe, "\(error?.message ?? "")")
    }

    @Test func limitsTimestepsToAThousand() throws {
        let text = TinyRecipe.text
            .replacing("noise_spread: 0.1", with: "noise_spread: 0.1\n    timestep_offset: 900")
            .replacing("fps: 16", with: "fps: 16\n  timestep_offset: 900")
        let error = #expect(throws: SwanError.self) { try Recipe(yaml: text) }
        #expect(error?.message.contains("at most 1000") == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        ("seed: 7", "seed: 8", "seed is 8, the run began with 7"),
        ("steps: 6,", "steps: 7,", "vae.training.steps is 7, the run began with 6"),
        (
            "frames: [5, 1]", "frames: [5]",
            "vae.training.frames is a list of 1, the run began with a"
        ),
        ("[none, sepia, night]", "[none, night, sepia]", "styles[1]"),
        (
            "full_noise: 0.3", "full_noise: 0.3\n    precision: bfloat16",
            "transformer.training.precision"
        ),
        ("every_steps: 4", "every_steps: 5", nil),
        ("threads: 1", "threads: 2", nil),
        ("samples: {every_steps: 5, clips: 2}", "", nil),
    ])
    func resumesOnlyWithTheRecipeOfTheRun(
        _ found: String,
        _ replaced: String,
        _ words: String?
    ) throws {
        let begun = try TinyRecipe.make()
        let recipe = try Recipe(yaml: TinyRecipe.text.replacing(found, with: replaced))
        let folder = try TemporaryDirectory()
        _ = try TrainingFolder(folder.path("out"), recipe: begun, resume: false)
        let refusal = failure {
            _ = try TrainingFolder(folder.path("out"), recipe: recipe, resume: true)
        }
        guard let words else {
            #expect(refusal == nil)
            #expect(try Recipe(contentsOf: folder.path("out/recipe.yaml")) == recipe)
            return
        }
        let error = try #require(refusal as? SwanError)
        #expect(error.code == .invalidRecipe)
        #expect(error.message.hasPrefix(words), "\(error.message)")
        #expect(error.message.contains("out/recipe.yaml"))
        #expect(try Recipe(contentsOf: folder.path("out/recipe.yaml")) == begun)
    }

    @Test func leavesTheFolderOfAnotherModelAlone() throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: folder.path("out/vae"),
            withIntermediateDirectories: true
        )
        _ = try folder.file("out/vae/.config.swan-partial-1.json", text: "another's")
        for resume in [false, true] {
            let error = #expect(throws: SwanError.self) {
                try TrainingFolder(folder.path("out"), recipe: TinyRecipe.make(), resume: resume)
            }
            #expect(error?.code == .cannotWrite)
            #expect(error?.message.contains("contains vae but no recipe.yaml") == true)
        }
        #expect(try folder.names == ["out"])
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path("out/vae"))
                == [".config.swan-partial-1.json"]
        )
    }

    @Test func refusesAFolderInUse() throws {
        let folder = try TemporaryDirectory()
        let recipe = try TinyRecipe.make()
        let first = try TrainingFolder(folder.path("out"), recipe: recipe, resume: false)
        let error = #expect(throws: SwanError.self) {
            try TrainingFolder(folder.path("out"), recipe: recipe, resume: true)
        }
        #expect(error?.code == .cannotWrite)
        #expect(error?.message.contains("another training run is using") == true)
        withExtendedLifetime(first) {}
    }

    @Test func removesThePartialFilesOfAKilledRun() throws {
        let folder = try TemporaryDirectory()
        let recipe = try TinyRecipe.make()
        _ = try TrainingFolder(folder.path("out"), recipe: recipe, resume: false)
        _ = try Checkpoints(folder: folder.url.appending(path: "out"), stage: "vae", kept: 1)
        let names = [
            "step-00000002.safetensors", ".step-00000004.swan-partial-17.safetensors",
            ".dat.nosync386B.0lPaIp",
        ]
        for name in names { _ = try folder.file("out/vae/\(name)", text: "") }
        _ = try TrainingFolder(folder.path("out"), recipe: recipe, resume: true)
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.path("out/vae"))
        #expect(left == [names[0]])
    }

    @Test func samplesAreOptional() throws {
        let line = "samples: {every_steps: 5, clips: 2}"
        let silent = try Recipe(yaml: TinyRecipe.text.replacing(line, with: ""))
        #expect(silent.samples == nil)
        let partly = try Recipe(yaml: TinyRecipe.text.replacing("every_steps: 5, ", with: ""))
        #expect(partly.samples == SampleOptions(clips: 2))
    }
}
