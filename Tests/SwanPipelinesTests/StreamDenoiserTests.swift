import Foundation
import GoldenSupport
import SwanModels
import SwanSchedulers
import Synchronization
import Testing
import Torch
import TorchNN

@testable import SwanPipelines
import SwanSystem

/// Compares with the reference's streams past the first eviction: same weights, latents and noise.
@Suite struct StreamDenoiserTests {
    private struct Stream: Decodable {
        let steps: [Int]
        let stream_batch, warp_denoising_step: Bool
        let num_kv_cache, num_sink_tokens, tokens_per_frame, num_frame_per_block: Int
        let adapt_sink_threshold, timestep_shift: Double
    }
    private struct Configuration: Decodable {
        let stream: Stream
    }

    @Test(
        arguments: [
            "causal_wan_stream_1step", "causal_wan_stream_2step_sink1",
            "causal_wan_stream_2step_sink4", "causal_wan_stream_4step_sink3",
            "causal_wan_stream_adapt_low", "causal_wan_stream_adapt_high",
            "causal_wan_stream_warp", "causal_wan_stream_refresh", "causal_wan_stream_block3",
            "causal_wan_stream_block3_input", "causal_wan_nobatch_1step",
            "causal_wan_nobatch_2step_sink3", "causal_wan_nobatch_4step_sink1",
            "causal_wan_text_2step", "causal_wan_text_1step_warp", "causal_wan_text_nobatch",
        ],
        Device.tested
    )
    func matchesTheReference(name: String, device: Device) throws {
        let golden = try Golden(name, on: device)
        let stream = try golden.config(Configuration.self).stream
        let transformer = try CausalWanTransformer(
            Weights(DictionaryWeights(golden.weights), device: device),
            golden.config()
        )
        let schedule = try FlowMatch(.streaming(shift: stream.timestep_shift))
        let noise = NoiseQueue()
        try inference {
            let text = try transformer.text(golden.input("context"))
            var denoiser = try SingleStreamDenoiser(
                transformer,
                DenoisingPlan(
                    schedule: schedule,
                    // Without an input, the reference's list ends with a step at timestep 0.
                    steps: schedule.denoisingSteps(
                        stream.steps.last == 0 ? stream.steps : stream.steps + [0],
                        warped: stream.warp_denoising_step,
                        keepingZero: stream.steps.last == 0
                    ),
                    streamBatch: stream.stream_batch,
                    framesPerChunk: stream.num_frame_per_block,
                    noise: { _, _ throws(SwanError) in try noise.next() }
                ),
                cache: KVCacheOptions(
                    frames: stream.num_kv_cache,
                    sinkFrames: stream.num_sink_tokens,
                    sinkThreshold: stream.adapt_sink_threshold
                ),
                tokensPerFrame: stream.tokens_per_frame,
                device: device
            )

            if golden.keys.contains("input/prepare_noise") {
                try noise.add(golden.input("prepare_noise"))
            }
            let first = try denoiser.denoise(
                video(golden.input("prepare_latents")),
                text: text
            )
            let expectedFirst = try golden.output("prepare_x0").sliced(0, from: -1)
            try expectClose(#require(first), video(expectedFirst), within: golden.tolerance)

            let starts: [Int] = try golden.input("current_start").array()
            let steps: [Int] = try golden.input("current_step").array()
            for call in starts.indices {
                if golden.keys.contains("input/noise") {
                    try noise.add(golden.input("noise").selected(0, call))
                }
                denoiser.position = starts[call] / stream.tokens_per_frame
                let clean = try denoiser.denoise(
                    video(golden.input("latents").selected(0, call)),
                    firstTimestep: steps[call] < 0 ? nil : steps[call],
                    text: text
                )
                let expected = try golden.output("x0").selected(0, call).sliced(0, from: -1)
                if stream.stream_batch, call < stream.steps.count - 1 {
                    #expect(clean == nil)
                } else {
                    try expectClose(#require(clean), video(expected), within: golden.tolerance)
                }
            }
        }
    }

    /// Draining gives the same chunks as continuing the stream.
    @Test func drainingFinishesPendingChunks() throws {
        let golden = try Golden("causal_wan_stream_4step_sink3")
        let transformer = try CausalWanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        let schedule = try FlowMatch(.streaming(shift: 8))
        func run(_ continues: Bool) throws -> [Tensor] {
            let text = try transformer.text(golden.input("context"))
            var denoiser = try SingleStreamDenoiser(
                transformer,
                DenoisingPlan(
                    schedule: schedule,
                    steps: [700, 500, 400],
                    streamBatch: true,
                    noise: { shape, _ throws(SwanError) in try .zeros(shape) }
                ),
                cache: KVCacheOptions(frames: 6, sinkFrames: 3),
                tokensPerFrame: 15
            )
            _ = try denoiser.denoise(video(golden.input("prepare_latents")), text: text)
            var finished: [Tensor] = []
            for call in 0..<(continues ? 9 : 7) {
                let latents = try video(golden.input("latents").selected(0, call))
                if let clean = try denoiser.denoise(latents, text: text) { finished.append(clean) }
            }
            while !continues, let clean = try denoiser.drain(text: text) { finished.append(clean) }
            return finished
        }
        try inference {
            let (whole, drained) = (try run(true), try run(false))
            #expect(whole.count == 7)
            #expect(drained.count == 7)
            for (a, b) in zip(whole, drained) {
                try expectClose(b, a, relative: 1e-4, absolute: 1e-4)
            }
        }
    }

    /// A stream that is aborted ends within a step.
    @Test(arguments: [true, false]) func anAbortLeavesTheChunkUnfinished(streamBatch: Bool) throws {
        let golden = try Golden("causal_wan_stream_4step_sink3")
        let transformer = try CausalWanTransformer(
            Weights(DictionaryWeights(golden.weights)),
            golden.config()
        )
        try inference {
            let text = try transformer.text(golden.input("context"))
            var denoiser = try SingleStreamDenoiser(
                transformer,
                DenoisingPlan(
                    schedule: FlowMatch(.streaming(shift: 8)),
                    steps: [700, 500, 400],
                    streamBatch: streamBatch,
                    noise: { shape, _ throws(SwanError) in try .zeros(shape) }
                ),
                cache: KVCacheOptions(frames: 6, sinkFrames: 3),
                tokensPerFrame: 15
            )
            let latents = try video(golden.input("prepare_latents"))
            var steps = 0
            let unfinished = try denoiser.denoise(latents, text: text) {
                steps += 1
                return steps > 1
            }
            #expect(unfinished == nil)
            #expect(steps == 2)
            #expect(try denoiser.drain(text: text, isAborted: { true }) == nil)
        }
    }

    /// [1 or rows, F, C, h, w] in the reference's order -> [B, C, F, h, w].
    private func video(_ x: Tensor) throws -> Tensor { try x.transposed(1, 2).contiguous() }
}

/// Noise in the order in which the reference drew it.
private final class NoiseQueue: Sendable {
    private let waiting = Mutex<[Tensor]>([])

    /// [draws, F, C, h, w].
    func add(_ draws: Tensor) throws {
        let each = try draws.unbound(0).map { try $0.transposed(0, 1).unsqueezed(0).contiguous() }
        waiting.withLock { $0 += each }
    }

    func next() throws(SwanError) -> Tensor {
        guard let next = waiting.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else {
            throw SwanError(.invalidArgument, "more noise is drawn than the reference drew")
        }
        return next
    }
}
