import Foundation
import GoldenSupport
import SwanModels
import Testing
import Torch
import TorchNN

@testable import SwanTiny
@testable import SwanTraining
import SwanSystem

@Suite struct LinearCodeTests {
    private let scenes = SmoothScenes()

    /// Sub-pixel convolutions let the decoder distinguish the four pixels that an upsampling makes
    /// of one.
    @Test(arguments: [(false, 22.0), (true, 28.0)])
    func untrainedNetworksReconstruct(subpixel: Bool, least: Double) throws {
        var config = Self.config
        config.subpixelUpsample = subpixel
        let weights = try LinearCode.weights(config, clips: scenes, seed: 1)
        let vae = try WanVAE(Weights(DictionaryWeights(weights)), config)
        for index in 500..<504 as Range<UInt64> {
            let clip = try scenes.clip(index: index, frames: 9, height: 64, width: 96)
            let video = try (clip.unsqueezed(0).permuted(0, 2, 1, 3, 4) * 2 - 1).contiguous()
            let error = try (vae.decode(vae.encode(video)) - video).pow(2).mean().item() / 4
            #expect(-10 * log10(error) > least, "\(-10 * log10(error)) dB")
        }
    }

    @Test func latentsHaveUnitScaleAndALowVariance() throws {
        let weights = try LinearCode.weights(Self.config, clips: scenes, seed: 1)
        let vae = try WanVAE(Weights(DictionaryWeights(weights)), Self.config)
        let clip = try scenes.clip(index: 600, frames: 9, height: 128, width: 128)
        let video = try (clip.unsqueezed(0).permuted(0, 2, 1, 3, 4) * 2 - 1).contiguous()
        let (mean, logVariance) = try vae.moments(video)
        let sizes = try mean.pow(2).mean([0, 2, 3, 4]).squareRoot().array(of: Double.self)
        #expect(sizes[0] > 0.1 && sizes[0] < 10)
        #expect(try (logVariance + 8).abs().max().item() < 1e-3)
    }

    @Test func weightsAreCompleteAndReproducible() throws {
        let first = try LinearCode.weights(Self.config, clips: scenes, seed: 1)
        let again = try LinearCode.weights(Self.config, clips: scenes, seed: 1)
        let other = try LinearCode.weights(Self.config, clips: scenes, seed: 2)
        #expect(Set(first.keys) == Set(again.keys))
        for (key, tensor) in first {
            let same = try #require(again[key])
            #expect(try tensor.array(of: Float.self) == same.array(of: Float.self), "\(key)")
        }
        let key = "encoder.downsamples.0.residual.2.weight"
        #expect(try first[key]?.array(of: Float.self) != other[key]?.array(of: Float.self))
        let root = Weights(DictionaryWeights(first))
        _ = try WanVAE(root, Self.config)
        try root.finish()
    }

    @Test(arguments: [false, true])
    func turningAChainKeepsItsOutput(subpixel: Bool) throws {
        var config = Self.config
        config.subpixelUpsample = subpixel
        let generator = try Generator(seed: 3)
        var chain = try LinearChain(
            LinearCode.weights(config, clips: scenes, seed: 1),
            config,
            encoderHead: .randn([48, 48, 3, 3], generator),
            decoderHead: .randn([12, 6, 3, 3], generator),
            decoderBias: .zeros([12])
        )
        let patches = try Tensor.randn([5, 12, 32, 32], generator)
        func through() throws -> (signals: Tensor, picture: Tensor, patches: Tensor) {
            let signals = try chain.signals(of: patches)
            let picture = try chain.picture(of: chain.latents(of: signals))
            return (signals, picture, try chain.patches(of: picture))
        }
        let before = try through()
        try chain.turn(signals: before.signals, picture: before.picture)
        let after = try through()
        try expectClose(after.patches, before.patches, absolute: 1e-3)
        let sizes = try after.signals.variance([0, 2, 3]).array(of: Double.self)
        #expect(zip(sizes, sizes.dropFirst()).allSatisfy { $0 >= $1 * 0.999 }, "\(sizes)")
    }

    @Test(arguments: [false, true])
    func fittingReducesTheError(subpixel: Bool) throws {
        var config = Self.config
        config.subpixelUpsample = subpixel
        var errors: [Double] = []
        for steps in [0, 30] {
            let weights = try LinearCode.weights(config, clips: scenes, seed: 1, steps: steps)
            let vae = try WanVAE(Weights(DictionaryWeights(weights)), config)
            let clip = try scenes.clip(index: 500, frames: 9, height: 64, width: 64)
            let video = try (clip.unsqueezed(0).permuted(0, 2, 1, 3, 4) * 2 - 1).contiguous()
            errors.append(try (vae.decode(vae.encode(video)) - video).pow(2).mean().item())
        }
        #expect(errors[1] < errors[0], "\(errors)")
    }

    @Test func refusesResidualAutoencoders() {
        let error = #expect(throws: SwanError.self) {
            try LinearCode.weights(.wan22, clips: scenes, seed: 1)
        }
        #expect(error?.code == .invalidRecipe)
    }

    @Test func principalComponentsRecoverAPlane() throws {
        let generator = try Generator(seed: 1)
        let inner = try Tensor.randn([500, 2], generator)
        let points = try matmul(inner, Tensor.randn([2, 6], generator)) + 3
        let components = try PrincipalComponents(of: points, count: 2)
        let back = try matmul(
            components.coordinates(of: points),
            components.directions.transposed(0, 1)
        )
        try expectClose(try back + components.mean, points, absolute: 1e-4)
    }

    @Test func pairsKeepMeansInPlace() throws {
        // Channel 0 is strong and constant, channel 1 flickers, channel 2 is weak.
        let frames = try Tensor(
            [5, 4, 0.1, 5, -4, 0.1, -5, 4, -0.1, -5, -4, -0.1] as [Float],
            [2, 2, 1, 1, 3]
        )
        let pairs = try PairCode(of: frames, count: 2)
        #expect(pairs.parts == [.mean(0), .difference(1)])
        let code = try pairs.coordinates(of: frames)
        #expect(try code.array(of: Float.self) == [5, 4, -5, 4])
    }

    /// The shape of the bundled model's autoencoder.
    private static let config: WanVAEConfig = {
        var config = WanVAEConfig()
        config.baseDim = 12
        config.decoderBaseDim = 8
        config.dimMult = [1, 4, 6]
        config.zDim = 48
        config.numResBlocks = 1
        config.temporalDownsample = [true, true]
        config.patchSize = 2
        config.subpixelUpsample = true
        config.inChannels = 12
        config.outChannels = 12
        config.latentsMean = Array(repeating: 0, count: 48)
        config.latentsStd = Array(repeating: 1, count: 48)
        return config
    }()
}

/// Blurred drawn scenes.
private struct SmoothScenes: ClipSource {
    private let style = Style(name: "soft", phrasings: ["soft"], filters: [.blur(sigma: 2)])

    func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor {
        let scenes = try ClipMix(DataConfig(), seed: 4)
        return try style(
            scenes.clip(index: index, frames: frames, height: height, width: width)
        )
    }
}
