import SwanModels
import Torch
import TorchNN

extension Benchmark {
    static func operators(_ options: BenchmarkOptions) throws -> [Measurement] {
        let call = try OperatorBenchmark()
        var overhead = Measurement(
            "call",
            "the sum of 16 numbers, called by name from Swift",
            dtype: .float32,
            seconds: [call.called * 1e-9]
        )
        overhead.derived = ["ns over C++": call.overhead, "ns in C++": call.direct]
        return try [overhead] + [DType.float32, .bfloat16].map { try matrices($0, options) }
    }

    /// Measures the matrix multiplication rate of a linear layer of the 1.3B transformer.
    static func matrices(_ dtype: DType, _ options: BenchmarkOptions) throws -> Measurement {
        let (rows, inputs, outputs) = (1_560, 1_536, 8_960)
        let generator = try Generator(seed: 0)
        let x = try Tensor.randn([rows, inputs], generator).to(options.device, dtype)
        let weights = Weights(try MadeWeights.random(), dtype: dtype, device: options.device)
        let layer = try Linear(weights, inputs, outputs)
        var measured = try Measurement(
            "matmul",
            "[\(rows), \(inputs)] by [\(inputs), \(outputs)]",
            dtype: dtype,
            on: options.device,
            rounds: 2 * options.rounds
        ) { _ = try layer(x) }
        measured.derived["GFLOP/s"] = rate(Double(2 * rows * inputs * outputs), measured)
        return measured
    }

    static func transformer(_ options: BenchmarkOptions) throws -> [Measurement] {
        var config = WanConfig.wan1_3B
        config.layers = 4
        let (rows, height, width, keyFrames) = (2, 60, 104, 6)
        let (dtype, device) = (options.computeType, options.device)
        let network = try CausalWanTransformer(options.weights(), config)
        let tokens = config.tokensPerFrame(height: height, width: width)
        var cache = try KVCachePool(
            config,
            rows: rows,
            frames: keyFrames,
            tokensPerFrame: tokens,
            dtype: dtype,
            device: device
        )
        let cacheRows = try cache.acquireRows(
            rows,
            options: KVCacheOptions(frames: keyFrames, sinkFrames: 3)
        )
        let generator = try Generator(seed: 0)
        let latents = try Tensor.randn([rows, config.inDim, 1, height, width], generator)
            .to(device, dtype)
        let text = try network.text(
            Tensor.randn([1, config.textLen, config.textDim], generator).to(device, dtype)
        )
        // Far into a stream, so that all slots of the cache are in use.
        var position = 1_000
        var measured = try Measurement(
            "dit",
            "\(config.layers) blocks of 1.3B, \(rows) rows of \(tokens) tokens, "
                + "\(keyFrames) frames of keys",
            dtype: dtype,
            on: device,
            rounds: options.rounds
        ) {
            _ = try network(
                latents,
                timesteps: [700, 500],
                text: text,
                firstFrames: Array(repeating: position, count: rows),
                cache: &cache,
                rows: cacheRows
            )
            position += 1
        }
        let work = operations(config, rows: rows, tokens: tokens, keys: keyFrames * tokens)
        measured.derived["GFLOP/s"] = rate(work, measured)
        let matrices = try matrices(dtype, options)
        measured.derived["of the matmul rate"] =
            rate(work, measured) / (matrices.derived["GFLOP/s"] ?? .infinity)
        return [matrices, measured]
    }

    /// The number of multiplications and additions in the projections and attention of the blocks.
    private static func operations(
        _ config: WanConfig,
        rows: Int,
        tokens: Int,
        keys: Int
    ) -> Double {
        let projections = 6 * config.dim * config.dim + 2 * config.dim * config.ffnDim
        let attention = 2 * (keys + config.textLen) * config.dim
        return Double(2 * config.layers * rows * tokens) * Double(projections + attention)
    }

    static func autoencoder(_ options: BenchmarkOptions) throws -> [Measurement] {
        let wan = try WanVAE(options.weights(), .wan21)
        let tiny = try TinyVAE(options.weights(), .wan21)
        return try autoencoder(wan, "vae", "Wan 2.1", options)
            + autoencoder(tiny, "tiny vae", "taew2_1", options)
    }

    /// Measures encoding and decoding one latent frame in the middle of a stream.
    private static func autoencoder(
        _ network: any VideoAutoencoder,
        _ name: String,
        _ kind: String,
        _ options: BenchmarkOptions
    ) throws -> [Measurement] {
        let (height, width, dtype) = (240, 416, network.dtype)
        let size = try network.latentSize(height: height, width: width)
        let generator = try Generator(seed: 0)
        let latent = try Tensor.randn(
            [1, network.latentChannels, 1, size.height, size.width],
            generator
        ).to(options.device, dtype)
        let video =
            try Tensor.rand([1, 3, 4, height, width], generator).to(options.device, dtype) * 2 - 1
        let (encoder, decoder) = try (network.makeEncoder(), network.makeDecoder())
        // The first latent of a stream encodes one frame, the others encode four.
        _ = try encoder.encode(video.narrowed(2, 0, 1 + network.lookahead))
        _ = try decoder.decode(latent)
        return try [
            Measurement(
                name + " encode",
                "4 frames of \(width)x\(height), streaming, \(kind)",
                dtype: dtype,
                on: options.device,
                rounds: options.rounds
            ) { _ = try encoder.encode(video) },
            Measurement(
                name + " decode",
                "4 frames of \(width)x\(height), streaming, \(kind)",
                dtype: dtype,
                on: options.device,
                rounds: options.rounds
            ) { _ = try decoder.decode(latent) },
        ]
    }

    private static func rate(_ operations: Double, _ measured: Measurement) -> Double {
        operations / (measured.median * 1e6)
    }
}
