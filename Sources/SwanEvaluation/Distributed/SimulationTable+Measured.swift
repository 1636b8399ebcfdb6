package import Torch
import SwanDistributed
import SwanModels

extension StreamSimulation.Costs {
    /// A chunk of the 1.3B model at 832x480 with two steps, from the times of a device in seconds.
    package static func live(block: Double, encode: Double, decode: Double) -> Self {
        let config = WanConfig.wan1_3B
        let (height, width) = (60, 104)
        let tokens = config.tokensPerFrame(height: height, width: width)
        return Self(
            block: block,
            encode: encode,
            decode: decode,
            blocks: config.layers,
            steps: 2,
            hiddenBytes: Double(2 * tokens * config.dim),
            latentBytes: Double(2 * config.outDim * height * width)
        )
    }
}

extension SimulationTable {
    /// Simulates with times that are measured on a device.
    ///
    /// The autoencoder is measured at half the width and height, and taken four times.
    package init(measuring device: Device, rounds: Int) throws {
        var options = BenchmarkOptions()
        (options.device, options.rounds) = (device, rounds)
        let transformer = try Benchmark.transformer(options)
        let autoencoder = try Benchmark.autoencoder(options)
        func median(_ name: String, _ all: [Measurement]) -> Double {
            (all.first { $0.name == name }?.median ?? 0) / 1_000
        }
        let rate = transformer.first { $0.name == "dit" }?.derived["GFLOP/s"] ?? 1
        self.init(
            .live(
                block: median("dit", transformer) / 4,
                encode: 4 * median("vae encode", autoencoder),
                decode: 4 * median("vae decode", autoencoder)
            ),
            speed: rate * 1e9
        )
    }
}
