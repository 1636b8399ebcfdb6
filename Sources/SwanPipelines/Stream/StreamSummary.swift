public import Foundation
import SwanSystem

/// The summary of a stream, as written by `--json`.
public struct StreamSummary: Sendable, Codable, Equatable {
    /// Percentiles of the chunk latency, in milliseconds.
    public struct Latency: Sendable, Codable, Equatable {
        /// The median.
        public var p50: Double
        /// The 95th percentile.
        public var p95: Double
        /// The 99th percentile.
        public var p99: Double
    }

    /// The total milliseconds per stage. Stages overlap, so their sum can exceed `seconds`.
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

    /// The schema version, incremented when a key is removed or changes its meaning.
    public var schemaVersion = 1
    /// The number of frames read from the input.
    public var framesIn = 0
    /// The number of frames in the output.
    public var framesOut = 0
    /// The seconds from when the model was loaded to the finished file.
    public var seconds = 0.0
    /// The output frames per second.
    public var fps = 0.0
    /// The seconds from the start of the process to the first output frame; `nil` if there is none.
    public var firstFrameSeconds: Double?
    /// The seconds from the start of the process until the model was loaded.
    public var loadSeconds = 0.0
    /// The latency of chunks; `nil` if there were none.
    public var chunkLatency: Latency?
    /// The number of chunks.
    public var chunks = 0
    /// The number of cuts that were found in the input.
    public var cuts = 0
    /// The time spent in each stage.
    public var stages = Stages()
    /// The peak memory use of the process, in bytes.
    public var peakMemoryBytes = 0
    /// The size of the KV cache, in bytes.
    public var kvCacheBytes = 0
    /// The model's name.
    public var model = ""
    /// The device the model ran on.
    public var device = ""
    /// The dtype of weights and activations.
    public var dtype = ""
    /// The number of threads used by a CPU operator.
    public var threads = 0
    /// The number of processes that ran the stream together; `nil` for one alone.
    public var ranks: Int?
    /// The seed of all random numbers.
    public var seed: UInt64 = 0
    /// The denoising timesteps.
    public var steps: [Int] = []
    /// The output's width in pixels.
    public var width = 0
    /// The output's height in pixels.
    public var height = 0
    /// The output's frame rate, such as `30` or `30000/1001`.
    public var frameRate = ""
    /// The path of the input; `nil` for text alone.
    public var input: String?
    /// The path of the output.
    public var output = ""
    /// FFmpeg's name of the output's encoder.
    public var encoder = ""
    /// Whether the output contains the input's audio.
    public var hasAudio = false
    /// Whether the stream was stopped before the end of the input.
    public var wasInterrupted = false
    /// Whether the input ended earlier than its index says.
    public var inputWasTruncated = false
    /// What only a live stream measures; `nil` for files.
    public var live: LiveSummary?

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case framesIn = "frames_in", framesOut = "frames_out"
        case seconds, fps
        case firstFrameSeconds = "first_frame_seconds", loadSeconds = "load_seconds"
        case chunkLatency = "chunk_latency_ms", chunks, cuts, stages = "stages_ms"
        case peakMemoryBytes = "peak_memory_bytes", kvCacheBytes = "kv_cache_bytes"
        case model, device, dtype, threads, ranks, seed, steps, width, height
        case frameRate = "frame_rate", input, output, encoder
        case hasAudio = "has_audio", wasInterrupted = "was_interrupted"
        case inputWasTruncated = "input_was_truncated", live
    }

    /// Encodes the summary as JSON with sorted keys and a trailing newline.
    public func json() throws -> Data { try JSONText.data(self) }
}

extension StreamSummary {
    /// Adds the statistics of a stream.
    mutating func add(_ stream: VideoStream) {
        framesIn = stream.framesIn
        cuts = stream.encoding.cuts
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
