import Foundation
import ModelSupport
import RankSupport
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanPipelines
import SwanSystem
import Torch
import TorchNN

extension Probe {
    /// Every kind of transformer with its blocks, and those of the text encoder, in parts: the bits
    /// of whole ones.
    func checkShards() throws {
        let models: [RandomCheckpoint.Model] = [
            .textToVideoExperts, .firstLastFrameToVideo, .controlToVideo, .textOrImageToVideo,
        ]
        for model in models {
            try checkShards(open(model), Self.request(for: model), model.rawValue)
        }
        let request = try Self.request(for: .textToVideo)
        // In float8 with factors, computed in 16 bits; kept in memory for a second video.
        let scaled = try open(.textToVideo, .comfyUI) {
            ($0.dtype, $0.offload) = (.bfloat16, .none)
        }
        let generator = VideoGenerator(scaled, ranks: GenerationRanks(world, Self.sharded()))
        for _ in 0..<2 {
            try check(generator, scaled, request, "float8 weights", Self.sharded())
        }
        var ring = Self.sharded()
        ring.ring = world.size
        let model = try open(.textToVideo)
        try checkShards(model, request, "shards and a ring", ring)
        var cached = request
        (cached.settings.cacheThreshold, cached.settings.steps) = (0.95, 4)
        try checkShards(model, cached, "shards and a cache")
        try checkRefusals(cached)
        guard world.size == 4 else { return }
        var halves = Self.sharded()
        halves.dividesGuidance = true
        cached.settings.batchesGuidance = false
        try checkShards(model, cached, "shards in each half", halves)
    }

    /// Shards of each machine's copy. The tests say that there are two ranks on each.
    func checkMachines() throws {
        let request = try Self.request(for: .textToVideo)
        var division = Self.sharded()
        division.shard = .hybrid
        try checkShards(open(.textToVideo), request, "a copy on each machine", division)
        division.dividesGuidance = true
        try checkShards(open(.textToVideo), request, "a machine for each half", division)
    }

    /// LoRAs, merged and live, on whole and on shared weights.
    func checkLoRAs() throws {
        let path = folder + "/lora.safetensors"
        if world.rank == 0 { try Self.writeLoRA(to: path) }
        try world.group.barrier()
        let request = try Self.request(for: .textToVideoExperts)
        let plain = try generate(VideoGenerator(open(.textToVideoExperts)), request)
        for (isLive, expert) in [(false, nil), (true, ModelFolder.Part.lowNoiseTransformer)] {
            let model = try open(.textToVideoExperts) { options in
                options.loras = [.init(path, strength: 3, expert: expert)]
                options.addsLoRAsLive = isLive
            }
            let alone = try generate(VideoGenerator(model), request)
            let difference = try (alone.video.latents - plain.video.latents).abs().max().item()
            try check(difference > 1e-3, "the LoRA changes \(difference)")
            try check(model, request, "a LoRA, live: \(isLive)")
            try checkShards(model, request, "a LoRA on shards, live: \(isLive)")
        }
    }

    // MARK: - Memory

    /// The most bytes of blocks that a rank has: its part, and two as a whole.
    func checkPeak() throws {
        var config = WanConfig()
        (config.dim, config.heads, config.layers) = (96, 4, 6)
        (config.ffnDim, config.textDim, config.textLen) = (256, 20, 12)
        let random = try Generator(seed: 3)
        let source = try MadeWeights.random(seed: 4)
        let whole = try WanTransformer(Weights(source), config)
        let weights = DictionaryWeights(source.tensors)
        let group = try world.makeGroup(Array(0..<world.size))
        guard let group else { throw SwanError(.diverged, "no group") }
        let shared = try ShardedLayers(of: weights, group, as: .float32, on: .cpu)
        let blocks = source.tensors.filter { $0.key.hasPrefix("blocks.") }
        let all = blocks.values.reduce(0) { $0 + $1.byteCount }
        let padding = 64 * (blocks.count + config.layers * world.size)
        try check(
            shared.byteCount * world.size >= all
                && shared.byteCount * world.size <= all + padding,
            "\(shared.byteCount) bytes of \(all) are own"
        )
        UnshardedBytes.reset()
        let late = Weights(shared, keepsStorage: true, readsLayersLate: true)
        let network = try WanTransformer(late, config)
        try late.finish()
        try check(UnshardedBytes.maximum == 0, "blocks are gathered before they run")
        let latents = try Tensor.randn([1, config.inDim, 2, 6, 4], random)
        let embeddings = try Tensor.randn([1, 7, config.textDim], random)
        func flow(_ network: WanTransformer) throws -> Tensor {
            try network(
                latents,
                timesteps: Tensor([500] as [Float], [1]),
                text: network.text(embeddings)
            )
        }
        let expected = try flow(whole)
        var most = Int.max
        // Gloo may hold what it has gathered for a moment longer, but not every time.
        for _ in 0..<3 {
            UnshardedBytes.reset()
            group.traffic.reset()
            try check(flow(network), expected, within: 0, "a network of shared blocks")
            // Once for the keys of the text, and once for the forward.
            let gathers = group.traffic[.gather].calls
            try check(gathers == 2 * config.layers, "\(gathers) gathers")
            most = min(most, UnshardedBytes.maximum)
        }
        let block = (all + padding) / config.layers
        try check(
            most <= 2 * block && most > block,
            "\(most) bytes whole at a time, a block has \(block)"
        )
    }

    /// A text encoder with its blocks in parts.
    func checkEncoder() throws {
        var config = UMT5Config()
        (config.vocabulary, config.dim, config.headDim, config.ffnDim) = (40, 16, 8, 24)
        (config.heads, config.layers) = (2, 3)
        let source = try MadeWeights.random(seed: 6)
        let whole = try UMT5Encoder(Weights(source), config)
        guard let group = try world.makeGroup(Array(0..<world.size)) else { return }
        let shared = try ShardedLayers(
            of: DictionaryWeights(source.tensors),
            group,
            as: .float32,
            on: .cpu
        )
        let late = Weights(shared, keepsStorage: true, readsLayersLate: true)
        let encoder = try UMT5Encoder(late, config)
        try late.finish()
        let prompts: [[Int32]] = [[3, 1, 4, 1, 5], [9, 2]]
        group.traffic.reset()
        try check(encoder.encode(prompts), whole.encode(prompts), within: 0, "a text encoder")
        let gathers = group.traffic[.gather].calls
        try check(gathers == config.layers, "\(gathers) gathers")
    }

    // MARK: - Parts

    static func sharded() -> GenerationRanks.Division {
        var division = GenerationRanks.Division()
        division.shard = .full
        return division
    }

    /// A new generator with shards against ranks with whole weights, to the bit, and against one
    /// process.
    private func checkShards(
        _ model: GenerationModel,
        _ request: GenerationRequest,
        _ what: String,
        _ division: GenerationRanks.Division? = nil
    ) throws {
        let division = division ?? Self.sharded()
        let ranks = GenerationRanks(world, division)
        try check(VideoGenerator(model, ranks: ranks), model, request, what, division)
        let alone = try generate(VideoGenerator(model), request)
        let found = try generate(VideoGenerator(model, ranks: ranks), request)
        try check(found.video.latents, alone.video.latents, within: 1e-5, "\(what): alone")
    }

    private func check(
        _ generator: VideoGenerator,
        _ model: GenerationModel,
        _ request: GenerationRequest,
        _ what: String,
        _ division: GenerationRanks.Division
    ) throws {
        var whole = division
        whole.shard = .none
        let others = VideoGenerator(model, ranks: GenerationRanks(world, whole))
        let (a, b) = (try generate(generator, request), try generate(others, request))
        try check(a.video.latents, b.video.latents, within: 0, "\(what): latents")
        try check(a.frames.map(\.pixels) == b.frames.map(\.pixels), "\(what): pixels")
    }

    /// What does not go together is refused on all ranks, before anything is read.
    private func checkRefusals(_ request: GenerationRequest) throws {
        let offloaded = try open(.textToVideo) { $0.offload = .block }
        try expect("--offload block", from: offloaded, request)
        guard world.size > 2 else { return }
        var small = request
        small.settings.size = .init(width: 16, height: 16)
        small.initialLatents = nil
        try expect("--cache need at least one token", from: open(.textToVideo), small)
    }

    private func expect(
        _ message: String,
        from model: GenerationModel,
        _ request: GenerationRequest
    ) throws {
        do {
            let ranks = GenerationRanks(world, Self.sharded())
            _ = try generate(VideoGenerator(model, ranks: ranks), request)
            try check(false, "\(message): not refused")
        } catch let error as SwanError where error.code == .invalidRequest {
            try check(error.message.contains(message), error.message)
        }
    }

    private static func writeLoRA(to path: String) throws {
        let random = try Generator(seed: 3)
        var tensors: [String: Tensor] = [:]
        for module in ["blocks.0.self_attn.q", "blocks.1.ffn.0"] {
            let name = "diffusion_model." + module
            let outputs = module.contains("ffn") ? 64 : 48
            tensors[name + ".lora_down.weight"] = try .randn([2, 48], random)
            tensors[name + ".lora_up.weight"] = try .randn([outputs, 2], random)
            tensors[name + ".diff_b"] = try .randn([outputs], random)
        }
        try Safetensors.write(tensors, to: path)
    }
}
