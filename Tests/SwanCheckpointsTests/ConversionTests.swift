import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanModels
import SwanPipelines
import Testing
import Torch
import TorchNN

@Suite struct ConversionTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Writes a golden's weights and configuration to a folder.
    private func folder(
        _ golden: String,
        _ naming: String = "weights",
        dtype: DType = .float32
    ) throws -> String {
        let golden = try Golden(golden)
        let path = directory.path("source-\(UUID().uuidString)")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try golden.configData.write(to: URL(filePath: path + "/config.json"))
        try Safetensors.write(
            golden.weights(named: naming).mapValues { try $0.to(dtype) },
            metadata: ["made_by": "a test"],
            to: path + "/diffusion_pytorch_model.safetensors"
        )
        return path
    }

    /// The dtype, shape and bytes of each tensor in a checkpoint.
    private func contents(_ path: String) throws -> [String: [String]] {
        let checkpoint = try Checkpoint.open(path)
        var contents: [String: [String]] = [:]
        for key in checkpoint.keys {
            let tensor = try checkpoint.tensor(key, []).contiguous()
            let bytes = try tensor.withUnsafeBytes { Data($0) }
            contents[key] = ["\(tensor.dtype)", "\(tensor.shape)", bytes.base64EncodedString()]
        }
        return contents
    }

    private func convert(
        _ source: String,
        _ destination: String,
        to naming: CheckpointNames.Naming? = nil,
        dtype: DType? = nil,
        shardBytes: Int? = nil
    ) throws -> CheckpointConversion.Result {
        var conversion = CheckpointConversion()
        conversion.naming = naming
        conversion.dtype = dtype
        if let shardBytes { conversion.shardBytes = shardBytes }
        return try conversion(source, to: destination)
    }

    private func fields(_ path: String) throws -> [String: Any] {
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
        return try #require(json as? [String: Any])
    }

    /// From Wan to diffusers and back, then from diffusers to Wan and back. No byte may change.
    @Test(arguments: [
        ("wan_t2v_a", "weights_diffusers"), ("wan_ti2v_per_token", "weights_diffusers"),
        ("wan_vae21_a", "weights_diffusers"), ("wan_vae22", "weights_diffusers"),
        ("umt5_a", "weights_hf"),
    ])
    func roundTripsAreExact(_ name: String, _ theirs: String) throws {
        let golden = try Golden(name)
        let source = try folder(name)
        let there = directory.path("there")
        let back = directory.path("back")
        let result = try convert(source, there, to: .diffusers)
        let file = try #require(result.files.first)
        #expect(result.files.count == 1)
        let names = try #require(CheckpointNames(golden.weights(named: theirs).keys))
        #expect(
            try Checkpoint.open(file).keys.sorted()
                == golden.weights(named: theirs).keys.filter { names.original($0) != nil }.sorted()
        )
        #expect(try Checkpoint.open(file).metadata == ["format": "pt", "made_by": "a test"])
        _ = try convert(there, back + ".safetensors", to: .original)
        let original = source + "/diffusion_pytorch_model.safetensors"
        #expect(try contents(back + ".safetensors") == contents(original))

        let other = try folder(name, theirs)
        let mine = directory.path("mine")
        let again = directory.path("again")
        let converted = try convert(other, mine, to: .original)
        #expect(try contents(#require(converted.files.first)) == contents(original))
        _ = try convert(mine, again, to: .diffusers)
        #expect(try contents(#require(convert(again, again + "2").files.first)) == contents(file))
    }

    /// A converted `config.json` describes the same network in either layout.
    @Test func writesConfigurations() throws {
        for (name, classOfDiffusers) in [
            ("wan_t2v_a", "WanTransformer3DModel"), ("wan_ti2v_per_token", "WanTransformer3DModel"),
        ] {
            let golden = try Golden(name)
            let config: WanConfig = try golden.config()
            let there = directory.path(name)
            let back = directory.path(name + "-back")
            _ = try convert(folder(name), there, to: .diffusers)
            _ = try convert(there, back, to: .original)
            let theirs = try fields(there + "/config.json")
            #expect(theirs["_class_name"] as? String == classOfDiffusers)
            #expect(theirs["attention_head_dim"] as? Int == config.headDim)
            #expect(theirs["image_dim"] is NSNull)
            #expect(theirs["qk_norm"] as? String == "rms_norm_across_heads")
            let ours = try fields(back + "/config.json")
            #expect(ours["_class_name"] as? String == "WanModel")
            #expect(ours["num_heads"] as? Int == config.heads)
            for folder in [there, back] {
                var read = try JSONDecoder().decode(
                    WanConfig.self,
                    from: Data(contentsOf: URL(filePath: folder + "/config.json"))
                )
                // diffusers' configuration does not contain this value.
                read.textLen = config.textLen
                #expect(read == config)
            }
        }
        for name in ["wan_vae21_a", "wan_vae22"] {
            let there = directory.path(name)
            _ = try convert(folder(name), there, to: .diffusers)
            let theirs = try fields(there + "/config.json")
            #expect(theirs["_class_name"] as? String == "AutoencoderKLWan")
            let config: WanVAEConfig = try Golden(name).config()
            #expect(theirs["scale_factor_spatial"] as? Int == config.spatialStride)
            #expect(theirs["latents_mean"] as? [Double] == config.latentsMean)
        }
        let text = directory.path("umt5")
        _ = try convert(folder("umt5_a"), text, to: .diffusers)
        #expect(try fields(text + "/config.json")["model_type"] as? String == "umt5")
        let names = try FileManager.default.contentsOfDirectory(atPath: text).sorted()
        #expect(names == ["config.json", "model.safetensors"])
    }

    @Test func limitsTheSizeOfShards() throws {
        let source = try folder("wan_t2v_a")
        let there = directory.path("shards")
        let limit = 60_000
        let result = try convert(source, there, to: .diffusers, shardBytes: limit)
        #expect(result.files.count > 3)
        let count = String(format: "%05d", result.files.count)
        #expect(
            result.files[0].hasSuffix("diffusion_pytorch_model-00001-of-\(count).safetensors")
        )
        var sum = 0
        for file in result.files {
            let shard = try SafetensorsFile(path: file)
            let size = try shard.keys.reduce(0) { try $0 + shard.tensor($1).byteCount }
            #expect(size <= limit || shard.keys.count == 1)
            sum += size
        }
        let index = there + "/diffusion_pytorch_model.safetensors.index.json"
        let metadata = try fields(index)["metadata"] as? [String: Int]
        #expect(metadata?["total_size"] == sum && sum == result.bytes)
        #expect(try Checkpoint.open(index).metadata["made_by"] == "a test")
        let whole = directory.path("whole.safetensors")
        _ = try convert(there, whole, to: .original)
        let original = source + "/diffusion_pytorch_model.safetensors"
        #expect(try contents(whole) == contents(original))
    }

    @Test func convertsDTypes() throws {
        let source = try folder("umt5_a")
        let file = directory.path("half.safetensors")
        _ = try convert(source, file, dtype: .bfloat16)
        let half = try Checkpoint.open(file)
        for (key, tensor) in try Golden("umt5_a").weights {
            #expect(half.dtype(key) == .bfloat16)
            try expectClose(half.tensor(key, []), tensor, relative: 0.01, absolute: 0, key)
        }
        // Values out of range for float16 are an error, and no file is left behind.
        let large = directory.path("large.safetensors")
        try Safetensors.write(["a": Tensor([Float(1e6)], [1])], to: large)
        let names = try directory.names
        for destination in ["small.safetensors", "small"] {
            let error = failure {
                _ = try convert(large, directory.path(destination), dtype: .float16)
            }
            #expect(error.map { "\($0)" }?.contains("a has values that float16 cannot") == true)
        }
        #expect(try directory.names == names)
    }

    /// ComfyUI's scaled float8 becomes plain bfloat16 in any naming.
    @Test func appliesScaleFactors() throws {
        var tensors = try Golden("wan_t2v_a").weights
        let key = "blocks.0.ffn.0"
        let quarter = try #require(tensors[key + ".weight"]).to(.float8e4m3)
        tensors[key + ".weight"] = quarter
        tensors[key + ".scale_weight"] = try Tensor([Float(0.5)], [1])
        tensors["scaled_fp8"] = try Tensor.zeros([2]).to(.float8e4m3)
        var prefixed: [String: Tensor] = [:]
        for (key, tensor) in tensors {
            prefixed[key == "scaled_fp8" ? key : "model.diffusion_model." + key] = tensor
        }
        let source = directory.path("comfy.safetensors")
        try Safetensors.write(prefixed, to: source)
        let file = directory.path("plain.safetensors")
        let result = try convert(source, file, to: .diffusers)
        #expect(result.tensors == tensors.count - 2)
        let plain = try Checkpoint.open(file)
        let name = "blocks.0.ffn.net.0.proj.weight"
        #expect(plain.dtype(name) == .bfloat16)
        try expectClose(plain.tensor(name, []), quarter.to(.float32) * 0.5, relative: 0)
        #expect(plain.dtype("proj_out.weight") == .float32)
    }

    @Test func convertsPyTorchFilesToSafetensors() throws {
        let file = directory.path("a.safetensors")
        let result = try convert(Golden.path("pth_nested.pth"), file)
        #expect(result.part == nil && result.tensors == 2)
        #expect(
            try Checkpoint.open(file).tensor("a.bias", []).array(of: Float.self) == [0, 1]
        )
    }

    /// diffusers has no decoder with sub-pixel convolutions, so only Wan's naming is possible.
    @Test func convertsSubpixelAutoencodersOnlyToWanNames() throws {
        var config = WanVAEConfig()
        (config.baseDim, config.decoderBaseDim, config.numResBlocks) = (4, 4, 1)
        config.subpixelUpsample = true
        let made = try MadeWeights.random(seed: 1)
        _ = try WanVAE(Weights(made), config)
        let source = directory.path("subpixels")
        try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
        try Safetensors.write(made.tensors, to: source + "/Wan2.1_VAE.safetensors")

        let there = directory.path("there")
        _ = try convert(source, there, to: .original)
        #expect(try fields(there + "/config.json")["subpixel_upsample"] as? Bool == true)
        let error = failure { _ = try convert(source, directory.path("no"), to: .diffusers) }
        #expect("\(String(describing: error))".contains("sub-pixel convolutions"))
    }

    @Test func refusesInvalidRequests() throws {
        func message(_ source: String, _ destination: String, _ naming: CheckpointNames.Naming?)
            -> String
        {
            let error = failure { _ = try convert(source, destination, to: naming) }
            return error.map { "\($0)" } ?? "no error"
        }
        let out = directory.path("out")
        #expect(message(directory.path("nothing"), out, nil).contains("no such file or folder"))
        #expect(message(Golden.path("pth_nested.pth"), out, .diffusers).contains("be renamed"))
        let empty = directory.path("empty")
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        #expect(message(empty, out, nil).contains("no weights found"))
        let source = try folder("wan_t2v_a")
        #expect(message(source, empty, nil).contains("already exists"))
        #expect(message(source, directory.path("a/b/c"), nil).contains("cannot be created"))
        // The number of heads is known only from the configuration.
        try FileManager.default.removeItem(atPath: source + "/config.json")
        #expect(message(source, out, .diffusers).contains("num_heads"))
        #expect(try directory.names.allSatisfy { !$0.contains("partial") })
    }
}
