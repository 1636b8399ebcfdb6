import Foundation
import GoldenSupport
import SwanMedia
import SwanPipelines
import Testing
import Torch
import SwanSchedulers

/// Compares whole pipelines with diffusers' for the same noise, embeddings and pictures.
@Suite struct GenerationParityTests {
    @Test(
        arguments: [
            "pipeline_t2v", "pipeline_t2v_experts", "pipeline_i2v", "pipeline_flf2v",
            "pipeline_i2v_experts", "pipeline_ti2v", "pipeline_vace",
        ],
        Device.tested
    )
    func matchesDiffusers(name: String, device: Device) throws {
        let fixture = try PipelineGolden(name)
        for (run, settings) in fixture.runs.sorted(by: { $0.key < $1.key }) {
            let result = try fixture.generate(run, settings, on: device)
            try expectNear(
                result.latents,
                fixture.golden.output("\(run)/latents"),
                "\(name) \(run)"
            )
            guard fixture.golden.keys.contains("output/\(run)/pixels") else { continue }
            // Frames have 8 bits: rounding is half a level at most.
            let pixels = try fixture.golden.output("\(run)/pixels")
            try expectClose(
                result.pixels,
                pixels,
                relative: 0,
                absolute: 0.5 / 255 + 1e-4,
                "\(name) \(run)"
            )
        }
    }

    @Test(arguments: [
        ("pipeline_t2v", "unipc5", FlowSolverKind.unipc, "original_unipc"),
        ("pipeline_t2v", "unipc5", .dpmpp, "original_dpm"),
        ("pipeline_t2v_experts", "unipc", .dpmpp, "original_dpm"),
        ("pipeline_ti2v", "image_unipc", .unipc, "original_unipc"),
        ("pipeline_ti2v", "image_unipc", .dpmpp, "original_dpm"),
    ])
    func matchesWan(
        name: String,
        run: String,
        solver: FlowSolverKind,
        output: String
    ) throws {
        let fixture = try PipelineGolden(name)
        let settings = try #require(fixture.runs[run])
        let result = try fixture.generate(run, settings) {
            $0.settings.schedule = .wan
            $0.settings.solver = solver
            if settings.steps == 9 { $0.settings.steps = 9 }
        }
        try expectNear(result.latents, fixture.golden.output("\(output)/latents"), output)
    }

    /// Neither batched guidance nor loading blocks on demand changes the result.
    @Test(
        arguments: ["pipeline_t2v", "pipeline_i2v", "pipeline_ti2v", "pipeline_vace"],
        Device.tested
    )
    func savingMemoryChangesNothing(name: String, device: Device) throws {
        let fixture = try PipelineGolden(name)
        for (run, settings) in fixture.runs {
            for batches in [false, true] {
                let result = try fixture.generate(run, settings, on: device, offload: .block) {
                    $0.settings.batchesGuidance = batches
                }
                try expectNear(
                    result.latents,
                    fixture.golden.output("\(run)/latents"),
                    "\(name) \(run), batch: \(batches)"
                )
            }
        }
    }

    /// A tiny threshold reuses no step. A threshold of 1 reuses every step after the first.
    @Test func firstBlockCacheReusesSteps() throws {
        let fixture = try PipelineGolden("pipeline_t2v")
        let settings = try #require(fixture.runs["unipc5"])
        let expected = try fixture.golden.output("unipc5/latents")
        let exact = try fixture.generate("unipc5", settings) { $0.settings.cacheThreshold = 1e-9 }
        try expectNear(exact.latents, expected, "nothing is reused")
        #expect(exact.reused == 0)
        let some = try fixture.generate("unipc5", settings) { $0.settings.cacheThreshold = 0.8 }
        let error = try (some.latents - expected).norm().item() / expected.norm().item()
        #expect((1..<settings.steps).contains(some.reused))
        #expect(error > 1e-4 && error < 1, "\(some.reused) steps reused: \(error)")
        let all = try fixture.generate("unipc5", settings) { $0.settings.cacheThreshold = 1 }
        #expect(all.reused == settings.steps - 1)
    }

    /// Expects an error below 1e-4 of the norm of `expected`.
    private func expectNear(_ actual: Tensor, _ expected: Tensor, _ what: String) throws {
        try #require(actual.shape == expected.shape, "\(what)")
        let error = try (actual - expected).norm().item() / expected.norm().item()
        #expect(error < 1e-4, "\(what): the relative error is \(error)")
    }
}

/// The golden of a pipeline as a folder in diffusers' layout.
struct PipelineGolden {
    let golden: Golden
    let runs: [String: Run]
    private let folder: TemporaryDirectory

    struct Run: Decodable {
        let solver: String
        let shift, guidance: Double
        let guidance_2, conditioning_scale: Double?
        let steps, frames, height, width: Int
    }

    init(_ name: String) throws {
        golden = try Golden(name)
        folder = try TemporaryDirectory()
        struct Config: Decodable {
            let runs: [String: Run]
            let boundary_ratio: Double?
        }
        let config = try golden.config(Config.self)
        runs = config.runs
        let parts = try #require(
            try JSONSerialization.jsonObject(with: golden.configData) as? [String: Any]
        )
        let shared = try Golden("pipeline_vae21")
        for part in ["transformer", "transformer_2", "vae"] {
            let owner = part == "vae" && parts[part] == nil ? shared : golden
            let ownerParts = try JSONSerialization.jsonObject(with: owner.configData)
            guard let values = (ownerParts as? [String: Any])?[part] else { continue }
            try write(JSONSerialization.data(withJSONObject: values), "\(part)/config.json")
            try Safetensors.write(
                owner.tensors(under: "weights_diffusers/\(part)"),
                to: folder.path("\(part)/diffusion_pytorch_model.safetensors")
            )
        }
        let boundary = config.boundary_ratio.map { ["boundary_ratio": $0] } ?? [:]
        try write(JSONSerialization.data(withJSONObject: boundary), "model_index.json")
    }

    private func write(_ data: Data, _ name: String) throws {
        let url = URL(fileURLWithPath: folder.path(name))
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try data.write(to: url)
    }

    /// Swan's result for a run's inputs: latents, and pixels [F, 3, H, W] in [0, 1].
    func generate(
        _ name: String,
        _ run: Run,
        on device: Device = .cpu,
        offload: GenerationOptions.Offload = .model,
        _ change: (inout GenerationRequest) -> Void = { _ in }
    ) throws -> (latents: Tensor, pixels: Tensor, reused: Int) {
        var options = GenerationOptions()
        options.device = device.description
        options.offload = offload
        options.dtype = .float32
        let model = try GenerationModel(folder.url.path, options: options)
        var request = GenerationRequest(prompt: name)
        request.initialLatents = try golden.input("\(name)/noise")
        request.promptEmbeddings = try golden.input("\(name)/text").unsqueezed(0)
        request.negativeEmbeddings = try golden.input("\(name)/negative").unsqueezed(0)
        request.settings.size = GenerationSettings.PictureSize(width: run.width, height: run.height)
        request.settings.frames = run.frames
        request.settings.steps = run.steps
        request.settings.shift = run.shift
        request.settings.solver = run.solver == "euler" ? .euler : .unipc
        if let low = run.guidance_2 {
            (request.settings.highNoiseGuidance, request.settings.lowNoiseGuidance) = (
                run.guidance, low
            )
        } else {
            request.settings.guidance = run.guidance
        }
        let keys = Set(golden.keys)
        if keys.contains("input/\(name)/image") { request.image = try picture("\(name)/image") }
        if keys.contains("input/\(name)/last_image") {
            request.lastImage = try picture("\(name)/last_image")
        }
        if keys.contains("input/\(name)/image_embeddings") {
            // [images, 257, C] -> one list
            let tokens = try golden.input("\(name)/image_embeddings")
            request.imageEmbeddings = try tokens.reshaped(1, -1, tokens.size(2))
        }
        if keys.contains("input/\(name)/video") {
            var control = GenerationRequest.Control()
            control.video = try pictures("\(name)/video")
            control.masks = try pictures("\(name)/mask")
            if keys.contains("input/\(name)/reference") {
                control.references = [try picture("\(name)/reference")]
            }
            control.scale = run.conditioning_scale ?? 1
            request.control = control
        }
        change(&request)
        var frames: [VideoFrame] = []
        let video = try VideoGenerator(model).generate(request) { event in
            if case .frames(let part, _) = event { frames += part }
        }
        let pixels = try stacked(
            frames.map { frame in
                try Tensor(frame.pixels, [frame.height, frame.width, 3]).permuted(2, 0, 1)
                    .to(.float32) / 255
            }
        )
        return (try video.latents.to(.cpu), pixels, video.reusedSteps)
    }

    private func pictures(_ name: String) throws -> [VideoFrame] {
        try golden.input(name).unbound(0).map { try picture($0) }
    }

    private func picture(_ name: String) throws -> VideoFrame {
        try picture(golden.input(name))
    }

    private func picture(_ pixels: Tensor) throws -> VideoFrame {
        try VideoFrame(
            width: pixels.size(1),
            height: pixels.size(0),
            pixels: pixels.array(of: UInt8.self)
        )
    }
}
