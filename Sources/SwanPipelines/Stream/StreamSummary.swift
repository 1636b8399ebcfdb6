public import Foundation
import SwanSystem

/// What a stream did and how long it took; written by `--json`.
public struct StreamSummary: Sendable, Codable, Equatable {
    /// Milliseconds that stand for all chunks: the median, and what 95 and 99 of 100 stay under.
    public struct Latency: Sendable, Codable, Equatable {
        /// The median.
        public var p50: Double
        /// 95 of 100 chunks took no longer.
        public var p95: Double
        /// 99 of 100 chunks took no longer.
        public var p99: Double
    }

    /// Milliseconds of all frames together, by stage. Stages overlap: their sum is more than `seconds`.
    public struct Stages: Sendable, Codable, Equatable {
        /// Reading and decoding the input.
        public var decode = 0.0
        /// Resizing and the autoencoder's encoder.
        public var encode = 0.0
        /// The transformer.
        public var denoise = 0.0
        /// The autoencoder's decoder.
        public var vaeDecode = 0.0
        /// Encoding and writing the output.
        public var write = 0.0

        private enum CodingKeys: String, CodingKey {
            case decode, encode, denoise, vaeDecode = "vae_decode", write
        }
    }

    /// The version of this form; it rises when a key changes its meaning or goes away.
    public var schemaVersion = 1
    /// Frames taken from the input.
    public var framesIn = 0
    /// Frames in the output.
    public var framesOut = 0
    /// From the first frame's arrival to the finished file.
    public var seconds = 0.0
    /// Frames out by seconds.
    public var fps = 0.0
    /// From the start of the process to the first frame in the output; nil if there is none.
    public var firstFrameSeconds: Double?
    /// From the start of the process until the model was ready.
    public var loadSeconds = 0.0
    /// How long chunks took; nil if there was none.
    public var chunkLatency: Latency?
    /// Chunks.
    public var chunks = 0
    /// Where the time went.
    public var stages = Stages()
    /// The most memory the process had at a time.
    public var peakMemoryBytes = 0
    /// The KV cache alone.
    public var kvCacheBytes = 0
    /// The model's name.
    public var model = ""
    /// Where it ran.
    public var device = ""
    /// What its weights and activations are.
    public var dtype = ""
    /// Threads of an operator on the CPU.
    public var threads = 0
    /// The random numbers' seed.
    public var seed: UInt64 = 0
    /// Denoising steps.
    public var steps: [Int] = []
    /// The output's size in pixels.
    public var width = 0
    /// The output's size in pixels.
    public var height = 0
    /// The output's frame rate, such as `30` or `30000/1001`.
    public var frameRate = ""
    /// The input; nil for text alone.
    public var input: String?
    /// The output.
    public var output = ""
    /// The output's encoder.
    public var encoder = ""
    /// Whether the input's sound is in the output.
    public var hasAudio = false
    /// Whether the stream was stopped before the input's end.
    public var wasInterrupted = false
    /// Whether the input ended before its own index said.
    public var inputWasTruncated = false

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case framesIn = "frames_in", framesOut = "frames_out"
        case seconds, fps
        case firstFrameSeconds = "first_frame_seconds", loadSeconds = "load_seconds"
        case chunkLatency = "chunk_latency_ms", chunks, stages = "stages_ms"
        case peakMemoryBytes = "peak_memory_bytes", kvCacheBytes = "kv_cache_bytes"
        case model, device, dtype, threads, seed, steps, width, height
        case frameRate = "frame_rate", input, output, encoder
        case hasAudio = "has_audio", wasInterrupted = "was_interrupted"
        case inputWasTruncated = "input_was_truncated"
    }

    /// As JSON, keys sorted, ending in a line break.
    public func json() throws -> Data { try JSONText.data(self) }
}

extension StreamSummary {
    /// Adds what a stream did.
    mutating func add(_ stream: VideoStream) {
        framesIn = stream.framesIn
        kvCacheBytes = stream.cacheByteCount
        let seconds = stream.seconds
        stages.encode = seconds.encode * 1_000
        stages.denoise = seconds.denoise * 1_000
        stages.vaeDecode = seconds.decode * 1_000
        let latencies = stream.latencies
        chunks = latencies.count
        chunkLatency = Latency(latencies)
    }
}
