import Foundation
import SwanCheckpoints
public import SwanSystem

/// A user's settings for a stream, in addition to its model's configuration.
///
/// The command line fills it from its options. It also decodes from JSON or YAML, where every key may be missing
/// and unknown keys are errors.
public struct StreamSettings: Sendable, Equatable, Codable {
    /// Whether the input's cuts are looked for.
    public enum Cuts: String, Sendable, CaseIterable, Codable {
        /// A scene begins without a past.
        case auto
        /// The input is one scene, as in the reference.
        case off
    }

    /// Use only the first N denoising steps of the model; nil for all.
    public var steps: Int?
    /// Whether a stream without an input also runs timestep 0 as a last step, as StreamDiffusionV2's
    /// `--t2v`; nil for what the model says.
    public var zeroStep: Bool?
    /// How much noise is mixed into the input, 0 to 1; nil for what the model says.
    public var noiseScale: Double?
    /// Whether the noise scale stays constant instead of following the motion.
    public var fixedNoise = false
    /// Whether the input's cuts are looked for.
    public var cuts = Cuts.auto
    /// Whether denoising steps of neighboring chunks run in one batch.
    public var streamBatch = true
    /// The output's size in pixels. A side that is nil follows from the input's aspect ratio; if both are nil, the
    /// output has about as many pixels as the model's own size. Text alone uses the model's size.
    public var height, width: Int?
    /// How frames with another aspect ratio fit that size.
    public var fit = FrameFit.crop
    /// The frame rate below which chunks grow.
    public var targetFPS: Double?
    /// The seed of all random numbers.
    public var seed: UInt64 = 0

    /// Creates the default settings.
    public init() {}

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case steps, zeroStep = "zero_step", noiseScale = "noise_scale", fixedNoise = "fixed_noise"
        case cuts, streamBatch = "stream_batch", height, width, fit, targetFPS = "target_fps", seed
    }

    /// Decodes the keys that are given and checks them.
    public init(from decoder: any Decoder) throws {
        try decoder.requireKnownKeys(CodingKeys.self)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        steps = try values.decodeIfPresent(Int.self, forKey: .steps)
        zeroStep = try values.decodeIfPresent(Bool.self, forKey: .zeroStep)
        noiseScale = try values.decodeIfPresent(Double.self, forKey: .noiseScale)
        fixedNoise = try values.decodeIfPresent(Bool.self, forKey: .fixedNoise) ?? fixedNoise
        cuts = try values.decodeIfPresent(Cuts.self, forKey: .cuts) ?? cuts
        streamBatch = try values.decodeIfPresent(Bool.self, forKey: .streamBatch) ?? streamBatch
        height = try values.decodeIfPresent(Int.self, forKey: .height)
        width = try values.decodeIfPresent(Int.self, forKey: .width)
        fit = try values.decodeIfPresent(FrameFit.self, forKey: .fit) ?? fit
        targetFPS = try values.decodeIfPresent(Double.self, forKey: .targetFPS)
        seed = try values.decodeIfPresent(UInt64.self, forKey: .seed) ?? seed
        do {
            try check()
        } catch {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: error.message)
            )
        }
    }

    /// Throws `invalidRequest` for values that no model accepts.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        for (name, value) in [("height", height), ("width", width)] {
            guard let value else { continue }
            try require(
                (1...FrameSize.largestSide).contains(value),
                "the \(name) must be 1 to \(FrameSize.largestSide) pixels, not \(value)"
            )
        }
        if let steps {
            try require(steps >= 1, "the number of steps must be at least 1, not \(steps)")
        }
        if let noiseScale {
            try require(
                (0...1).contains(noiseScale),
                "the noise scale must be 0 to 1, not \(noiseScale)"
            )
        }
        if let targetFPS {
            try require(
                (0.1...1_000).contains(targetFPS),
                "the target frame rate must be 0.1 to 1000 frames per second, not \(targetFPS)"
            )
        }
    }
}
