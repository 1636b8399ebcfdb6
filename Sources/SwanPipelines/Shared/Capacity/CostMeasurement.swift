import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
import Torch

/// Learns what the stages of a model cost, by running a few chunks of its own size and of a smaller one.
struct CostMeasurement {
    private typealias Sample = (amount: Double, seconds: Double)

    let model: StreamModel
    let clock: StreamClock
    let capacity: StreamCapacity
    /// Whether nobody needs the result any more.
    let isCancelled: () -> Bool

    /// Measures; nil if it was cancelled.
    func run() throws -> StreamCapacity.Cost? {
        let own = StreamDemand(ownOf: model)
        var small = own
        small.scale(by: 0.5, multiple: model.sizeMultiple)
        let sizes = own == small ? [own] : [small, own]
        var encode: [Sample] = []
        var denoise: [Sample] = []
        var decode: [Sample] = []
        for size in sizes {
            if isCancelled() { return nil }
            encode.append(try encoding(size))
            decode.append(try decoding(size))
            for rows in size == own ? [1, 2, 4] : [1] {
                if isCancelled() { return nil }
                denoise.append(try passing(size, rows: rows))
            }
        }
        guard let encode = LinearCost(encode), let decode = LinearCost(decode),
            let denoise = LinearCost(denoise)
        else { return nil }
        return StreamCapacity.Cost(encode: encode, decode: decode, denoise: denoise)
    }

    /// The seconds of the last of several calls; the first ones warm up.
    private func seconds(of count: Int, _ body: (Int) throws -> Void) throws -> Double {
        var seconds = 0.0
        for index in 0..<count {
            let start = clock.now()
            try inference { try body(index) }
            seconds = clock.seconds(since: start)
        }
        return seconds
    }

    private func pixels(_ size: StreamDemand) -> Double {
        Double(size.width * size.height * model.framesPerChunk)
    }

    private func encoding(_ size: StreamDemand) throws -> Sample {
        let encoder = try model.vae.makeEncoder(
            normalizing: model.configuration.normalizesLatents
        )
        let gray = Array(repeating: UInt8(128), count: size.width * size.height * 3)
        let frame = try VideoFrame(width: size.width, height: size.height, pixels: gray)
        let seconds = try seconds(of: 2) { index in
            let extra = index == 0 ? 1 + model.vae.lookahead : 0
            let video = try tensor(
                of: Array(repeating: frame, count: model.framesPerChunk + extra),
                height: size.height,
                width: size.width,
                fit: .crop,
                dtype: model.dtype,
                device: model.device
            )
            // Reading a value waits for the device.
            _ = try encoder.encode(video).isAllFinite()
        }
        return (pixels(size), seconds)
    }

    private func latents(_ size: StreamDemand, rows: Int) throws(SwanError) -> Tensor {
        let stride = model.vae.spatialStride
        let shape = [
            rows, model.transformer.config.inDim, model.configuration.framesPerBlock,
            size.height / stride, size.width / stride,
        ]
        return try .zeros(shape, model.dtype, model.device)
    }

    private func decoding(_ size: StreamDemand) throws -> Sample {
        let decoder = try model.vae.makeDecoder()
        let latents = try latents(size, rows: 1)
        let seconds = try seconds(of: 2) { _ in
            _ = try frames(of: decoder.decode(latents))
        }
        return (pixels(size), seconds)
    }

    private func passing(_ size: StreamDemand, rows: Int) throws -> Sample {
        let (transformer, configuration) = (model.transformer, model.configuration)
        let tokens = capacity.tokens(size.width, size.height)
        var cache = try KVCachePool(
            transformer.config,
            rows: rows,
            frames: configuration.cacheFrames,
            tokensPerFrame: tokens,
            dtype: model.dtype,
            device: model.device
        )
        let options = KVCacheOptions(
            frames: configuration.cacheFrames,
            sinkFrames: configuration.sinkFrames
        )
        let cacheRows = try cache.acquireRows(rows, options: options)
        let latents = try latents(size, rows: rows)
        let embeddings = try Tensor.zeros(
            [1, 8, transformer.config.textDim],
            model.dtype,
            model.device
        )
        let text = try inference { () throws(SwanError) in try transformer.text(embeddings) }
        let seconds = try seconds(of: min(configuration.cacheFrames, 3)) { index in
            let first = index * configuration.framesPerBlock
            let flow = try transformer(
                latents,
                timesteps: Array(repeating: Double(configuration.steps[0]), count: rows),
                text: text,
                firstFrames: Array(repeating: first, count: rows),
                cache: &cache,
                rows: cacheRows
            )
            _ = try flow.isAllFinite()
        }
        return (Double(rows) * capacity.rowWork(tokens), seconds)
    }
}
